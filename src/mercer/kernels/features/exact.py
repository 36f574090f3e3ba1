"""Kernels of finite rank as explicit features."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.kernels.algebra import On, Power, Product, Scaled, Sum
from mercer.kernels.base import Kernel
from mercer.kernels.constant import Constant
from mercer.kernels.features.base import Features, require_count
from mercer.kernels.hermite import HermitePolynomial, hermite_products
from mercer.kernels.linear import Linear
from mercer.kernels.polynomial import Polynomial

LIMIT = 10_000  # features; their normal matrix takes 800 MB


class ExactFeatures(Features):
    r"""The features of a kernel of finite rank: <phi(x), phi(y)> is k(x, y), to round-off.

    Of a polynomial kernel they are all monomials of the degree in the columns and the square root of the offset, each
    with the square root of its multinomial coefficient:

    .. math:: (x \cdot y + c)^p = \sum_{|a| = p} \frac{p!}{a_0! \cdots a_d!} \; x^a y^a, \quad x_0 = y_0 = \sqrt c

    Sums put features side by side; products and powers take all products of features.

    Args:
        kernel: Constant, Linear, Polynomial, HermitePolynomial, their sums, multiples, products, powers, and kernels of
            some columns.
        d: columns of the points.
        limit: the most features allowed; :class:`TensorSketch` approximates where there are more.

    Raises:
        ValueError: the kernel has more than ``limit`` features, or infinitely many.

    Cost: a multiplication a feature and degree, a row.
    Source: Shawe-Taylor & Cristianini, Kernel methods for pattern analysis (2004), section 9.1.

    >>> ExactFeatures(mc.kernels.Polynomial(degree=2, offset=1.0), d=2)(torch.tensor([[2.0, 3.0]]))
    tensor([[4.0000, 8.4853, 2.8284, 9.0000, 4.2426, 1.0000]])
    """

    def __init__(self, kernel: Kernel, *, d: int, limit: int = LIMIT) -> None:
        self.kernel, self.d, self.limit = kernel, d, limit
        self.check()

    def check(self) -> None:
        """Raise where there are no features, or too many."""
        super().check()
        require_count("ExactFeatures", "d", self.d)
        require_count("ExactFeatures", "limit", self.limit)
        self.n_features = self._map().count

    def compute(self, X: Tensor) -> Tensor:
        """The features."""
        return self._map().compute(X)

    def _map(self) -> FeatureMap:
        found = exact_features(self.kernel, self.d, limit=self.limit)
        if found is None:
            raise ValueError(
                f"{self.kernel!r} of {self.d} columns has more than limit={self.limit} features, or infinitely many. "
                f"Raise the limit, or approximate it: TensorSketch, RandomFourier, NystromFeatures."
            )
        return found


@dataclass(frozen=True)
class FeatureMap:
    """phi with ``k(x, y) = <phi(x), phi(y)>``.

    Attributes:
        count: how many features.
        compute: ``(*batch, n, d) -> (*batch, n, count)``, in the dtype of the points; differentiable in them and in the
            hyperparameters.
    """

    count: int
    compute: Callable[[Tensor], Tensor]

    def __call__(self, X: Tensor) -> Tensor:
        """The features of points, in float64."""
        return self.compute(X.to(torch.float64))


def exact_features(kernel: Kernel, width: int, *, limit: int) -> FeatureMap | None:
    """The features of a kernel on ``width`` columns, or None where there are more than ``limit`` or infinitely many.

    Column names must have been resolved.
    """
    found = _features(kernel, width, limit)
    return found if found is not None and found.count <= limit else None


def _features(kernel: Kernel, width: int, limit: int) -> FeatureMap | None:
    match kernel:
        case Constant():
            level = kernel.hyperparameter("value")
            return FeatureMap(1, lambda X: _column(level, X))
        case Linear():
            return _affine(kernel.hyperparameter("lengthscale"), kernel.hyperparameter("bias"), width)
        case Polynomial():
            base = _affine(kernel.hyperparameter("lengthscale"), kernel.hyperparameter("offset"), width)
            return _power(base, kernel.degree, limit)
        case HermitePolynomial():
            return _hermite(kernel.hyperparameter("lengthscale"), kernel.degree, width, limit)
        case Scaled():
            return _scaled(_features(kernel.kernel, width, limit), kernel.hyperparameter("scale"))
        case On():
            given = [kernel.columns] if isinstance(kernel.columns, int | str) else kernel.columns
            columns = [int(c) for c in given]
            return _of_columns(_features(kernel.kernel, len(columns), limit), columns)
        case Power():
            inner = _features(kernel.kernel, width, limit)
            return None if inner is None else _power(inner, kernel.exponent, limit)
        case Sum() | Product():
            left, right = _features(kernel.left, width, limit), _features(kernel.right, width, limit)
            if left is None or right is None:
                return None
            if isinstance(kernel, Sum):
                return FeatureMap(
                    left.count + right.count, lambda X: torch.cat([left.compute(X), right.compute(X)], -1)
                )
            return FeatureMap(
                left.count * right.count,
                lambda X: (left.compute(X).unsqueeze(-1) * right.compute(X).unsqueeze(-2)).flatten(-2),
            )
    return None


def _column(square: Tensor, X: Tensor) -> Tensor:
    """The square root of a number as a column beside X."""
    return square.sqrt().to(X).expand(*X.shape[:-1], 1)


def _scaled(inner: FeatureMap | None, scale: Tensor) -> FeatureMap | None:
    return None if inner is None else FeatureMap(inner.count, lambda X: inner.compute(X) * scale.sqrt().to(X))


def _of_columns(inner: FeatureMap | None, columns: list[int]) -> FeatureMap | None:
    return None if inner is None else FeatureMap(inner.count, lambda X: inner.compute(X[..., columns]))


def _affine(lengthscale: Tensor, bias: Tensor, width: int) -> FeatureMap:
    """The columns in lengthscales, and the square root of the bias beside them if there is one."""
    has_bias = bool((bias.detach() > 0.0).any())

    def compute(X: Tensor) -> Tensor:
        scaled = X / lengthscale.to(X)
        return torch.cat([scaled, _column(bias, X)], -1) if has_bias else scaled

    return FeatureMap(width + has_bias, compute)


def _hermite(lengthscale: Tensor, degree: int, width: int, limit: int) -> FeatureMap | None:
    """All products of Hermite polynomials up to a degree."""
    count = math.comb(width + degree, degree)
    if count > limit:
        return None
    return FeatureMap(count, lambda X: hermite_products(X / lengthscale.to(X), degree))


def _power(base: FeatureMap, degree: int, limit: int) -> FeatureMap | None:
    """All monomials of one degree in the features of ``base``."""
    count = math.comb(base.count + degree - 1, degree)
    if count > limit:
        return None
    chosen = torch.tensor(list(itertools.combinations_with_replacement(range(base.count), degree)))
    repeats = torch.zeros(count, base.count, dtype=torch.int64).scatter_add_(1, chosen, torch.ones_like(chosen))
    orders = torch.lgamma(repeats.to(torch.float64) + 1.0).sum(1)
    coefficient = torch.exp(0.5 * (math.lgamma(degree + 1.0) - orders))

    def compute(X: Tensor) -> Tensor:
        F = base.compute(X)
        product = F[..., chosen[:, 0]] * coefficient.to(F)
        for k in range(1, degree):
            product = product * F[..., chosen[:, k]]
        return product

    return FeatureMap(count, compute)
