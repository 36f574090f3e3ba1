"""Paper 24: what takes seconds is measured; the rest is looked at for what would make it vacuous."""

import pytest

from mercer.papers import Verdict, catalog, judge, measure, registry

paper = registry.load(catalog()[24])


@pytest.mark.slow(reason="a fit of 6400 rows, and one that is refined")
def test_a_feature_serves_another_link():
    claim = paper.claims["transfer"]
    assert judge(claim, measure(claim, seeds=[1]).values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there():
    assert list(paper.claims) == ["learns", "kernel", "feature", "quadratic", "refine", "cubic", "transfer"]
    assert {id for way in paper.sabotages for id in way.breaks} == set(paper.claims)


@pytest.mark.filterwarnings("ignore:No hidden feature found")  # from 400 rows
def test_in_full_other_kernels_are_tried_too(monkeypatch):
    from mercer.papers import p24_hierarchical_polynomials as module

    monkeypatch.setattr(module, "N_FULL", 400)
    whole = module._data

    def few(d, n, seed, **options):
        fit, test = whole(d, min(n, 400), seed, **options)
        return fit, module._rows(test, 0, 2000)

    monkeypatch.setattr(module, "_data", few)
    found = measure(paper.claims["kernel"], mode="full", seeds=[0])
    names = [row[0] for row in found.tables[0].rows]
    assert names == ["RBF", "Laplace", "NTK, depth 2", "NTK, depth 3", "RBF"]
    assert all(-0.5 < row[2] < 0.6 for row in found.tables[0].rows)


def test_the_rival_is_the_best_of_all_scales_and_ridges():
    from mercer.learn import KernelRidge
    from mercer.papers.p24_hierarchical_polynomials import RIDGES, ROOT_SCALES, _best_ridge, _data, _rows

    fit, test = (_rows(part, 0, 150) for part in _data(4, 200, 0))
    y = fit[1] - fit[1].mean()
    scores = []
    for scale in ROOT_SCALES:
        for alpha in RIDGES:
            found = KernelRidge(alpha, kernel="rbf", gamma=0.5 / (4.0 * scale**2)).fit(fit[0], y).predict(test[0])
            scores.append(1.0 - ((test[1] - fit[1].mean() - found) ** 2).mean() / test[1].var())
    assert _best_ridge(fit, test) == pytest.approx(max(scores), abs=1e-6)
