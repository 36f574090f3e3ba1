import pytest
import torch

from mercer.kernels import RBF, Laplacian, Linear, Matern, RationalQuadratic, White
from mercer.operators import plan, solve

KERNELS = [RBF(0.2), Matern(0.3), 2.0 * Laplacian([0.4, 0.2]) + RationalQuadratic(0.3), Matern(0.2).on(0) * RBF().on(1)]


def grid(dtype=torch.float64):
    X = torch.cartesian_prod(torch.linspace(-1, 1, 13, dtype=dtype), torch.linspace(0, 1, 9, dtype=dtype))
    return X[torch.randperm(len(X), generator=torch.Generator().manual_seed(1))]


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [117, 60])  # the whole grid, and one with gaps
def test_product_agrees_with_the_entries(kernel, dtype, n):
    X = grid(dtype)[:n]
    wide = grid()
    Y = wide[: n // 2] + torch.tensor([2 / 12, 0.0], dtype=torch.float64)
    for K in (kernel(X), kernel(X, X[:7]), kernel(wide, Y)):
        v = torch.randn(K.shape[1], 3, dtype=K.dtype)
        exact = K.double().to_dense()
        error = ((K.with_plan("toeplitz") @ v).double() - exact @ v.double()).norm()
        # N1: 4 eps (2 + R^2) with R at most 5 lengthscales
        assert error <= 4 * 27 * torch.finfo(K.dtype).eps * exact.norm() * v.double().norm()


def test_gradients_agree_with_those_of_tiles():
    found = []
    for name in ("toeplitz", "tiles"):
        K = KERNELS[2](grid()).with_plan(name)
        theta = [t.clone().requires_grad_() for t in K.theta]
        v = torch.ones(117, 2, dtype=torch.float64, requires_grad=True)
        found.append(torch.autograd.grad((K._like(K.X, *theta) @ v).square().sum(), [v, *theta]))
    for ours, tiles in zip(*found, strict=True):
        torch.testing.assert_close(ours, tiles)


def test_a_long_series_with_gaps_is_solved_by_products():
    X = torch.arange(6000.0)[torch.rand(6000, generator=torch.Generator().manual_seed(0)) < 0.9, None]
    K, y = (Matern(20.0, nu=0.5) + White(0.1))(X), torch.sin(X[:, 0] / 50)
    assert plan(K).reason == "a stationary kernel on a grid of 6000"
    found = solve(K, y, noise=0.1)
    product = K.double().with_plan("tiles") @ found.x + 0.1 * found.x
    assert (product - y).norm() <= 1e-6 * y.norm()


def test_random_points_and_other_kernels_say_why_not():
    with pytest.raises(ValueError, match="no grid of even steps"):
        RBF()(torch.rand(50, 2)).with_plan("toeplitz")
    with pytest.raises(ValueError, match="differences of points alone"):
        Linear()(grid()).with_plan("toeplitz")
    with pytest.raises(ValueError, match="gradients in the points"):
        RBF()(grid().requires_grad_()).with_plan("toeplitz")
    with pytest.raises(ValueError, match="not for a batch"):
        RBF()(grid().expand(2, -1, -1)).with_plan("toeplitz")


def test_values_far_from_zero_have_lost_the_grid_and_say_so():
    X = torch.linspace(0, 1, 50)[:, None] + 1e4
    with pytest.raises(ValueError, match="subtract the origin"):
        RBF()(X).with_plan("toeplitz")
