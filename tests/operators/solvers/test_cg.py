import math

import pytest
import torch
from torch import Tensor

from mercer.operators.solvers import System, block_cg
from mercer.operators.solvers.cg import Reached


def spectrum(values: Tensor) -> Tensor:
    vectors = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64))[0]
    return (vectors * values) @ vectors.T


def plain(V: Tensor) -> Tensor:
    return V


def run(A: Tensor, B: Tensor, **options: object) -> Reached:
    defaults: dict[str, object] = {"rtol": 1e-8, "max_iter": 200, "precondition": plain}
    return block_cg(System(A), B, **{**defaults, **options})  # type: ignore[arg-type]


def test_iterations_are_at_most_the_number_of_distinct_eigenvalues() -> None:
    A = spectrum(torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).repeat_interleave(20))
    assert run(A, torch.randn(60, 1, dtype=torch.float64)).n_iter == 3


def test_block_needs_fewer_iterations_than_its_columns() -> None:
    A = spectrum(torch.logspace(0, -3, 120, dtype=torch.float64))
    B = torch.randn(120, 10, dtype=torch.float64)
    single = max(run(A, B[:, j : j + 1]).n_iter for j in range(10))
    together = run(A, B)
    assert together.n_iter < 0.5 * single
    assert float(together.residual.max()) <= 1e-8


def test_dependent_columns_do_no_harm() -> None:
    A = spectrum(torch.logspace(0, -2, 40, dtype=torch.float64))
    b = torch.randn(40, 2, dtype=torch.float64)
    B = torch.cat([b, b, 1e-9 * b.sum(1, keepdim=True), torch.zeros(40, 1, dtype=torch.float64)], 1)
    state = run(A, B)
    assert state.stopped == "converged"
    torch.testing.assert_close(A @ state.X, B, rtol=1e-6, atol=1e-7)


def test_converged_columns_leave_the_block() -> None:
    A = spectrum(torch.logspace(0, -3, 80, dtype=torch.float64))
    start = torch.randn(80, 3, dtype=torch.float64)
    B = A @ start
    initial = start.clone()
    initial[:, 2] = 0.0
    state = run(A, B, initial=initial)
    assert state.stopped == "converged"
    assert torch.equal(state.X[:, :2], start[:, :2])


def test_residuals_are_true_at_the_end() -> None:
    A = spectrum(torch.logspace(0, -6, 60, dtype=torch.float64))
    B = torch.randn(60, 2, dtype=torch.float64)
    state = run(A, B, max_iter=15)
    assert state.stopped == "max_iter"
    assert len(state.history) == state.n_iter == 15
    torch.testing.assert_close(state.residual, (A @ state.X - B).norm(dim=0) / B.norm(dim=0))


def test_float32_products_reach_float64_residuals() -> None:
    A = spectrum(torch.logspace(0, -2, 60, dtype=torch.float64)).float()
    B = torch.randn(60, 1, dtype=torch.float64)
    state = run(A, B, rtol=1e-11)
    assert state.switched_at is None
    assert state.products["float64"] < 10 < state.products["float32"]
    assert float((A.double() @ state.X - B).norm() / B.norm()) <= 1e-11


class Rounded(System):
    """Its float32 products are those of another matrix, 1e-2 off: worse than the smallest eigenvalue."""

    def __init__(self, A: Tensor, error: Tensor) -> None:
        super().__init__(A)
        self.has_single, self.error = True, error

    def product(self, V: Tensor, *, dtype: torch.dtype = torch.float64) -> Tensor:
        return self.A @ V + (self.error @ V if dtype == torch.float32 else 0.0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_float64_takes_over_where_float32_has_stalled(sign: float) -> None:
    A = spectrum(torch.logspace(0, -4, 60, dtype=torch.float64))
    system = Rounded(A, sign * 1e-2 * torch.eye(60, dtype=torch.float64))  # with -1: not positive definite
    B = torch.randn(60, 2, dtype=torch.float64)
    state = block_cg(system, B, rtol=1e-8, max_iter=500, precondition=plain)
    assert state.stopped == "converged"
    assert state.switched_at is not None
    assert float((A @ state.X - B).norm() / B.norm()) <= 1e-8


def test_watch_can_end_the_run() -> None:
    A = spectrum(torch.logspace(0, -4, 60, dtype=torch.float64))
    state = run(A, torch.randn(60, 1, dtype=torch.float64), watch=lambda progress: progress.n_iter == 4)
    assert state.stopped == "given up"
    assert state.n_iter == 4


def test_indefinite_matrix_breaks_down_with_the_best_so_far() -> None:
    A = torch.diag(torch.linspace(-1.0, 1.0, 20, dtype=torch.float64))
    state = run(A, torch.ones(20, 1, dtype=torch.float64))
    assert state.stopped == "breakdown"
    assert float(state.residual) <= 1.0
    assert math.isfinite(float(state.X.abs().max()))


def test_residual_that_cannot_fall_further_stops_the_run() -> None:
    A = spectrum(torch.logspace(0, -12, 30, dtype=torch.float64))
    state = run(A, torch.randn(30, 1, dtype=torch.float64), rtol=1e-14, max_iter=150)
    assert state.stopped in ("stagnation", "breakdown", "max_iter")
    assert float(state.residual) <= 1.0
