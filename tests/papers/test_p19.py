"""Paper 19: the claims that take seconds are measured, with their verdicts, also where they do not hold."""

import numpy as np
import pytest

from mercer.data import pde_benchmark
from mercer.papers import Verdict, catalog, judge, measure, p19_gp_hm_pde, registry

paper = registry.load(catalog()[19])


@pytest.mark.slow(reason="measures claims of the paper")
@pytest.mark.parametrize(
    ("id", "verdict"),
    [("error-bars", Verdict.DOES_NOT_HOLD), ("inverse", Verdict.HOLDS), ("kronecker", Verdict.HOLDS)],
)
def test_what_is_quick_comes_out_as_the_page_says(id, verdict):
    claim = paper.claims[id]
    assert judge(claim, measure(claim, seeds=[0]).values) is verdict


@pytest.mark.slow(reason="measures a claim of the paper")
def test_a_log_determinant_that_is_off_breaks_the_claim_of_kronecker_algebra(monkeypatch):
    prior = p19_gp_hm_pde.Process.prior

    def off(process, orders):
        logdet, quad, found = prior(process, orders)
        return logdet * (1.0 + 1e-8), quad, found

    monkeypatch.setattr(p19_gp_hm_pde.Process, "prior", off)
    found = measure(paper.claims["kronecker"], seeds=[0])
    assert found.values["error"][0] == pytest.approx(1e-8, rel=1e-3)
    assert judge(paper.claims["kronecker"], found.values) is Verdict.DOES_NOT_HOLD


@pytest.mark.slow(reason="a second process on 400 nodes")
def test_the_released_method_is_measured_in_full(monkeypatch):
    monkeypatch.setattr(p19_gp_hm_pde, "RELEASED_STEPS", 3)
    monkeypatch.setattr(p19_gp_hm_pde, "LINES", ("poisson-sin", "poisson-parabola"))
    found = measure(paper.claims["released"], mode="full", seeds=[0])
    assert [row[:2] for row in found.tables[0].rows] == [("poisson-sin", "joint"), ("poisson-parabola", "extra")]
    assert 0.1 < found.values["worst"][0] < 10.0  # nothing is learnt in three steps
    assert judge(paper.claims["released"], found.values) is Verdict.DOES_NOT_HOLD


def test_in_full_every_wave_of_every_solution_in_one_dimension_is_looked_for(monkeypatch):
    asked = []

    class Found:
        def __init__(self, problem, **options):
            asked.append((problem.name, problem.grid[0], options["max_iter"]))
            waves = np.array([*p19_gp_hm_pde.WAVES[problem.name]]) / (2.0 * np.pi)
            weights = np.array([*p19_gp_hm_pde.WAVES[problem.name].values()]) ** 2
            # one wave is off, and a light one is on it
            self.spectrum_ = [{"frequencies": np.array([*(waves + 0.01), 0.0]), "weights": np.array([*weights, 1e-4])}]

    monkeypatch.setattr(p19_gp_hm_pde, "_solve", Found)
    found = measure(paper.claims["spectrum"], mode="full", seeds=[0])
    assert [name for name, _, _ in asked] == [*p19_gp_hm_pde.WAVES]
    assert {steps for _, _, steps in asked} == {240}
    assert all(abs(n - pde_benchmark(name).grid[0]) <= 10 for name, n, _ in asked)
    assert len(found.tables[0].rows) == 11
    assert found.values["distance"][0] == pytest.approx(0.01)
    assert judge(paper.claims["spectrum"], found.values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there():
    card = ["parity", "frequency", "multi-scale", "spectrum", "kronecker", "released", "pinn"]
    assert list(paper.claims) == [*card, "direct", "error-bars", "inverse"]
    assert isinstance(paper.claims["pinn"].quick, str)
    assert {id for way in paper.sabotages for id in way.breaks} == {
        "spectrum",
        "direct",
        "parity",
        "multi-scale",
        "kronecker",
    }
