"""Paper 17: what takes a second is measured; test_sabotage breaks the rest."""

import numpy as np
import pytest

from mercer.papers import Verdict, catalog, judge, measure, p17_deep_kernel_machines, registry

paper = registry.load(catalog()[17])


def test_the_claims_that_take_no_time_hold():
    claim = paper.claims["limit-nu"]
    assert judge(claim, measure(claim, seeds=[0]).values) is Verdict.HOLDS


@pytest.mark.slow(reason="samples from ten posteriors")
@pytest.mark.filterwarnings("ignore:L-BFGS stopped")
def test_in_full_features_of_both_layers_and_of_tables_are_looked_at(monkeypatch):
    sample = p17_deep_kernel_machines.sample_wide_dgp

    def short(X, y, *, width, n_samples, n_chains, **options):
        return sample(X, y, width=16, n_samples=10, n_chains=1, n_warmup=2, **options)

    monkeypatch.setattr(p17_deep_kernel_machines, "sample_wide_dgp", short)
    monkeypatch.setitem(p17_deep_kernel_machines.PLAIN, "max_iter", 3)
    found = measure(paper.claims["gaussian"], mode="full", seeds=[0])
    rows = found.tables[0].rows
    assert [row[1] for row in rows] == [1, 2] * 5
    assert {row[0] for row in rows} == {"sine", "diabetes", "iris", "wine", "breast_cancer"}
    assert found.values["kurtosis"][0] == max(abs(row[2]) for row in rows)


@pytest.mark.slow(reason="samples from ten posteriors")
@pytest.mark.filterwarnings("ignore:L-BFGS stopped")
def test_in_full_the_limit_is_looked_at_on_yacht_too_where_it_is(monkeypatch, tmp_path):
    sample, sizes = p17_deep_kernel_machines.sample_wide_dgp, []

    def short(X, y, *, width, n_samples, n_chains, **options):
        sizes.append((*X.shape, width))
        return sample(X, y, width=min(width, 8), n_samples=6, n_chains=1, n_warmup=2, **options)

    monkeypatch.setattr(p17_deep_kernel_machines, "sample_wide_dgp", short)
    monkeypatch.setitem(p17_deep_kernel_machines.PLAIN, "max_iter", 3)
    folder = tmp_path / "yacht"
    folder.mkdir()
    draw = np.random.default_rng(0)
    files = {"data": draw.normal(size=(60, 7)), "index_features": np.arange(6), "index_target": np.array([6])}
    files |= {"index_train_0": np.arange(50), "index_test_0": np.arange(50, 60)}
    for name, values in files.items():
        np.savetxt(folder / f"{name}.txt", values)
    found = measure(paper.claims["limit"], mode="full", seeds=[0], data=tmp_path)
    widths = list(p17_deep_kernel_machines.WIDTHS)
    rows = found.tables[0].rows
    assert [row[:2] for row in rows] == [(name, width) for name in ("sine", "yacht") for width in widths]
    assert sizes == [(8, 1, width) for width in widths] + [(32, 6, width) for width in widths]
    assert found.values["error"][0] == max(row[3] for row in rows if row[1] == 2048)
    alone = measure(paper.claims["limit"], mode="full", seeds=[0])
    assert {row[0] for row in alone.tables[0].rows} == {"sine"}


def test_all_claims_of_the_card_are_there_and_can_fail():
    assert list(paper.claims) == ["limit", "gaussian", "linear", "learning", "learning-uci", "limit-nu", "sparse"]
    assert {id for way in paper.sabotages for id in way.breaks} == set(paper.claims) - {"learning-uci"}
