import pytest
import torch

from mercer.kernels import RBF, Laplacian, Matern, White
from mercer.operators import inv_quad_logdet, plan, sample, solve

KERNELS = [RBF(0.3), 2.0 * RBF([0.3, 0.5]), Laplacian(0.4), Matern(0.3).on(0) * RBF(0.4).on(1), RBF(0.5) * RBF(0.7)]


def grid(dtype=torch.float64):
    a, b = torch.linspace(0, 1, 13, dtype=dtype), torch.rand(9, dtype=dtype, generator=torch.Generator().manual_seed(0))
    X = torch.cartesian_prod(a, b)
    return X[torch.randperm(len(X), generator=torch.Generator().manual_seed(1))]


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [117, 80])  # the whole grid, and one with holes
def test_product_agrees_with_the_entries(kernel, dtype, n):
    X, Y = grid(dtype)[:n], torch.cartesian_prod(torch.rand(4, dtype=dtype), torch.rand(7, dtype=dtype))
    for K in (kernel(X), kernel(X, Y), kernel(Y, X)):
        v = torch.randn(K.shape[1], 3, dtype=dtype)
        exact = K.double().to_dense()
        error = ((K.with_plan("kronecker") @ v).double() - exact @ v.double()).norm()
        assert error <= 16 * torch.finfo(dtype).eps * exact.norm() * v.double().norm()


def test_points_that_occur_twice_count_twice():
    X = torch.cat([grid(), grid()[:5]])
    K, v = RBF(0.3)(X), torch.randn(122, dtype=torch.float64)
    torch.testing.assert_close(K.with_plan("kronecker") @ v, K.to_dense() @ v)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_solve_likelihood_and_gradient_agree_with_cholesky(kernel):
    X, y = grid(), torch.randn(117, 2, dtype=torch.float64)
    found = []
    for name in ("kronecker", "tiles"):
        K = kernel(X).with_plan(name)
        theta = [t.clone().requires_grad_() for t in K.theta]
        noise = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
        both = inv_quad_logdet(K._like(K.X, *theta), y, noise=noise)
        value = both.inv_quad.sum() + 3.0 * both.logdet
        found.append([solve(K, y, noise=0.05).x, value, *torch.autograd.grad(value, [noise, *theta])])
        assert both.method == ("kronecker" if name == "kronecker" else "cholesky")
    for ours, exact in zip(*found, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-8, atol=1e-8)


def test_gradients_of_a_product_agree_with_those_of_tiles():
    found = []
    for name in ("kronecker", "tiles"):
        K = KERNELS[1](grid()).with_plan(name)
        theta = [t.clone().requires_grad_() for t in K.theta]
        v = torch.ones(117, 1, dtype=torch.float64, requires_grad=True)
        found.append(torch.autograd.grad((K._like(K.X, *theta) @ v).square().sum(), [v, *theta]))
    for ours, tiles in zip(*found, strict=True):
        torch.testing.assert_close(ours, tiles)


def test_a_number_of_noises_is_solved_by_iterations():
    K, y = RBF(0.3)(grid(), plan="kronecker"), torch.randn(117, dtype=torch.float64)
    noise = torch.linspace(0.1, 0.2, 117, dtype=torch.float64)
    found = solve(K, y, noise=noise)
    assert found.method != "kronecker"
    torch.testing.assert_close((K.to_dense() + noise.diag()) @ found.x, y, rtol=1e-5, atol=1e-5)


def test_draws_have_the_covariance():
    K = RBF(0.5)(grid(), plan="kronecker")
    draws = sample(K, 4000, noise=0.1, random_state=0)
    assert draws.method == "kronecker"
    covariance = draws.values.mT @ draws.values / 4000
    expected = K.to_dense() + 0.1 * torch.eye(117, dtype=torch.float64)
    # entries of a sample covariance have standard errors of at most 1.1 sqrt(2 / 4000)
    assert (covariance - expected).abs().max() < 5 * 1.1 * (2 / 4000) ** 0.5


def test_inverse_quadratic_forms_of_a_cross_matrix():
    K = RBF(0.3)(grid(), plan="kronecker")
    cross = RBF(0.3)(torch.rand(10, 2, dtype=torch.float64), K.X)
    noise = torch.tensor(0.05, dtype=torch.float64)
    C, M = cross.to_dense(), K.to_dense() + 0.05 * torch.eye(117, dtype=torch.float64)
    expected = (C * torch.linalg.solve(M, C.mT).mT).sum(1)
    torch.testing.assert_close(K.direct().inv_quad_of(cross, noise), expected)


def test_a_large_grid_is_found_and_random_points_are_not():
    axis = torch.linspace(0, 1, 100)
    X = torch.cartesian_prod(axis, axis)
    assert plan(RBF(0.1)(X)).reason == "a product kernel on a grid of 100 x 100"
    assert plan(RBF(0.1)(torch.rand(10_000, 2))).name != "kronecker"


def test_a_float64_copy_of_a_large_grid_stays_structured():
    axis = torch.linspace(0, 1, 100)
    found = solve(RBF(0.1)(torch.cartesian_prod(axis, axis)), torch.ones(10_000), noise=1e-3)
    assert (found.method, found.n_iter) == ("kronecker", 0)
    assert found.residual < 1e-9


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (Matern(), "no product of kernels of single columns"),
        (RBF().on(0), "two columns or more"),
        (RBF() + Matern(), "a kernel of one term"),
        ((RBF() + 1.0) ** 2, "no product of kernels of single columns"),
    ],
    ids=repr,
)
def test_a_kernel_that_is_no_product_says_so(kernel, reason):
    with pytest.raises(ValueError, match=reason):
        kernel(grid()).with_plan("kronecker")


def test_points_that_are_no_grid_say_so():
    with pytest.raises(ValueError, match="no grid"):
        RBF()(torch.rand(50, 2)).with_plan("kronecker")
    with pytest.raises(ValueError, match="gradients in the points"):
        RBF()(grid().requires_grad_()).with_plan("kronecker")


def test_white_noise_on_a_grid_is_counted_once():
    K, v = (RBF(0.3) * RBF(0.3) + White(0.5))(grid()), torch.randn(117, dtype=torch.float64)
    expected = (RBF(0.3) * RBF(0.3))(grid()).to_dense() @ v + 0.5 * v
    torch.testing.assert_close(K @ v, expected)
