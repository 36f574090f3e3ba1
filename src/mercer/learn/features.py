"""Kernels of finite rank as explicit features: what lets a ridge be solved in feature space instead of over rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.kernels import Constant, Kernel, Linear, On, Polynomial, Power, Product, Scaled, Sum

__all__ = ["FeatureMap", "exact_features"]


@dataclass(frozen=True)
class FeatureMap:
    """phi with ``k(x, y) = <phi(x), phi(y)>``.

    Attributes:
        count: how many features.
        compute: ``(n, d) -> (n, count)``, in float64.
    """

    count: int
    compute: Callable[[Tensor], Tensor]

    def __call__(self, X: Tensor) -> Tensor:
        """The features of points, in float64."""
        return self.compute(X.to(torch.float64))


def exact_features(kernel: Kernel, width: int, *, limit: int) -> FeatureMap | None:
    """The features of a kernel on ``width`` columns, or None where there are more than ``limit`` or infinitely many.

    Sums put features side by side; products, powers and polynomials take all products of features (each monomial once,
    with the square root of its multinomial coefficient). Column names must have been resolved.
    """
    found = _features(kernel, width, limit)
    return found if found is not None and found.count <= limit else None


def _features(kernel: Kernel, width: int, limit: int) -> FeatureMap | None:
    match kernel:
        case Constant():
            level = float(kernel.hyperparameter("value")) ** 0.5
            return FeatureMap(1, lambda X: X.new_full((len(X), 1), level))
        case Linear():
            return _affine(kernel.hyperparameter("lengthscale"), float(kernel.hyperparameter("bias")), width)
        case Polynomial():
            base = _affine(kernel.hyperparameter("lengthscale"), float(kernel.hyperparameter("offset")), width)
            return _power(base, kernel.degree, limit)
        case Scaled():
            return _scaled(_features(kernel.kernel, width, limit), float(kernel.hyperparameter("scale")) ** 0.5)
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
                return FeatureMap(left.count + right.count, lambda X: torch.cat([left(X), right(X)], 1))
            return FeatureMap(
                left.count * right.count, lambda X: (left(X)[:, :, None] * right(X)[:, None, :]).flatten(1)
            )
    return None


def _scaled(inner: FeatureMap | None, factor: float) -> FeatureMap | None:
    return None if inner is None else FeatureMap(inner.count, lambda X: inner(X) * factor)


def _of_columns(inner: FeatureMap | None, columns: list[int]) -> FeatureMap | None:
    return None if inner is None else FeatureMap(inner.count, lambda X: inner(X[:, columns]))


def _affine(lengthscale: Tensor, bias: float, width: int) -> FeatureMap:
    """The columns in lengthscales, and the square root of the bias beside them if there is one."""

    def compute(X: Tensor) -> Tensor:
        scaled = X / lengthscale.to(X.device)
        return torch.cat([scaled, scaled.new_full((len(X), 1), bias**0.5)], 1) if bias else scaled

    return FeatureMap(width + bool(bias), compute)


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
        F = base(X)
        product = F[:, chosen[:, 0]] * coefficient.to(X.device)
        for k in range(1, degree):
            product = product * F[:, chosen[:, k]]
        return product

    return FeatureMap(count, compute)
