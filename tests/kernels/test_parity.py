"""The same numbers as GPyTorch at equal hyperparameters."""

import pytest
import torch

from mercer.kernels import RBF, Matern, Polynomial, RationalQuadratic

gpytorch = pytest.importorskip("gpytorch")

X = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
ARD = [0.5, 1.0, 2.0]


def theirs(name, lengthscale, **arguments):
    kernel = getattr(gpytorch.kernels, name)(ard_num_dims=3 if isinstance(lengthscale, list) else None, **arguments)
    kernel = kernel.double()
    kernel.lengthscale = torch.tensor(lengthscale, dtype=torch.float64)
    return kernel


@pytest.mark.parametrize("lengthscale", [0.7, ARD], ids=["one", "ard"])
@pytest.mark.parametrize(
    ("name", "arguments", "ours"),
    [
        ("RBFKernel", {}, RBF),
        ("MaternKernel", {"nu": 0.5}, lambda lengthscale: Matern(lengthscale, nu=0.5)),
        ("MaternKernel", {"nu": 1.5}, lambda lengthscale: Matern(lengthscale, nu=1.5)),
        ("MaternKernel", {"nu": 2.5}, lambda lengthscale: Matern(lengthscale, nu=2.5)),
    ],
    ids=["rbf", "matern_1", "matern_3", "matern_5"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_stationary_kernels(name, arguments, ours, lengthscale):
    expected = theirs(name, lengthscale, **arguments)(X, Y).to_dense().detach()
    # GPyTorch adds 1e-15 under its roots
    torch.testing.assert_close(ours(lengthscale)(X, Y).to_dense(), expected, rtol=1e-9, atol=1e-10)


def test_rational_quadratic_and_polynomial():
    kernel = theirs("RQKernel", 0.7)
    kernel.alpha = torch.tensor(1.3, dtype=torch.float64)
    torch.testing.assert_close(RationalQuadratic(0.7, 1.3)(X, Y).to_dense(), kernel(X, Y).to_dense().detach())
    kernel = gpytorch.kernels.PolynomialKernel(power=3).double().initialize(offset=0.4)
    torch.testing.assert_close(Polynomial(3, 0.4)(X, Y).to_dense(), kernel(X, Y).to_dense().detach())
