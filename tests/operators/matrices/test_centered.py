import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import RBF
from mercer.operators import CenteredOperator, NormalizedAdjacency, eigsh


def points(n=63, dtype=torch.float64):
    return torch.randn(n, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))


def centered_by_definition(K):
    H = torch.eye(len(K), dtype=K.dtype) - 1.0 / len(K)
    return H @ K @ H


def adjacency_by_definition(K):
    A = K - torch.diag(K.diagonal())
    d = A.sum(1)
    return A / (d[:, None] * d).sqrt()


CASES = [(CenteredOperator, centered_by_definition), (NormalizedAdjacency, adjacency_by_definition)]


@pytest.mark.parametrize(("operator", "definition"), CASES)
@pytest.mark.parametrize("is_stored", [False, True])
def test_products_blocks_entries_and_diagonal_agree_with_the_definition(operator, definition, is_stored):
    K = RBF(0.7)(points())
    dense = K.to_dense()
    A, expected = operator(dense if is_stored else K), definition(dense)
    v = torch.randn(63, 2, dtype=torch.float64)
    torch.testing.assert_close(A @ v, expected @ v, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(A @ v[:, 0], expected @ v[:, 0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(A.mT @ v, expected @ v, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(A.to_dense(), expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(A.diagonal(), expected.diagonal(), rtol=1e-12, atol=1e-13)
    rows = torch.tensor([5, 2, 60])
    torch.testing.assert_close(A[rows, 1:40].to_dense(), expected[rows, 1:40], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(A[rows, rows], expected[rows, rows], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("operator", "definition"), CASES)
def test_a_float32_operator_in_float64_is_that_of_the_matrix_in_float64(operator, definition):
    X = points(dtype=torch.float32)
    A = operator(RBF(0.7)(X))
    assert A.dtype == torch.float32
    assert A.double().float().dtype == torch.float32
    expected = definition(RBF(0.7)(X.double()).to_dense())
    torch.testing.assert_close(A.double().to_dense(), expected, rtol=1e-12, atol=1e-13)


def test_lanczos_of_a_centred_matrix_that_is_not_stored():
    K = RBF(2.0)(points(1300))
    found = eigsh(CenteredOperator(K), 3)
    assert found.n_iter > 0
    expected = torch.linalg.eigvalsh(centered_by_definition(K.to_dense())).flip(0)[:3]
    torch.testing.assert_close(found.values, expected, rtol=1e-12, atol=0.0)


def test_a_row_without_links_is_a_row_of_zeros():
    A = NormalizedAdjacency(torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    torch.testing.assert_close(A @ torch.ones(3), torch.tensor([1.0, 1.0, 0.0]))


@pytest.mark.parametrize("operator", [CenteredOperator, NormalizedAdjacency])
def test_a_matrix_that_is_not_square_is_refused(operator):
    with pytest.raises(ShapeError, match="one square matrix"):
        operator(torch.ones(2, 3))
