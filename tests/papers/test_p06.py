"""Paper 06: what takes a second is measured; the rest is looked at for what would make it vacuous."""

import pytest
import torch

from mercer.papers import Verdict, catalog, judge, measure, registry
from mercer.papers.p06_transnormer import _all_forms, _peak_bytes, _slope

paper = registry.load(catalog()[6])


@pytest.mark.slow(reason="measures claims of the paper")
@pytest.mark.parametrize("id", ["gradient", "forms"])
def test_what_is_exact_comes_out_the_same_for_every_seed(id):
    claim = paper.claims[id]
    assert judge(claim, measure(claim, seeds=[0]).values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there():
    assert list(paper.claims) == ["gradient", "spread", "quality", "dilution", "linear", "forms"]
    assert {id for way in paper.sabotages for id in way.breaks} == set(paper.claims) - {"linear"}


def test_every_form_is_another_computation():
    q, k, v = torch.randn(3, 1, 1, 90, 4)
    found = list(_all_forms(q, k, v))
    assert len(found) == 8
    assert len({x.numpy().tobytes() for x in found}) >= 4


def test_slopes_and_peaks_would_show_a_square():
    assert _slope({n: 3.0 * n**2 for n in (10, 20, 40)}) == pytest.approx(2.0)
    # Three gradients of (1, 4, n, 64); what a walk has at hand takes as much as 256 rows, whatever the length.
    assert _peak_bytes(256) / (4 * 256 * 64 * 4) == pytest.approx(4.0, abs=0.5)
    assert _peak_bytes(1024) / (4 * 1024 * 64 * 4) == pytest.approx(3.25, abs=0.5)
