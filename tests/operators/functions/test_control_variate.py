import torch
from torch import Tensor

from mercer.operators.functions.control_variate import preconditioner_slope
from mercer.operators.solvers import System, pivoted_cholesky
from mercer.operators.solvers.precondition import precondition


def kernel(X: Tensor, lengthscale: Tensor) -> Tensor:
    return torch.exp(-0.5 * (X[:, None] - X).square().sum(-1) / lengthscale**2)


def test_slope_is_that_of_the_preconditioner_with_its_pivots_held() -> None:
    X = torch.randn(40, 2, dtype=torch.float64, requires_grad=True)
    lengthscale = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    noise = torch.full((40,), 0.1, dtype=torch.float64, requires_grad=True)
    A = kernel(X, lengthscale)
    system = System(A, noise)
    approximation = pivoted_cholesky(system, 8)
    shift = float(approximation.remainder.mean())
    P = precondition(system, approximation)
    V, weights = torch.randn(40, 3, dtype=torch.float64), torch.rand(3, dtype=torch.float64)

    rows = A[P.pivots]
    dense = rows.mT @ torch.linalg.solve(rows[:, P.pivots], rows) + torch.diag(noise + shift)
    expected = torch.logdet(dense) - (weights * (V * (dense @ V)).sum(0)).sum()
    slope = preconditioner_slope(A, noise, P, V, weights)
    assert slope.item() == 0.0
    leaves = (X, lengthscale, noise)
    theirs = torch.autograd.grad(expected, leaves, retain_graph=True)
    for ours, other in zip(torch.autograd.grad(slope, leaves), theirs, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-6, atol=1e-8)


def test_slope_by_the_noise_alone_and_by_one_number() -> None:
    A = kernel(torch.randn(30, 2, dtype=torch.float64), torch.tensor(1.0))
    noise = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    system = System(A, noise)
    P = precondition(system, pivoted_cholesky(system, 5))
    V = torch.randn(30, 2, dtype=torch.float64)
    (slope,) = torch.autograd.grad(preconditioner_slope(A, noise, P, V, torch.ones(2, dtype=torch.float64)), noise)
    expected = P.solve(torch.eye(30, dtype=torch.float64)).trace() - V.square().sum()
    torch.testing.assert_close(slope, expected)
