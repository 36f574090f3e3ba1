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
