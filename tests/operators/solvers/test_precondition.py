import pytest
import torch
from torch import Tensor

from mercer import config
from mercer.arrays import generator
from mercer.errors import MemoryBudgetError
from mercer.kernels import RBF
from mercer.operators.solvers import Preconditioner, System, pivoted_cholesky
from mercer.operators.solvers.precondition import precondition

NOISES = [1.0, 1e-2, 1e-12]


def kernel_matrix(n: int = 120, lengthscale: float = 1.0) -> Tensor:
    X = torch.randn(n, 2, dtype=torch.float64)
    return RBF(lengthscale=lengthscale)(X).to_dense()


def build(K: Tensor, noise: float | Tensor, rank: int) -> tuple[Preconditioner, Tensor]:
    """The preconditioner, and what it should be."""
    system = System(K, noise)
    approximation = pivoted_cholesky(system, rank)
    dense = approximation.factor @ approximation.factor.mT
    dense = dense + torch.diag_embed((system.noise + approximation.remainder.mean()).expand(len(K)))
    return precondition(system, approximation), dense


@pytest.mark.parametrize(("n", "rank"), [(1, 1), (7, 3), (63, 40), (300, 100)])
def test_factor_is_exact_at_the_pivots_and_below_the_matrix_elsewhere(n: int, rank: int) -> None:
    K = kernel_matrix(n)
    approximation = pivoted_cholesky(K, rank)
    pivots = approximation.pivots
    left = K - approximation.factor @ approximation.factor.mT
    assert len(pivots.unique()) == len(pivots) == approximation.rank <= rank
    assert float(left[pivots].abs().max()) < 1e-7
    torch.testing.assert_close(approximation.remainder, left.diagonal(), rtol=1e-6, atol=1e-9)
    assert float(torch.linalg.eigvalsh(left).min()) > -1e-9


def test_error_is_near_the_best_of_its_rank() -> None:
    K = kernel_matrix(300, lengthscale=0.5)
    best = torch.linalg.eigvalsh(K).flip(0)[60:].sum()
    assert float(pivoted_cholesky(K, 60).remainder.sum()) < 5.0 * float(best)


def test_tolerance_and_callback_stop_early() -> None:
    K = kernel_matrix(300)
    loose = pivoted_cholesky(K, 200, tolerance=3.0)
    assert loose.rank < 60
    assert float(loose.remainder.sum()) <= 3.0
    seen: list[tuple[int, float]] = []
    stopped = pivoted_cholesky(K, 200, enough=lambda rank, value: seen.append((rank, value)) or rank > 30)
    assert stopped.rank == seen[-1][0] < 100
    assert 0.0 <= stopped.next_eigenvalue == seen[-1][1] < seen[0][1]


def test_numerical_rank_ends_the_factor() -> None:
    A = torch.randn(50, 5, dtype=torch.float64)
    approximation = pivoted_cholesky(A @ A.T, 50)
    assert approximation.rank == 5
    torch.testing.assert_close(approximation.factor @ approximation.factor.mT, A @ A.T)


def test_zero_matrix_has_rank_zero() -> None:
    assert pivoted_cholesky(torch.zeros(5, 5), 3).rank == 0


def test_same_seed_gives_the_same_pivots_and_another_seed_others() -> None:
    K = kernel_matrix()
    first, again, other = (pivoted_cholesky(K, 20, random_state=seed).pivots for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_first_pivot_is_drawn_in_proportion_to_the_diagonal() -> None:
    A = torch.diag(torch.tensor([1.0, 2.0, 7.0]))
    draw = generator(0)
    first = torch.tensor([int(pivoted_cholesky(A, 1, random_state=draw).pivots[0]) for _ in range(1000)])
    torch.testing.assert_close(first.bincount(minlength=3) / 1000.0, A.diagonal() / 10.0, rtol=0, atol=0.05)


def test_proposals_of_one_block_see_each_other() -> None:
    # 200 points in one spot and 40 far away: after the first pivot in the spot nothing is left to take there.
    X = torch.cat([1e-3 * torch.randn(200, 1), 10.0 * torch.arange(1, 41)[:, None]]).double()
    pivots = pivoted_cholesky(RBF()(X), 40).pivots  # blocks of 5
    assert int((pivots < 200).sum()) <= 2


def test_memory_is_checked_before_it_is_taken() -> None:
    K = kernel_matrix(200)
    config.set_memory_budget(10_000)
    with pytest.raises(MemoryBudgetError, match=r"pivoted Cholesky factor of 200 x 100 needs.*smaller rank"):
        pivoted_cholesky(K, 100)


@pytest.mark.parametrize("noise", NOISES)
def test_inverse_and_logdet_are_those_of_the_dense_preconditioner(noise: float) -> None:
    P, dense = build(kernel_matrix(), noise, 30)
    V = torch.randn(120, 3, dtype=torch.float64)
    torch.testing.assert_close(dense @ P.solve(V), V, rtol=1e-6, atol=1e-6)
    assert P.logdet() == pytest.approx(float(torch.logdet(dense)), rel=1e-8)
    assert P.rank == 30


def test_ill_conditioned_preconditioner_is_orthogonalised() -> None:
    P, dense = build(1e3 * kernel_matrix(60, lengthscale=3.0), 1e-8, 60)
    assert P.logdet() == pytest.approx(float(torch.logdet(dense)), rel=1e-6)
    below = torch.linalg.inv(P.triangle).mT  # Q over R^-1 is orthonormal
    eye = torch.eye(P.rank, dtype=torch.float64)
    torch.testing.assert_close(P.basis @ P.basis.mT + below @ below.mT, eye, rtol=0, atol=1e-11)


def test_noise_of_every_row_is_kept() -> None:
    noise = torch.rand(120, dtype=torch.float64) + 0.1
    P, dense = build(kernel_matrix(), noise, 30)
    V = torch.randn(120, 2, dtype=torch.float64)
    torch.testing.assert_close(dense @ P.solve(V), V)


def test_rank_zero_is_a_diagonal() -> None:
    P, dense = build(kernel_matrix(), 0.5, 0)
    V = torch.randn(120, 2, dtype=torch.float64)
    torch.testing.assert_close(P.solve(V), V / dense.diagonal()[:, None])


def test_draws_have_the_preconditioner_as_covariance() -> None:
    P, dense = build(kernel_matrix(20), 0.1, 5)
    draws = P.sample(40_000, generator(0))
    torch.testing.assert_close(draws @ draws.mT / 40_000, dense, rtol=0, atol=0.05)


@pytest.mark.parametrize("noise", [1.0, 1e-6])
def test_roots_multiply_to_the_preconditioner_and_its_inverse(noise: float) -> None:
    P, dense = build(kernel_matrix(40), noise, 10)
    times, divided = P.roots()
    eye = torch.eye(40, dtype=torch.float64)
    torch.testing.assert_close(times(times(eye, transposed=True)), dense)
    torch.testing.assert_close(divided(times(eye)), eye)
    torch.testing.assert_close(times(divided(eye)), eye)
    torch.testing.assert_close(divided(eye, transposed=True), divided(eye).mT)


def test_preconditioning_takes_the_condition_number_to_one() -> None:
    K = kernel_matrix(200)
    P, _ = build(K, 1e-3, 150)
    M = K + 1e-3 * torch.eye(200, dtype=torch.float64)
    values = torch.linalg.eigvals(P.solve(M)).real
    assert float(values.max() / values.min()) < 2.0
