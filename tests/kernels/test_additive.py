"""Sums over columns, and interactions up to an order."""

import math

import pytest
import torch

from mercer.kernels import ANOVA, RBF, Additive, Constant, Linear, Matern, Periodic, parse

DOUBLE = torch.float64
X = torch.randn(9, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))


def test_additive_kernels_are_sums_of_kernels_of_columns():
    kernel = Additive(2.0 * RBF([0.5, 1.0, 2.0, 4.0]) * Periodic(1.3, [1.0, 2.0, 3.0, 4.0]) + Linear())
    expected = sum(
        (2.0 * RBF(0.5 * 2**j) * Periodic(1.3, 1.0 + j) + Linear())(X[:, j : j + 1]).to_dense() for j in range(4)
    )
    torch.testing.assert_close(kernel(X).to_dense(), expected)
    assert parse(repr(kernel)) == kernel
    assert len(kernel(X).spec.terms) == 12  # every column is planned on its own: a product, a line, its bias


def test_order_one_is_additive_and_the_full_product_is_the_last_order():
    torch.testing.assert_close(ANOVA(Matern(0.7), [2.0])(X).to_dense(), (2.0 * Additive(Matern(0.7)))(X).to_dense())
    last = ANOVA(RBF(0.7), [0.0, 0.0, 0.0, 3.0])
    torch.testing.assert_close(last(X).to_dense(), (3.0 * RBF(0.7))(X).to_dense())


def test_orders_beyond_the_columns_add_nothing():
    few = ANOVA(RBF(), [1.0, 0.5])(X[:, :2])
    more = ANOVA(RBF(), [1.0, 0.5, 7.0, 9.0])(X[:, :2])
    torch.testing.assert_close(few.to_dense(), more.to_dense())


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
def test_many_columns_lose_no_digits(dtype):
    # all subsets of 25 equal columns: binomial coefficients, which Newton's identities lose in float32
    ones = torch.zeros(2, 25, dtype=dtype)
    K = ANOVA(Constant(0.9), [0.0] * 7 + [1.0])(ones).to_dense()
    expected = math.comb(25, 8) * 0.9**8
    torch.testing.assert_close(K, torch.full((2, 2), expected, dtype=dtype), rtol=20 * torch.finfo(dtype).eps, atol=0.0)


def test_all_hyperparameters_learn():
    kernel = ANOVA(RBF([0.5, 1.0, 2.0, 4.0]), [1.0, 0.5]).learnable()
    assert [t.shape for t in kernel.tensors()] == [(2,), (4,)]
    grads = torch.autograd.grad(kernel(X).to_dense().sum(), kernel.tensors())
    assert all(bool((g != 0.0).all()) for g in grads)


def test_what_is_no_variance_is_refused():
    with pytest.raises(ValueError, match="variances must be >= 0"):
        ANOVA(RBF(), [1.0, -1.0])
    with pytest.raises(TypeError, match=r"Additive\(kernel=...\) must be a kernel"):
        Additive(1.0)
