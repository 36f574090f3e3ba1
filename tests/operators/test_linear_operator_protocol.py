"""linear_operator's own test cases, square and rectangular, at batch (), (2,), (3, 2)."""

import unittest
from unittest.mock import patch

import linear_operator
import pytest
import torch
from linear_operator.test.linear_operator_test_case import LinearOperatorTestCase, RectangularLinearOperatorTestCase

from mercer.kernels import RBF, Matern
from mercer.operators import KernelOperator

pytestmark = pytest.mark.filterwarnings("ignore::linear_operator.utils.warnings.PerformanceWarning")


def dense_by_definition(operator: KernelOperator) -> torch.Tensor:
    """2 exp(-|x - y|^2 / 2 l^2) + (1 + sqrt(3) r) exp(-sqrt(3) r) + jitter, from the operator's own tensors."""
    scale, lengthscale, nu_lengthscale = operator.theta
    X, Y = operator.X, operator.Y
    difference = X.unsqueeze(-2) - Y.unsqueeze(-3)
    squared = (difference / lengthscale.to(X.dtype)[..., None, None, :]).square().sum(-1)
    s3 = 3.0 * (difference / nu_lengthscale.to(X.dtype)[..., None, None, None]).square().sum(-1)
    positive = s3 > 0
    r = torch.where(positive, s3, 1.0).sqrt() * positive
    return scale.to(X.dtype)[..., None, None] * torch.exp(-0.5 * squared) + (1.0 + r) * torch.exp(-r)


def make(n: int, m: int | None, batch: tuple[int, ...]) -> KernelOperator:
    """A sum of two kernels with lengthscales for each column, the same tensors at every call."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(*batch, n, 3, generator=generator)
    lengthscale = 0.5 + torch.rand(*batch, 3, generator=generator, dtype=torch.float64)
    kernel = 2.0 * RBF(lengthscale) + Matern(1.5, nu=1.5)
    return kernel(X) if m is None else kernel(X, torch.randn(*batch, m, 3, generator=generator))


class SquareCase:
    seed = 0
    should_test_sample = True
    should_call_cg = False
    should_call_lanczos = False
    should_call_lanczos_diagonalization = False
    batch: tuple[int, ...] = ()

    def create_linear_op(self):
        return make(5, None, self.batch)

    def evaluate_linear_op(self, linear_op):
        return dense_by_definition(linear_op)


class TestSquare(SquareCase, LinearOperatorTestCase, unittest.TestCase):
    pass


class TestSquareBatch(SquareCase, LinearOperatorTestCase, unittest.TestCase):
    batch = (2,)


class TestSquareMultiBatch(SquareCase, LinearOperatorTestCase, unittest.TestCase):
    batch = (3, 2)


class RectangularCase(SquareCase):
    def create_linear_op(self):
        return make(5, 7, self.batch)


class TestRectangular(RectangularCase, RectangularLinearOperatorTestCase, unittest.TestCase):
    pass


class TestRectangularBatch(RectangularCase, RectangularLinearOperatorTestCase, unittest.TestCase):
    batch = (2,)


class TestRectangularMultiBatch(RectangularCase, RectangularLinearOperatorTestCase, unittest.TestCase):
    batch = (3, 2)


@pytest.mark.parametrize("n", [5, 60])
def test_linear_operators_own_solvers_are_never_called(n):
    K = make(n, None, ())
    y = torch.randn(n, 2)

    def forbidden(*args, **kwargs):
        raise AssertionError("linear_operator's own iterative solver was called")

    names = ["linear_operator.utils.linear_cg", "linear_operator.utils.lanczos.lanczos_tridiag"]
    with patch(names[0], forbidden), patch(names[1], forbidden), linear_operator.settings.max_cholesky_size(0):
        D = K.to_dense().double() + 0.1 * torch.eye(n)
        A = K.add_diagonal(torch.tensor(0.1))
        expected = torch.cholesky_solve(y.double(), torch.linalg.cholesky(D))
        torch.testing.assert_close(A.solve(y).double(), expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(A.logdet().double(), torch.logdet(D), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close((K * K).to_dense(), K.to_dense() ** 2)
        torch.testing.assert_close((K + K).matmul(y), 2 * (K @ y), rtol=1e-5, atol=1e-5)
        root = A.root_decomposition().root.to_dense()
        torch.testing.assert_close((root @ root.mT).double(), D, rtol=1e-4, atol=1e-4)
        A.inv_quad_logdet(y, logdet=True)
        A.zero_mean_mvn_samples(2)
