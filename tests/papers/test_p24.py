"""Paper 24: what takes seconds is measured; the rest is looked at for what would make it vacuous."""

import numpy as np
import pytest

from mercer.papers import Verdict, catalog, judge, measure, registry
from mercer.papers import p24_hierarchical_polynomials as module

paper = registry.load(catalog()[24])


@pytest.mark.slow(reason="a fit of 6400 rows, and one that is refined")
def test_a_feature_serves_another_link():
    claim = paper.claims["transfer"]
    assert judge(claim, measure(claim, seeds=[1]).values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there():
    assert list(paper.claims) == ["learns", "rate", "kernel", "feature", "quadratic", "refine", "cubic", "transfer"]
    assert {id for way in paper.sabotages for id in way.breaks} == set(paper.claims)


def in_full(monkeypatch, claim, *, seed=0, **sizes):
    """A claim in full with few rows; what was asked for is in the second answer, (columns, rows) in their order."""
    asked, whole = [], module._data
    for name, value in sizes.items():
        monkeypatch.setattr(module, name, value)

    def few(d, n, seed, **options):
        asked.append((d, n))
        fit, test = whole(min(d, 9), min(n, 600), seed, **options)
        return fit, module._rows(test, 0, 1000)

    monkeypatch.setattr(module, "_data", few)
    return measure(paper.claims[claim], mode="full", seeds=[seed]), asked


@pytest.mark.slow(reason="tunes eight kernels")
@pytest.mark.filterwarnings("ignore:No hidden feature found")  # from 400 rows
def test_in_full_four_kernels_are_given_few_and_many_rows(monkeypatch):
    found, asked = in_full(monkeypatch, "kernel", N_TUNE=200, N_TEST=1000)
    assert asked == [(20, 3200), (100, 1_000_000)]
    rows = found.tables[0].rows
    assert [row[0] for row in rows] == ["RBF", "Laplace", "NTK, depth 2", "NTK, depth 3"] * 2
    assert [row[1:3] for row in rows] == [(20, 3200)] * 4 + [(100, 600)] * 4
    assert all(-0.5 < row[3] < 0.7 for row in rows)
    assert found.values["above"][0] == pytest.approx(max(row[3] - row[4] for row in rows))


@pytest.mark.filterwarnings("ignore:No hidden feature found")
@pytest.mark.parametrize(
    ("claim", "sizes"),
    [
        ("learns", [(20, 1600), (20, 3200), (20, 6400), (20, 12_800), (10, 1600), (200, 640_000)]),
        ("feature", [(20, 1600), (20, 6400), (20, 12_800), (100, 160_000), (100, 640_000)]),
        ("quadratic", [(d, 16 * d * d) for d in (10, 15, 20, 30, 60, 100, 200, 100)]),
        ("refine", [(20, 6400), (200, 640_000), (200, 320_000)]),
        ("cubic", [(40, 197_456), (16, 77_520)]),
    ],
)
def test_in_full_sizes_are_those_of_the_card(monkeypatch, claim, sizes):
    found, asked = in_full(monkeypatch, claim)
    assert asked == sizes
    assert all(np.isfinite(values).all() for values in found.values.values())


def test_the_rate_is_the_exponent_of_the_rows_over_the_columns(monkeypatch):
    square, cube = ((4, 8), (4, 8, 16)), ((6, 8), (1, 2, 4))
    monkeypatch.setattr(module, "RATES", {(2, 0): square, (2, 2): square, (3, 0): cube, (3, 2): cube})
    monkeypatch.setattr(module, "N_TEST", 150)
    fitted = []

    class Known(module.LearningCurve):
        def fit(self, X, y):
            fitted.append((len(y) - int(np.ceil(self.test_size * len(y))), max(self.sizes)))
            self.errors_, self.d_ = np.ones((3, 1)), X.shape[1]
            return self

        def size_at(self, error):
            assert error == 0.1
            model = self.estimator
            return 1e3 * self.d_ ** (model.degree - 0.1 * model.refine)

    monkeypatch.setattr(module, "LearningCurve", Known)
    found = measure(paper.claims["rate"], mode="full", seeds=[0])
    assert {name: round(v[0], 9) for name, v in found.values.items()} == {
        "square": 2.0,
        "cube": 3.0,
        "square_refined": 1.8,
        "cube_refined": 2.8,
    }
    assert len(fitted) == 8
    assert all(most <= rows < most + 2 for rows, most in fitted)
    assert judge(paper.claims["rate"], found.values) is Verdict.HOLDS


@pytest.mark.filterwarnings("ignore:No hidden feature found")
def test_a_level_that_is_not_reached_has_no_rate(monkeypatch):
    square, cube = ((4, 6), (4, 8, 16)), ((6, 7), (1, 2, 4))
    monkeypatch.setattr(module, "RATES", {(2, 0): square, (2, 2): square, (3, 0): cube, (3, 2): cube})
    monkeypatch.setattr(module, "N_TEST", 300)
    found = measure(paper.claims["rate"], mode="full", seeds=[0])
    assert len(found.tables[0].rows) == 8
    assert np.isnan(found.values["cube"][0])
    assert judge(paper.claims["rate"], found.values) is Verdict.DOES_NOT_HOLD


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
    assert _best_ridge(fit, test)[0] == pytest.approx(max(scores), abs=1e-6)
