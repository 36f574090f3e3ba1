"""The properties of `mercer.testing`, of every kind of operator: each pair is a test of its own."""

import pytest
import torch
from linear_operator.operators import DenseLinearOperator, DiagLinearOperator

from mercer.kernels import RBF, Linear, Matern, White
from mercer.testing import OPERATOR_PROPERTIES, check_operator

DOUBLE = torch.float64


def points(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed)).to(dtype)


def rbf(X, Y, lengthscale=0.8):
    return torch.exp(-0.5 * ((X.unsqueeze(-2) - Y.unsqueeze(-3)) / lengthscale).square().sum(-1))


def kernel(*shape, **options):
    return RBF(0.8)(points(*shape, **options))


X, Y, STACK = points(9, 2), points(7, 2, seed=1), points(3, 5, 2)
EYE = torch.eye(9, dtype=DOUBLE)

# the operator, and the dense matrix by torch
OPERATORS = {
    "square": lambda: (RBF(0.8)(X), rbf(X, X)),
    "rectangular": lambda: (RBF(0.8)(X, Y), rbf(X, Y)),
    "transposed": lambda: (RBF(0.8)(X, Y).mT, rbf(Y, X)),
    "tiles": lambda: (RBF(0.8)(X, plan="tiles"), rbf(X, X)),
    "float32": lambda: (RBF(0.8)(X.float()), rbf(X, X).float()),
    "noise": lambda: ((RBF(0.8) + White(0.3))(X), rbf(X, X) + 0.3 * EYE),
    "block": lambda: ((RBF(0.8) + White(0.3))(X)[2:8, 1:6], (rbf(X, X) + 0.3 * EYE)[2:8, 1:6]),
    "listed": lambda: ((RBF(0.8) + White(0.3))(X)[[4, 4, 1]][:, [1, 4]], (rbf(X, X) + 0.3 * EYE)[[4, 4, 1]][:, [1, 4]]),
    "batch": lambda: (RBF(0.8)(STACK), rbf(STACK, STACK)),
    "batch of lengthscales": lambda: (
        RBF(torch.tensor([[0.5], [2.0]], dtype=DOUBLE))(X),
        torch.stack([rbf(X, X, 0.5), rbf(X, X, 2.0)]),
    ),
    "sum": lambda: (RBF(0.8)(X) + Linear()(X), rbf(X, X) + X @ X.mT),
    "sum with a diagonal": lambda: (
        RBF(0.8)(X) + DiagLinearOperator(torch.arange(1.0, 10.0, dtype=DOUBLE)),
        rbf(X, X) + torch.diag(torch.arange(1.0, 10.0, dtype=DOUBLE)),
    ),
    "sum with a tensor": lambda: (RBF(0.8)(X, Y) + torch.ones(9, 7, dtype=DOUBLE), rbf(X, Y) + 1.0),
    "scaled": lambda: (3.0 * RBF(0.8)(X), 3.0 * rbf(X, X)),
    "scaled sum": lambda: ((RBF(0.8)(X) + Matern()(X)) * 0.5, 0.5 * (rbf(X, X) + Matern()(X).to_dense())),
    "elementwise": lambda: (RBF(0.8)(X) * Linear()(X), rbf(X, X) * (X @ X.mT)),
    "elementwise of rectangles": lambda: (RBF(0.8)(X, Y) * Linear()(X, Y), rbf(X, Y) * (X @ Y.mT)),
    "elementwise, transposed": lambda: ((RBF(0.8)(X, Y) * Linear()(X, Y)).mT, (rbf(X, Y) * (X @ Y.mT)).mT),
    "batch of sums": lambda: (RBF(0.8)(STACK) + Linear()(STACK), rbf(STACK, STACK) + STACK @ STACK.mT),
    "batch of elementwise products": lambda: (
        RBF(0.8)(STACK) * Linear()(STACK),
        rbf(STACK, STACK) * (STACK @ STACK.mT),
    ),
    "linear_operator's own": lambda: (DenseLinearOperator(rbf(X, X)), rbf(X, X)),
}


@pytest.mark.filterwarnings("ignore::linear_operator.utils.warnings.PerformanceWarning")
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")  # linear_operator indexes a diagonal
@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")
@pytest.mark.filterwarnings("ignore:torch.sparse.SparseTensor:UserWarning")
@pytest.mark.parametrize("name", OPERATOR_PROPERTIES)
@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_has_every_property(operator, name):
    A, definition = OPERATORS[operator]()
    result = check_operator(A, definition=definition, properties=[name])[name]
    if result.status == "skipped":
        assert A.shape[-1] != A.shape[-2] or "symmetric" in result.detail
        pytest.skip(result.detail)
