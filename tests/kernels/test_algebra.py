"""Kernels made of kernels."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import (
    RBF,
    Constant,
    Hamming,
    Kernel,
    Linear,
    Matern,
    On,
    Parameter,
    Power,
    Product,
    Scaled,
    Sum,
    White,
)
from mercer.kernels.algebra import LARGEST_PRODUCT

X = torch.linspace(-1.0, 2.0, 15, dtype=torch.float64).reshape(5, 3)


def dense(kernel, points=X):
    return kernel(points).to_dense()


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda k: k + 2, lambda K: K + 2.0),
        (lambda k: 2.5 + k, lambda K: K + 2.5),
        (lambda k: k * 3, lambda K: K * 3.0),
        (lambda k: np.float64(3.0) * k, lambda K: K * 3.0),
        (lambda k: np.float32(3.0) + k, lambda K: K + 3.0),
        (lambda k: np.int64(3) + k, lambda K: K + 3.0),
        (lambda k: k * torch.tensor(3.0), lambda K: K * 3.0),
        (lambda k: torch.tensor(3.0) * k, lambda K: K * 3.0),
        (lambda k: Parameter(3.0) * k, lambda K: K * 3.0),
        (lambda k: Parameter(3.0) + k, lambda K: K + 3.0),
        (lambda k: k**3, lambda K: K**3),
        (lambda k: k**1, lambda K: K),
        (lambda k: sum([k, k, k]), lambda K: 3.0 * K),
        (lambda k: (k + 1.0) * (k + 2.0), lambda K: (K + 1.0) * (K + 2.0)),
        (lambda k: ((k + 1.0) * 2.0) ** 2, lambda K: (2.0 * K + 2.0) ** 2),
    ],
)
def test_algebra_of_kernels_is_algebra_of_matrices(build, expected):
    kernel = Matern(0.8)
    torch.testing.assert_close(dense(build(kernel)), expected(dense(kernel)), rtol=1e-12, atol=1e-12)


def test_long_products_of_sums_are_not_multiplied_out():
    kernel = RBF() + 0.5
    for _ in range(7):
        kernel = kernel * (RBF() + 0.5)
    assert len(kernel(X).spec.terms) <= LARGEST_PRODUCT
    torch.testing.assert_close(dense(kernel), (dense(RBF()) + 0.5) ** 8, rtol=1e-12, atol=0.0)
    assert len(((RBF() + 1.0) * (Linear() + 1.0))(X).spec.terms) == 6


def test_kernels_of_different_lengthscales_share_one_statistic():
    assert len((RBF(0.5) + Matern(2.0) + RBF(3.0) * Matern(1.0))(X).spec.statistics) == 1


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: RBF() + "a", TypeError, "added to a kernel or a number, not to str"),
        (lambda: RBF() * "a", TypeError, "must be a number"),
        (lambda: RBF() * -1.0, ValueError, "scale must be > 0"),
        (lambda: RBF() ** 2.5, ValueError, r"kernel \*\* 2.5: the exponent must be a whole number >= 1"),
        (lambda: RBF() ** 0, ValueError, "whole number >= 1"),
        (lambda: RBF() ** True, ValueError, "whole number >= 1"),
        (lambda: Sum(RBF(), 2.0), TypeError, r"Sum\(right=...\) must be a kernel, not 2.0"),
        (lambda: Product("a", RBF()), TypeError, r"Product\(left=...\) must be a kernel"),
        (lambda: Scaled(3.0), TypeError, r"Scaled\(kernel=...\) must be a kernel"),
        (lambda: Power(1, 2), TypeError, r"Power\(kernel=...\) must be a kernel"),
        (lambda: RBF().on([]), ValueError, r"on\(\[\]\): name at least one column"),
        (lambda: RBF().on([0.5]), TypeError, "a column is a position or a name, not 0.5"),
        (lambda: RBF().on([True]), TypeError, "a column is a position or a name, not True"),
    ],
)
def test_what_is_no_kernel_is_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_subtraction_is_no_operation_of_kernels():
    with pytest.raises(TypeError, match="unsupported operand"):
        RBF() - RBF()


# columns


def test_on_takes_positions_from_both_ends():
    expected = dense(RBF(), X[:, [0, 2]])
    for columns in ([0, 2], [0, -1], (0, 2), np.array([0, 2]), range(0, 3, 2)):
        assert torch.equal(dense(RBF().on(columns)), expected)
    assert torch.equal(dense(RBF().on(1)), dense(RBF(), X[:, [1]]))


def test_on_within_on_counts_within():
    assert torch.equal(dense(RBF().on([1]).on([2, 0])), dense(RBF(), X[:, [0]]))
    nested = (RBF().on("b") + Linear()).on(["b", "c"])
    frame = pd.DataFrame(X.numpy(), columns=["a", "b", "c"])
    expected = dense(RBF(), X[:, [1]]) + dense(Linear(), X[:, [1, 2]])
    torch.testing.assert_close(nested(frame).to_dense(), expected)


def test_lengthscales_follow_the_order_of_the_columns():
    expected = dense(RBF([3.0, 0.5]), X[:, [2, 0]])
    assert torch.equal(dense(RBF([3.0, 0.5]).on([2, 0])), expected)


def test_a_column_that_does_not_exist_is_named():
    with pytest.raises(ShapeError, match=r"on\(\[0, 3\]\): there is no column 3 \(counted from 0\) among 3"):
        RBF().on([0, 3])(X)
    with pytest.raises(ShapeError, match="there is no column -4"):
        RBF().on([-4])(X)
    with pytest.raises(ShapeError, match="lengthscale has 2 entries, but the kernel sees 1 columns"):
        RBF([1.0, 2.0]).on([0])(X)


def test_columns_are_found_by_name_in_a_table():
    frame = pd.DataFrame({"carat": [0.2, 0.5], "depth": [60.0, 61.0], 3: [1.0, 5.0]})
    kernel = RBF().on(["depth", "carat"]) + Hamming().on("3")
    values = torch.tensor(frame.to_numpy().copy())
    expected = dense(RBF(), values[:, :2]) + dense(Hamming(), values[:, 2:])
    torch.testing.assert_close(kernel(frame).to_dense(), expected)
    resolved = kernel.resolve(["carat", "depth", "3"])
    assert repr(resolved) == "RBF(lengthscale=1.0).on([1, 0]) + Hamming(lengthscale=1.0).on([2])"
    assert resolved(frame.to_numpy()).to_dense().shape == (2, 2)


def test_names_need_a_table_that_has_them():
    with pytest.raises(TypeError, match=r"on\(\['carat'\]\) names columns, but X has no names. Give a pandas table"):
        RBF().on(["carat"])(X)
    frame = pd.DataFrame(X.numpy(), columns=["a", "b", "b"])
    with pytest.raises(ValueError, match=r"there is no column 'c'. There are: a, b, b"):
        RBF().on("c")(frame)
    with pytest.raises(ValueError, match="there is more than one column 'b'"):
        RBF().on("b")(frame)
    with pytest.raises(ShapeError, match="there is no column 7"):
        RBF().on([7])(frame)


def test_resolving_names_goes_through_every_kind_of_kernel():
    kernel = (2.0 * (RBF().on("b") + White()) * Constant() ** 2).resolve(["a", "b"])
    assert "on([1])" in repr(kernel)
    assert RBF().resolve(["a"]) == RBF()


@dataclass(frozen=True)
class Norm:
    """|x|, a number a point."""

    def __call__(self, X, theta):
        return torch.linalg.vector_norm(X, dim=-1)


def test_a_kernel_may_use_numbers_of_single_points():
    class Weighted(Kernel):
        def trace(self, binder):
            left, right = binder.row_value(Norm())
            again, _ = binder.row_value(Norm())
            assert again is left
            return [left * right * torch.exp(-0.5 * binder.squared_distance(torch.tensor(1.0, dtype=torch.float64)))]

    norms = X.norm(dim=1)
    torch.testing.assert_close(dense(Weighted()), norms[:, None] * norms * dense(RBF()))
    with pytest.raises(ValueError, match="X contains NaN"):
        Weighted()(X * float("nan"))


def test_a_kernel_of_ones_own_is_one_class():
    class Cubic(Kernel):
        def __init__(self, lengthscale=1.0):
            self.lengthscale = lengthscale

        def trace(self, binder):
            return [binder.dot_product(self.hyperparameter("lengthscale")) ** 3.0]

    torch.testing.assert_close(dense(Cubic() + 1.0), (X @ X.T) ** 3 + 1.0)
    assert On(Cubic(), [0]).get_params()["kernel__lengthscale"] == 1.0
