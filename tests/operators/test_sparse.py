"""Kernels of compact support as sparse matrices."""

import pytest
import torch

from mercer import config
from mercer.errors import MemoryBudgetError
from mercer.kernels import RBF, ChangePoint, Constant, Wendland, White
from mercer.operators import to_sparse
from mercer.operators.sparse import find_support

DOUBLE = torch.float64
X = torch.rand(200, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
Y = torch.rand(90, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
KERNELS = [
    Wendland(0.1),
    2.0 * Wendland([0.1, 0.3], smoothness=2) * RBF(0.4),
    Wendland(0.1) + Wendland(0.2, smoothness=0) * 0.3,
    Wendland(0.1) + White(0.3),
    ChangePoint(Wendland(0.1), Wendland(0.2), location=0.5, steepness=20.0),
    Wendland(0.1).on([0]) * Wendland(0.2).on([1]),
    Wendland(0.1) ** 2,
]


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
def test_a_sparse_matrix_holds_the_same_numbers(kernel, dtype):
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for K in (kernel(X.to(dtype)), kernel(X.to(dtype), Y.to(dtype)), kernel(X.to(dtype))[10:90, 50:]):
        sparse = to_sparse(K)
        assert sparse.layout == torch.sparse_csr
        assert sparse.dtype == dtype
        exact = K.to(DOUBLE).to_dense()
        torch.testing.assert_close(sparse.to_dense().double(), exact, rtol=tolerance, atol=tolerance)
        v = torch.linspace(-1.0, 1.0, K.shape[1], dtype=dtype).reshape(-1, 1)
        torch.testing.assert_close((sparse @ v).double(), exact @ v.double(), rtol=tolerance, atol=10 * tolerance)
        # nothing is kept that is far away
        assert sparse.values().numel() < 0.6 * K.shape[0] * K.shape[1]


def test_only_neighbours_are_kept():
    line = torch.arange(50.0).reshape(-1, 1)
    assert to_sparse(Wendland(1.5)(line)).values().numel() == 50 + 2 * 49
    assert to_sparse(Wendland(0.5)(line, line + 0.75)).to_dense().count_nonzero() == 49


@pytest.mark.parametrize(
    "kernel",
    [RBF(), Wendland() + RBF(), Wendland() + Constant(1.0), Wendland().on([0]) + Wendland().on([1]), White()],
    ids=repr,
)
def test_a_kernel_that_is_nowhere_zero_is_refused(kernel):
    with pytest.raises(ValueError, match=r"is nowhere exactly 0. Every term needs a factor Wendland"):
        to_sparse(kernel(X))


def test_the_smallest_support_of_a_product_counts():
    K = (Wendland(0.3) * Wendland(0.1) + Wendland(0.05))(X)
    support = find_support(K.spec, K._operands()[0].numbers())
    assert support.radius == pytest.approx(0.1)


def test_a_batch_and_too_many_entries_are_refused():
    with pytest.raises(ValueError, match="K is a batch of shape"):
        to_sparse(Wendland()(torch.stack([X, X])))
    config.set_memory_budget("1MB")
    with pytest.raises(MemoryBudgetError, match=r"to_sparse\(K\) of 200 x 200 with 40000 entries"):
        to_sparse(Wendland(10.0)(X))


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0)])
def test_matrices_without_rows_or_columns(n, m):
    assert to_sparse(Wendland()(X[:n], Y[:m])).shape == (n, m)
