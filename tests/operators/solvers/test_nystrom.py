"""The Nystrom approximation against eigenvalues, and as a preconditioner."""

import pytest
import torch

from mercer import config
from mercer.errors import MemoryBudgetError
from mercer.kernels import RBF
from mercer.operators import nystrom, solve
from mercer.operators.solvers import System
from mercer.operators.solvers.precondition import precondition


def kernel_matrix(n=200, lengthscale=0.5):
    return RBF(lengthscale=lengthscale)(torch.randn(n, 2, dtype=torch.float64)).to_dense()


@pytest.mark.parametrize(("n", "rank"), [(1, 1), (7, 3), (63, 63), (200, 40)])
def test_approximation_is_below_the_matrix_and_semidefinite(n, rank):
    K = kernel_matrix(n)
    found = nystrom(K, rank)
    left = K - found.vectors * found.values @ found.vectors.mT
    assert found.rank <= rank
    assert float(torch.linalg.eigvalsh(left).min()) > -1e-10
    assert float(found.values.min()) >= 0.0
    eye = torch.eye(found.rank, dtype=torch.float64)
    torch.testing.assert_close(found.vectors.mT @ found.vectors, eye, rtol=0, atol=1e-12)


def test_large_eigenvalues_are_found():
    K = kernel_matrix()
    exact = torch.linalg.eigvalsh(K).flip(0)
    found = nystrom(K, 100)
    torch.testing.assert_close(found.values[:10], exact[:10], rtol=1e-3, atol=0)
    assert (found.values <= exact[: found.rank] * (1 + 1e-10) + 1e-12).all()


def test_matrix_of_low_rank_is_found_exactly():
    Z = torch.randn(80, 5, dtype=torch.float64)
    found = nystrom(Z @ Z.mT, 20)
    torch.testing.assert_close(found.vectors * found.values @ found.vectors.mT, Z @ Z.mT, rtol=1e-6, atol=1e-6)


def test_growing_stops_when_it_is_enough_and_keeps_its_products():
    K = kernel_matrix(300, lengthscale=0.2)
    seen = []
    found = nystrom(K, 300, enough=lambda rank, value: seen.append((rank, value)) or rank >= 128)
    assert [rank for rank, _ in seen] == [64, 128]
    assert seen[1][1] < seen[0][1]
    assert found.rank == 128


def test_same_seed_gives_the_same_vectors():
    K = kernel_matrix()
    first, again, other = (nystrom(K, 10, random_state=seed).vectors for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_noise_of_a_system_is_left_out():
    K = kernel_matrix()
    torch.testing.assert_close(nystrom(System(K, 3.0), 10).values, nystrom(K, 10).values)


def test_preconditioner_is_what_the_paper_says():
    # (U (L + mu) U' + (l + mu) (I - U U'))^-1 up to its factor l + mu: Frangella et al., eq. 1.3
    K, mu = kernel_matrix(), 1e-2
    found = nystrom(K, 40)
    U, values = found.vectors, found.values
    dense = U * (values + mu) @ U.mT
    dense += (values[-1] + mu) * (torch.eye(200, dtype=torch.float64) - U @ U.mT)
    P = precondition(System(K, mu), found)
    V = torch.randn(200, 3, dtype=torch.float64)
    torch.testing.assert_close(P.solve(V), torch.linalg.solve(dense, V), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rank", [None, 50])
def test_solve_with_it_reaches_the_residual_in_fewer_iterations_than_without(rank):
    K = RBF(lengthscale=0.3)(torch.rand(500, 2, dtype=torch.float64))
    y = torch.randn(500, dtype=torch.float64)
    options = {"noise": 1e-2, "method": "cg", "rtol": 1e-8}
    found = solve(K, y, preconditioner="nystrom", rank=rank, **options)
    plain = solve(K, y, rank=0, **options)
    assert found.converged
    assert found.n_iter < 0.5 * plain.n_iter
    torch.testing.assert_close(found.x, plain.x, rtol=1e-4, atol=1e-4)


def test_unknown_preconditioner_and_too_little_memory_are_refused():
    with pytest.raises(ValueError, match="preconditioner must be 'pivoted_cholesky' or 'nystrom', not 'jacobi'"):
        solve(torch.eye(3), torch.ones(3), preconditioner="jacobi")
    config.set_memory_budget(1000)
    with pytest.raises(MemoryBudgetError, match="Nystrom approximation of 50 x 10"):
        nystrom(torch.eye(50), 10)
