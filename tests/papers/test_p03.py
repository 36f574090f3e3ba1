"""Paper 03: the claims that take a second are measured; the others are looked at for what would make them vacuous."""

import pytest
import torch

from mercer.nn import LongConv, S4DKernel, SGConvKernel
from mercer.papers import Verdict, catalog, judge, measure, registry

paper = registry.load(catalog()[3])


@pytest.mark.slow(reason="measures claims of the paper")
@pytest.mark.parametrize("id", ["params", "step", "million"])
def test_what_is_exact_holds_for_every_seed(id):
    claim = paper.claims[id]
    values = measure(claim, seeds=[0]).values
    if id == "million":  # the peak is of this whole process, which has tested other things before
        assert values["seconds"][0] < 60.0
    else:
        assert judge(claim, values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there():
    claims = ["params", "decay", "structure", "lra", "speed", "million", "step", "resolution"]
    assert list(paper.claims) == claims
    assert isinstance(paper.claims["lra"].quick, str)
    assert {claim.id for claim in paper.claims.values() if claim.identity} == {"params", "step"}
    assert {id for way in paper.sabotages for id in way.breaks} == {
        "params",
        "decay",
        "structure",
        "step",
        "resolution",
    }


def test_the_kernels_of_the_speed_claim_differ_in_how_they_are_computed_only():
    plain, blocked = (S4DKernel(3, 50, definition=definition, random_state=0) for definition in (True, False))
    assert torch.allclose(plain(), blocked(), atol=1e-3)  # float32 phases
    from mercer.papers.p03_sgconv import _Kept, _train_once

    layer = LongConv(3, 50, kernel=_Kept(plain()))
    u = torch.randn(2, 50, 3, requires_grad=True)
    _train_once(layer, u)
    assert u.grad is not None
    assert torch.allclose(layer.kernel(50), plain())


def test_the_rivals_differ_in_decay_only():
    from mercer.papers.p03_sgconv import _structured

    torch.manual_seed(0)
    with_decay = _structured(2.0)(4)
    torch.manual_seed(0)
    without = _structured(1.0)(4)
    same = zip(with_decay.named_parameters(), without.named_parameters(), strict=True)
    assert all(a == b and torch.equal(p, q) for (a, p), (b, q) in same)
    assert isinstance(without.kernel, SGConvKernel)
    assert not torch.allclose(with_decay.kernel(), without.kernel())
