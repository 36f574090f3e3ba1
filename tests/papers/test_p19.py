"""Paper 19: the claims that take seconds are measured, with their verdicts, also where they do not hold."""

import pytest

from mercer.papers import Verdict, catalog, judge, measure, registry

paper = registry.load(catalog()[19])


@pytest.mark.slow(reason="measures claims of the paper")
@pytest.mark.parametrize(
    ("id", "verdict"),
    [("error-bars", Verdict.DOES_NOT_HOLD), ("inverse", Verdict.HOLDS), ("kronecker", Verdict.HOLDS)],
)
def test_what_is_quick_comes_out_as_the_page_says(id, verdict):
    claim = paper.claims[id]
    assert judge(claim, measure(claim, seeds=[0]).values) is verdict


def test_all_claims_of_the_card_are_there():
    card = ["parity", "frequency", "multi-scale", "spectrum", "kronecker", "pinn"]
    assert list(paper.claims) == [*card, "direct", "error-bars", "inverse"]
    assert isinstance(paper.claims["pinn"].quick, str)
    assert {id for way in paper.sabotages for id in way.breaks} == {
        "spectrum",
        "direct",
        "parity",
        "multi-scale",
        "kronecker",
    }
