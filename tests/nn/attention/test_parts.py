"""The norm and the gated layer."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mercer.nn import GatedMLP, SRMSNorm


def test_the_norm_is_torchs_without_a_gain():
    x = torch.randn(3, 5, 16, dtype=torch.float64)
    torch.testing.assert_close(SRMSNorm()(x), nn.RMSNorm(16, eps=1e-6, elementwise_affine=False)(x))


def test_large_half_numbers_do_not_overflow():
    x = torch.full((1, 8), 3e4, dtype=torch.float16)  # squares beyond 65,504
    assert torch.equal(SRMSNorm()(x), torch.ones_like(x))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-8])
def test_its_jacobian_is_bounded_as_it_says(scale):
    x = scale * torch.randn(16, dtype=torch.float64)
    J = torch.autograd.functional.jacobian(SRMSNorm(), x)
    rho = float((x.square().mean() + 1e-6).sqrt())
    eigenvalues = torch.linalg.eigvalsh(J)
    assert eigenvalues[-1] == pytest.approx(1.0 / rho)
    assert eigenvalues[0] == pytest.approx(1e-6 / rho**3)
    assert J.abs().max() <= 1.0 / 1e-6**0.5


def test_an_eps_of_zero_is_refused():
    with pytest.raises(ValueError, match="it bounds the gradients"):
        SRMSNorm(0.0)


def test_the_gated_layer_is_its_formula():
    layer, x = GatedMLP(12).double(), torch.randn(2, 12, dtype=torch.float64)
    assert (layer.gate.out_features, GatedMLP(12, 5).gate.out_features) == (32, 5)
    torch.testing.assert_close(layer(x), layer.down(functional.silu(layer.gate(x)) * layer.up(x)))
    official = GatedMLP(12, reference=True).double()
    official.load_state_dict(layer.state_dict())
    torch.testing.assert_close(official(x), layer.down(layer.gate(x) * layer.up(x)))
    with pytest.raises(ValueError, match="number of units >= 1"):
        GatedMLP(12, 0)
