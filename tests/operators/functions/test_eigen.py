import pytest
import torch
from torch import Tensor

from mercer import config
from mercer.errors import MemoryBudgetError, NotConverged
from mercer.kernels import RBF
from mercer.operators.functions import Eigen, eigen, eigsh


@pytest.fixture(autouse=True)
def _iterate_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eigen, "_SMALL", 20)


def check(K: Tensor, result: Eigen, k: int, tolerance: float) -> None:
    expected = torch.linalg.eigvalsh(K).flip(0)[:k]
    torch.testing.assert_close(result.values, expected, rtol=0, atol=tolerance * float(expected[0]))
    eye = torch.eye(k, dtype=torch.float64)
    torch.testing.assert_close(result.vectors.mT @ result.vectors, eye, rtol=0, atol=1e-8)
    error = (K @ result.vectors - result.vectors * result.values).norm(dim=0).max() / expected[0]
    assert float(error) <= 10 * tolerance


@pytest.mark.parametrize("k", [1, 5, 20])
def test_largest_eigenvalues_of_a_kernel_matrix(k: int) -> None:
    K = RBF(lengthscale=0.5)(torch.randn(200, 2, dtype=torch.float64))
    result = eigsh(K, k)
    assert result.n_iter > 0
    check(K.to_dense(), result, k, 1e-8)


def test_agrees_with_scipy() -> None:
    scipy = pytest.importorskip("scipy.sparse.linalg")
    A = torch.randn(150, 150, dtype=torch.float64)
    A = A + A.T
    values = scipy.eigsh(A.numpy(), 4, which="LA")[0]
    torch.testing.assert_close(eigsh(A, 4).values, torch.from_numpy(values.copy()).flip(0))


def test_equal_eigenvalues_are_all_found() -> None:
    values = torch.ones(100, dtype=torch.float64)
    values[:3] = 5.0
    vectors = torch.linalg.qr(torch.randn(100, 100, dtype=torch.float64))[0]
    A = (vectors * values) @ vectors.T
    result = eigsh(A, 4)
    torch.testing.assert_close(result.values, torch.tensor([5.0, 5.0, 5.0, 1.0], dtype=torch.float64))


def test_slowly_decaying_spectrum_needs_restarts() -> None:
    A = torch.diag(torch.linspace(1.0, 2.0, 300, dtype=torch.float64))
    result = eigsh(A, 3, rtol=1e-8)
    assert result.n_iter > 4
    check(A, result, 3, 1e-8)


def test_loose_tolerance_uses_float32_products() -> None:
    K = RBF()(torch.randn(200, 2))
    check(K.double().to_dense(), eigsh(K, 3, rtol=1e-4), 3, 1e-4)


def test_small_matrices_are_diagonalised() -> None:
    result = eigsh(torch.diag(torch.tensor([1.0, 3.0, 2.0])), 3)
    assert result.values.tolist() == [3.0, 2.0, 1.0]
    assert result.n_iter == 0
    torch.testing.assert_close(result.vectors.abs()[:, 0], torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))


def test_failure_carries_the_best_so_far() -> None:
    A = torch.diag(torch.linspace(1.0, 2.0, 300, dtype=torch.float64))
    with pytest.raises(NotConverged, match="Give a larger max_iter, rtol or k") as error:
        eigsh(A, 3, max_iter=2)
    assert error.value.solution.values.shape == (3,)


def test_wrong_k_and_too_little_memory_are_refused() -> None:
    with pytest.raises(ValueError, match="k must be between 1 and n = 3, not 4"):
        eigsh(torch.eye(3), 4)
    config.set_memory_budget(1000)
    with pytest.raises(MemoryBudgetError, match="Ask for fewer"):
        eigsh(RBF()(torch.randn(200, 2)), 3)
