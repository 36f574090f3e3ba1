"""Paper 33: the claims that take a second are measured; the others are looked at for what would make them vacuous."""

import numpy as np
import pytest
import torch

from mercer.papers import Verdict, catalog, judge, measure, registry

paper = registry.load(catalog()[33])


@pytest.mark.slow(reason="measures a claim of the paper")
def test_the_products_of_matrices_are_the_convolution():
    claim = paper.claims["exact"]
    assert judge(claim, measure(claim, seeds=[0]).values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there():
    assert list(paper.claims) == ["regularise", "repaired-text", "match", "exact", "speed", "butterfly", "path256"]
    assert isinstance(paper.claims["match"].quick, str)
    assert {id for way in paper.sabotages for id in way.breaks} == {"regularise", "exact", "butterfly", "path256"}


def test_what_is_to_be_learnt_by_a_butterfly_is_no_convolution():
    from mercer.papers.p33_long_convs import _changing_filter, _digit_reversal

    filter_, reversal = _changing_filter(64), _digit_reversal(64)
    assert not torch.allclose(filter_[32:, 32:], filter_[:32, :32], atol=0.1)
    assert torch.equal(filter_, filter_.tril())
    assert torch.equal(reversal @ reversal, torch.eye(64))
    assert torch.equal(reversal @ torch.arange(64.0), torch.arange(64).view(8, 8).mT.flatten().float())


def test_the_rivals_of_the_speed_claim_compute_the_same():
    from mercer.operators import convolve
    from mercer.papers.p33_long_convs import _by_scipy, _by_torch

    u, k = torch.randn(2, 3, 40), torch.randn(3, 40)
    spectrum = torch.fft.rfft(k, 80)
    expected = convolve(u, k)
    assert torch.allclose(_by_torch(u, spectrum), expected, atol=1e-5)
    np.testing.assert_allclose(_by_scipy(u.numpy(), spectrum.numpy()), expected.numpy(), atol=1e-5)
