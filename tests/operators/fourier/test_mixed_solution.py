import pytest
import torch

from mercer import operators
from mercer.kernels import RBF, Linear
from mercer.operators.fourier import FourierSolution, MixedSolution
from mercer.operators.structure import LowRankSolution, low_rank_root

N = 200
NOISES = [torch.tensor(0.05, dtype=torch.float64), torch.linspace(0.02, 0.2, N, dtype=torch.float64)]
NEAR = {"rtol": 1e-6, "atol": 1e-5}  # entries are right to 1e-9, a noise of 0.02 enlarges that


def points(n=N, seed=0):
    return torch.rand(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 5.0


def mixed(kernel, X):
    K = kernel(X)
    series = FourierSolution(K.of_terms((0,)), tolerance=1e-9)
    few = LowRankSolution(low_rank_root(K.of_terms((1, 2)).operands(), "row"))
    return MixedSolution(series, few, ((0,), (1, 2))), K.to_dense()


@pytest.mark.parametrize("noise", NOISES, ids=["one noise", "by row"])
def test_forms_solutions_gradients_and_variances_agree_with_the_dense_matrix(noise):
    leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (1.5, 0.4, 0.1, 0.7)]
    noise = noise.clone().requires_grad_(noise.ndim == 0)
    amplitude, lengthscale, scale, bias = leaves
    kernel = amplitude * RBF(lengthscale) + scale * Linear(bias=bias)
    solution, K = mixed(kernel, points())
    assert solution.applies(noise) is None
    Y = torch.randn(N, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    quad, logdet, error = solution.inv_quad_logdet(Y, noise)
    x = solution.solve(Y, noise)
    M = K + torch.diag(noise.expand(N))
    expected = torch.linalg.solve(M, Y)
    expected_quad, expected_logdet = (Y * expected).sum(0), torch.logdet(M)
    assert float(error) == 0.0
    torch.testing.assert_close(quad, expected_quad, **NEAR)
    torch.testing.assert_close(logdet, expected_logdet, **NEAR)
    torch.testing.assert_close(x, expected.detach(), **NEAR)
    leaves += [noise] if noise.requires_grad else []
    ours = torch.autograd.grad(quad.sum() + 0.7 * logdet, leaves)
    theirs = torch.autograd.grad(expected_quad.sum() + 0.7 * expected_logdet, leaves, retain_graph=True)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-4)
    outside = points(7, seed=2) * 1.1
    c = kernel(outside, points())
    explained = (c.to_dense() * torch.linalg.solve(M, c.to_dense().mT).mT).sum(1)
    torch.testing.assert_close(solution.inv_quad_of(c, noise.detach()), explained.detach(), **NEAR)


def test_draws_have_the_kernel_as_covariance():
    solution, K = mixed(RBF(0.5) + 0.01 * Linear(bias=1.0), points(6))
    draws = solution.sample(40_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(draws @ draws.mT / 40_000, K, rtol=0, atol=0.03)


def test_a_noise_of_every_point_is_not_learnt():
    solution, _ = mixed(RBF(0.5) + 0.01 * Linear(bias=1.0), points(9))
    assert "not learnt" in solution.applies(torch.ones(9, dtype=torch.float64, requires_grad=True))
    assert "positive noise" in solution.applies(torch.tensor(0.0))


@pytest.mark.slow(reason="20,000 points, from which on a Fourier series takes part by itself")
def test_a_stationary_kernel_with_a_trend_is_solved_in_weight_space():
    X = points(20_000)
    y = torch.sin(9.0 * X[:, 0]) + X[:, 1]
    K = (2.0 * RBF(0.3) + 0.1 * Linear(bias=0.5))(X.float())
    assert K.plan.reason == "term 1 by fourier and terms 2, 3 by lowrank"
    found = operators.solve(K, y, noise=1e-2)
    assert found.method == "weights"
    assert found.residual < 1e-6
    rows = K.double().with_plan("tiles")[:50]  # a residual of entries, which no series made
    torch.testing.assert_close(rows @ found.x + 0.01 * found.x[:50], y[:50], rtol=0, atol=1e-4)
