"""Networks without pools: what is computed in place is what autograd can follow."""

import pytest
import torch

from mercer.kernels import NetworkKernel
from mercer.kernels.neural import in_place
from mercer.kernels.neural.layers import GELU, Abs, Conv, Dense, Erf, Flatten, LayerNorm, LeakyReLU, ReLU, Residual

DOUBLE = torch.float64
NETWORKS = {
    "two convolutions": [Conv(), ReLU(), Conv(), ReLU(), Flatten(), Dense()],
    "positions at the end": [Conv(3, 2), LeakyReLU(0.2)],
    "dense on positions": [Conv(), Abs(), Dense(), ReLU(), Flatten(), Dense(), Erf(), Dense()],
    "norms": [Conv(), LayerNorm(), ReLU(), Conv(2, 2, "valid"), LayerNorm(), GELU(), Flatten(), Dense()],
    "circular": [Conv(3, padding="circular"), Erf(), Conv(2, padding="circular"), ReLU(), Flatten(), Dense()],
    "residual": [Conv(), Residual(ReLU(), Conv()), Residual(Conv(3, 2), shortcut=[Conv(1, 2)]), ReLU(), Flatten()],
    "residual at first": [Residual(Conv(), ReLU(), Conv(), shortcut=[Dense()]), ReLU(), Flatten(), Dense()],
    "shortcut with the weights": [Residual(Dense(), shortcut=[Conv()]), ReLU(), Conv(), Flatten()],
}


def recorded(kernel, X, Y):
    """By the layers that autograd can follow."""
    return kernel(X.clone().requires_grad_(), Y).to_dense().detach()


def images(n, *shape, seed=0):
    return torch.randn(n, *shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_in_place_are_what_autograd_follows(name, kind, monkeypatch):
    monkeypatch.setattr(
        in_place, "NUMBERS", 150 // torch.get_num_threads()
    )  # blocks of two rows and three columns, and smaller ones at the ends
    monkeypatch.setattr(in_place, "COLUMNS", 3)
    kernel = NetworkKernel(NETWORKS[name], kind, sigma_w=1.3, sigma_b=0.2)
    for shape in ((2, 5, 4), (3, 9)):
        X, Y = images(5, *shape), images(7, *shape, seed=1)
        Y[2] = X[3]
        torch.testing.assert_close(kernel(X, Y).to_dense(), recorded(kernel, X, Y), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_equal_opposite_and_empty_images_keep_their_digits(dtype):
    X = images(4, 1, 6, 6)
    X[1] = -X[0]
    X[2] = 0.0
    X[3, :, :3] = 0.0
    kernel = NetworkKernel(NETWORKS["two convolutions"], sigma_w=1.4, sigma_b=0.0)
    expected = recorded(kernel, X, X)
    found = kernel(X.to(dtype), X.to(dtype)).to_dense()
    assert found[2].abs().max() < 1e-6
    # The versine of opposite points has lost the digits of their angle: 8e-5 here, as much by the recorded layers.
    torch.testing.assert_close(found.to(DOUBLE), expected, rtol=0.0, atol=2e-4 if dtype == torch.float32 else 1e-8)


def test_float32_is_as_exact_as_the_layers_that_autograd_follows():
    X, Y = images(40, 3, 8, 8), images(50, 3, 8, 8, seed=1)
    Y[:20] = X[:20] + 1e-3 * Y[:20]
    kernel = NetworkKernel(NETWORKS["two convolutions"])
    expected = recorded(kernel, X, Y)
    found = kernel(X.float(), Y.float()).to_dense().double()
    assert float(((found - expected).abs() / expected).max()) < 2e-6


def test_no_images_have_an_empty_kernel():
    X = torch.zeros(0, 1, 4, 4)
    assert NetworkKernel(NETWORKS["two convolutions"])(X, torch.ones(3, 1, 4, 4)).to_dense().shape == (0, 3)


def test_gradients_come_from_the_layers_that_autograd_follows():
    X = images(3, 1, 4, 4)
    kernel = NetworkKernel([Conv(), ReLU(), Flatten(), Dense()])
    torch.autograd.gradcheck(lambda X: kernel(X, images(2, 1, 4, 4, seed=1)).to_dense(), X.requires_grad_())


def test_transforms_of_functions_see_the_layers_that_autograd_follows():
    kernel = NetworkKernel([Conv(), ReLU(), Flatten(), Dense()])
    X, Y = images(2, 1, 4, 4), images(3, 1, 4, 4, seed=1)

    def total(X):
        return kernel(X, Y).to_dense().sum()

    found = torch.func.grad(total)(X)
    (expected,) = torch.autograd.grad(total(X.requires_grad_()), X)
    torch.testing.assert_close(found, expected)
