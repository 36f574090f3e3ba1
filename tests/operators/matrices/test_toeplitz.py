"""Toeplitz operators against scipy, the definition, and linear_operator's own test cases."""

import unittest

import pytest
import scipy.linalg
import torch
from linear_operator.test.linear_operator_test_case import LinearOperatorTestCase, RectangularLinearOperatorTestCase

from mercer import config
from mercer.errors import MemoryBudgetError, ShapeError
from mercer.kernels import RBF
from mercer.operators import ToeplitzOperator, toeplitz

pytestmark = pytest.mark.filterwarnings("ignore::linear_operator.utils.warnings.PerformanceWarning")
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13, torch.complex128: 1e-13}


def by_definition(operator):
    """values[i - j + m - 1] by loops over grid positions."""
    rows = torch.cartesian_prod(*(torch.arange(n) for n in operator.rows)).reshape(-1, len(operator.rows))
    columns = torch.cartesian_prod(*(torch.arange(m) for m in operator.columns)).reshape(-1, len(operator.columns))
    at = rows[:, None] - columns[None] + torch.tensor(operator.columns) - 1
    return operator.values[(..., *at.unbind(-1))]


def grid(levels, batch, rows, columns):
    generator = torch.Generator().manual_seed(0)
    sizes = [n + m - 1 for n, m in zip(rows, columns, strict=True)]
    return ToeplitzOperator(torch.randn(*batch, *sizes, generator=generator), rows=rows, columns=columns)


class SquareCase:
    seed = 0
    should_test_sample = True
    should_call_cg = False
    should_call_lanczos = False
    should_call_lanczos_diagonalization = False
    batch: tuple[int, ...] = ()
    shape: tuple[int, ...] = (5,)

    def create_linear_op(self):
        points = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in self.shape), indexing="ij"), -1)
        scale = torch.linspace(1.0, 2.0, max(1, torch.Size(self.batch).numel())).reshape(self.batch)
        column = torch.exp(-0.5 * points.square().sum(-1))
        column.reshape(-1)[0] += 0.3
        return toeplitz(column * scale[(..., *(None,) * len(self.shape))], dims=len(self.shape))

    def evaluate_linear_op(self, linear_op):
        return by_definition(linear_op)


class TestSquare(SquareCase, LinearOperatorTestCase, unittest.TestCase):
    pass


class TestSquareBatch(SquareCase, LinearOperatorTestCase, unittest.TestCase):
    batch = (2,)


class TestSquareMultiBatch(SquareCase, LinearOperatorTestCase, unittest.TestCase):
    batch = (3, 2)


class TestTwoLevels(SquareCase, LinearOperatorTestCase, unittest.TestCase):
    shape = (2, 3)


class TestTwoLevelsBatch(SquareCase, LinearOperatorTestCase, unittest.TestCase):
    shape = (3, 2)
    batch = (2,)


class RectangularCase(SquareCase):
    def create_linear_op(self):
        return grid(1, self.batch, (5,), (7,))


class TestRectangular(RectangularCase, RectangularLinearOperatorTestCase, unittest.TestCase):
    pass


class TestRectangularBatch(RectangularCase, RectangularLinearOperatorTestCase, unittest.TestCase):
    batch = (2,)


class TestRectangularTwoLevels(RectangularCase, RectangularLinearOperatorTestCase, unittest.TestCase):
    def create_linear_op(self):
        return grid(2, (), (2, 3), (4, 2))


def assert_near(got, expected, tolerance):
    assert got.shape == expected.shape
    error = (got.to(expected.dtype) - expected).norm() / expected.norm()
    assert error <= tolerance, float(error)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 6), (6, 1), (17, 17), (33, 120), (700, 301)])
def test_the_matrix_and_its_products_are_scipys(n, m, dtype):
    column, row = torch.randn(n, dtype=dtype), torch.randn(m, dtype=dtype)
    expected = torch.from_numpy(scipy.linalg.toeplitz(column.numpy(), row.numpy()))
    A, v, w = toeplitz(column, row), torch.randn(m, 3, dtype=dtype), torch.randn(n, dtype=dtype)
    assert torch.equal(A.to_dense(), expected)
    wide = expected.to(torch.complex128 if dtype.is_complex else torch.float64)
    assert_near(A @ v, wide @ v.to(wide.dtype), TOLERANCE[dtype])
    assert_near(A.mT @ w, wide.mT @ w.to(wide.dtype), TOLERANCE[dtype])


def test_without_a_row_it_is_hermitian():
    for dtype in (torch.float64, torch.complex128):
        column = torch.randn(6, dtype=dtype)
        expected = torch.from_numpy(scipy.linalg.toeplitz(column.numpy()))
        assert torch.equal(toeplitz(column).to_dense(), expected)


@pytest.mark.parametrize(("rows", "columns"), [((3, 4), (3, 4)), ((2, 5), (6, 3)), ((2, 3, 4), (3, 2, 2))])
def test_several_levels_follow_the_definition(rows, columns):
    A = grid(len(rows), (2,), rows, columns).double()
    expected = by_definition(A)
    assert torch.equal(A.to_dense(), expected)
    v = torch.randn(2, expected.shape[-1], 3, dtype=torch.float64)
    assert_near(A @ v, expected @ v, 1e-13)
    assert_near(A.mT @ expected, expected.mT @ expected, 1e-13)
    i, j = torch.tensor([0, 3, 5]), torch.tensor([1, 3, 0])
    assert torch.equal(A[..., i, j], expected[..., i, j])


@pytest.mark.parametrize("shape", [(40,), (6, 7), (3, 4, 5)])
def test_a_kernel_on_a_grid_is_toeplitz(shape):
    points = torch.cartesian_prod(*(0.3 * torch.arange(n, dtype=torch.float64) for n in shape)).reshape(-1, len(shape))
    K = RBF(lengthscale=0.7)(points)
    T = toeplitz(RBF(lengthscale=0.7)(points[:1], points).to_dense().reshape(shape), dims=len(shape))
    v = torch.randn(len(points), 2, dtype=torch.float64)
    torch.testing.assert_close(T.to_dense(), K.to_dense(), rtol=1e-12, atol=1e-14)
    assert_near(T @ v, K.to_dense() @ v, 1e-13)
    torch.testing.assert_close(T.solve(v, noise=0.1), K.solve(v, noise=0.1), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("symmetric", [False, True])
def test_slices_of_one_step_stay_toeplitz(symmetric):
    column = torch.randn(12)
    A = toeplitz(column) if symmetric else toeplitz(column, torch.randn(12))
    dense = A.to_dense()
    for rows, columns in [(slice(2, 9), slice(0, 12)), (slice(1, 12, 3), slice(4, 11, 3)), (slice(3, 8), slice(3, 8))]:
        assert isinstance(A[rows, columns], ToeplitzOperator)
        assert torch.equal(A[rows, columns].to_dense(), dense[rows, columns])
    assert A[2:7, 2:7].symmetric == symmetric
    for rows, columns in [(slice(0, 9, 2), slice(0, 12)), (slice(4, 4), slice(0, 3))]:
        assert torch.equal(A[rows, columns].to_dense(), dense[rows, columns])
    assert torch.equal(A[torch.tensor([3, 1])].to_dense(), dense[[3, 1]])


def test_gradients_reach_the_column_and_the_row():
    column = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    row = torch.randn(5, dtype=torch.float64, requires_grad=True)
    v = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)

    def product(column, row, v):
        return toeplitz(column, row) @ v

    assert torch.autograd.gradcheck(product, (column, row, v), fast_mode=True)
    assert torch.autograd.gradgradcheck(product, (column, row, v), fast_mode=True)
    assert torch.autograd.gradcheck(lambda c: toeplitz(c, dims=2) @ v[0, :, 0].repeat(2)[:8], (column,), fast_mode=True)
    assert torch.autograd.gradcheck(lambda c, r: toeplitz(c, r).to_dense(), (column, row), fast_mode=True)


def test_a_column_changed_in_place_is_seen():
    column = torch.randn(8)
    A, v = toeplitz(column), torch.randn(8)
    A @ v
    column.mul_(2.0)
    torch.testing.assert_close(A @ v, A.to_dense() @ v)


def test_errors_say_what_to_do():
    A = toeplitz(torch.zeros(3), torch.zeros(5))
    with pytest.raises(ShapeError, match=r"K is 3 x 5, so v needs 5 rows.*Did you mean K\.T @ v"):
        A @ torch.zeros(3)
    with pytest.raises(TypeError, match=r"K is torch\.float32, v is torch\.float64"):
        A @ torch.zeros(5, dtype=torch.float64)
    with pytest.raises(ShapeError, match="toeplitz of 2 levels needs a column of 2 axes"):
        toeplitz(torch.zeros(3), dims=2)
    with pytest.raises(ValueError, match="several levels takes no row"):
        toeplitz(torch.zeros(3, 3), torch.zeros(3), dims=2)
    with pytest.raises(ShapeError, match="first row of at least one entry"):
        toeplitz(torch.zeros(3), torch.zeros(0))
    with pytest.raises(ShapeError, match="do not broadcast"):
        toeplitz(torch.zeros(2, 3), torch.zeros(3, 3))
    with pytest.raises(ShapeError, match="repeated"):
        A.repeat(2, 2)
    config.set_memory_budget("1MB")
    big = toeplitz(torch.zeros(10_000))
    with pytest.raises(MemoryBudgetError, match="of a Toeplitz matrix"):
        big.to_dense()
    with pytest.raises(MemoryBudgetError, match="one common step"):
        big[::2]
