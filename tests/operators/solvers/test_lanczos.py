import pytest
import torch
from torch import Tensor

from mercer.operators.solvers import Preconditioner, System, lanczos_solve, pivoted_cholesky, quadrature
from mercer.operators.solvers.precondition import precondition


def problem(n: int = 40, rank: int = 4) -> tuple[System, Preconditioner, Tensor]:
    X = torch.randn(n, 2, dtype=torch.float64)
    K = torch.exp(-0.5 * torch.cdist(X, X) ** 2)
    system = System(K, 0.1)
    return system, precondition(system, pivoted_cholesky(system, rank)), K + 0.1 * torch.eye(n, dtype=torch.float64)


def exactly(t: int) -> Tensor:
    return torch.full((t,), 1e-13, dtype=torch.float64)


def test_columns_are_solved_each_to_its_own_tolerance() -> None:
    system, P, M = problem()
    B = torch.randn(40, 3, dtype=torch.float64)
    rtol = torch.tensor([1e-2, 1e-5, 1e-9], dtype=torch.float64)
    run = lanczos_solve(system, B, P, rtol=rtol, max_iter=100)
    residual = (M @ run.X - B).norm(dim=0) / B.norm(dim=0)
    assert bool((residual <= 1.1 * rtol).all())
    assert float(residual[0]) > 1e-4  # it left early


@pytest.mark.parametrize("rank", [0, 4, 30])
def test_quadrature_is_the_quadratic_form_of_the_logarithm(rank: int) -> None:
    system, P, M = problem(rank=rank)
    B = torch.randn(40, 3, dtype=torch.float64)
    run = lanczos_solve(system, B, P, rtol=exactly(3), max_iter=40)
    _, divided = P.roots()
    U = divided(B) / divided(B).norm(dim=0)
    preconditioned = divided(divided(M).mT)
    values, vectors = torch.linalg.eigh(0.5 * (preconditioned + preconditioned.mT))
    expected = ((vectors.mT @ U).square() * values.log()[:, None]).sum(0)
    torch.testing.assert_close(quadrature(run, torch.log), expected, rtol=1e-8, atol=1e-6)


def test_column_that_ends_early_has_the_quadrature_of_its_own_run() -> None:
    system, P, _ = problem()
    B, rtol = torch.randn(40, 2, dtype=torch.float64), torch.tensor([0.2, 1e-9], dtype=torch.float64)
    together = lanczos_solve(system, B, P, rtol=rtol, max_iter=100)
    alone = lanczos_solve(system, B[:, :1], P, rtol=rtol[:1], max_iter=100)
    assert alone.n_iter < together.n_iter
    torch.testing.assert_close(quadrature(together, torch.log)[:1], quadrature(alone, torch.log))


def test_column_of_zeros_takes_no_part() -> None:
    system, P, _ = problem()
    B = torch.zeros(40, 2, dtype=torch.float64)
    B[:, 0] = 1.0
    run = lanczos_solve(system, B, P, rtol=exactly(2), max_iter=100)
    assert bool((run.X[:, 1] == 0).all())
    nothing = lanczos_solve(system, 0.0 * B, P, rtol=exactly(2), max_iter=100)
    assert nothing.n_iter == 0
    assert float(quadrature(nothing, torch.log).abs().max()) == 0.0


def test_indefinite_matrix_is_reported() -> None:
    system = System(torch.diag(torch.linspace(-1.0, 1.0, 20, dtype=torch.float64)))
    P = precondition(system, pivoted_cholesky(system, 1))
    run = lanczos_solve(system, torch.randn(20, 1, dtype=torch.float64), P, rtol=exactly(1), max_iter=50)
    assert run.broke_down


def test_watch_sees_every_iteration() -> None:
    system, P, _ = problem()
    seen: list[int] = []
    run = lanczos_solve(
        system,
        torch.randn(40, 1, dtype=torch.float64),
        P,
        rtol=torch.tensor([1e-6], dtype=torch.float64),
        max_iter=100,
        watch=lambda n_iter, ratio: seen.append(n_iter),
    )
    assert seen == list(range(1, run.n_iter + 1))
