"""linear_operator's own test cases for Kronecker products, and what they leave out."""

import unittest
from functools import reduce

import pytest
import torch
from linear_operator.operators import RootLinearOperator
from linear_operator.test.linear_operator_test_case import LinearOperatorTestCase, RectangularLinearOperatorTestCase

from mercer.errors import ShapeError
from mercer.operators import KroneckerOperator, kronecker

pytestmark = pytest.mark.filterwarnings("ignore::linear_operator.utils.warnings.PerformanceWarning")


def dense(operator):
    def product(A, B):
        return torch.einsum("...ij,...kl->...ikjl", A, B).reshape(
            *A.shape[:-2], A.shape[-2] * B.shape[-2], A.shape[-1] * B.shape[-1]
        )

    return reduce(product, operator.factors)


class SquareCase:
    seed = 0
    should_test_sample = True
    should_call_cg = False
    should_call_lanczos = False
    should_call_lanczos_diagonalization = False
    batch: tuple[int, ...] = ()

    def create_linear_op(self):
        # symmetric by their parameters: the gradient of a solve is defined for symmetric changes only
        generator = torch.Generator().manual_seed(0)
        roots = (torch.randn(*self.batch, n, n + 2, generator=generator) for n in (2, 3))
        return KroneckerOperator(*(RootLinearOperator(root) for root in roots))

    def evaluate_linear_op(self, linear_op):
        return dense(linear_op)


class TestSquare(SquareCase, LinearOperatorTestCase, unittest.TestCase):
    pass


class TestSquareBatch(SquareCase, LinearOperatorTestCase, unittest.TestCase):
    batch = (2,)


class RectangularCase:
    seed = 0
    batch: tuple[int, ...] = ()

    def create_linear_op(self):
        generator = torch.Generator().manual_seed(0)
        return kronecker(*(torch.randn(*self.batch, *shape, generator=generator) for shape in ((2, 3), (3, 1))))

    def evaluate_linear_op(self, linear_op):
        return dense(linear_op)


class TestRectangular(RectangularCase, RectangularLinearOperatorTestCase, unittest.TestCase):
    pass


class TestRectangularBatch(RectangularCase, RectangularLinearOperatorTestCase, unittest.TestCase):
    batch = (3, 2)


def test_three_factors_agree_with_the_dense_product():
    A = kronecker(*(torch.randn(n, m, dtype=torch.float64) for n, m in ((2, 3), (1, 4), (5, 2))))
    v = torch.randn(24, 3, dtype=torch.float64)
    torch.testing.assert_close(A @ v, dense(A) @ v)


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ShapeError, match="one matrix"):
        kronecker()
    with pytest.raises(ShapeError, match="one matrix"):
        kronecker(torch.ones(3))
    with pytest.raises(ShapeError, match="v needs 4 rows"):
        kronecker(torch.eye(2), torch.eye(2)) @ torch.ones(3)
