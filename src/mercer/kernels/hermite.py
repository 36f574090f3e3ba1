"""The kernel of Hermite polynomials, and the polynomials themselves."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression, constant

__all__ = ["HermitePolynomial", "hermite_exponents", "hermite_products", "hermite_values", "of_each_degree"]

Number = TypeVar("Number", Expression, Tensor)


def of_each_degree(s: Number, q: Number, width: int, degree: int) -> list[Number]:
    r"""The parts ``k_1, ..., k_degree`` of the kernel, each the sum over all products of its degree.

    From :math:`\sum_j \rho^j k_j = (1 - \rho^2)^{-d/2} \exp((\rho s - \rho^2 q / 2) / (1 - \rho^2))` (Mehler), whose
    logarithmic derivative in rho is a ratio of polynomials: a recursion over the degrees.

    Args:
        s: <x, y>.
        q: |x|^2 + |y|^2.
        width: d, the number of columns.
        degree: >= 1.
    """
    parts = [s]
    gap = float(width) - q
    for j in range(
        1, degree
    ):  # (j + 1) k_{j+1} = s (k_j + k_{j-2}) + (d - q + 2 (j - 1)) k_{j-1} - (d + j - 3) k_{j-3}
        total = s * parts[j - 1]
        if j == 1:
            total = total + gap
        if j >= 2:
            total = total + (gap + 2.0 * (j - 1)) * parts[j - 2]
        if j == 2:
            total = total + s
        if j >= 3:
            total = total + s * parts[j - 3]
        if j == 3:
            total = total - float(width)
        if j >= 4:
            total = total - float(width + j - 3) * parts[j - 4]
        parts.append(total * (1.0 / (j + 1)))
    return parts


def hermite_values(x: Tensor, degree: int) -> Tensor:
    """Normalised Hermite polynomials h_0, ..., h_degree of each number, along a new last axis.

    They are orthonormal for a standard normal number: ``h_2(x) = (x^2 - 1) / sqrt(2)``.

    >>> hermite_values(torch.tensor(2.0), 2)
    tensor([1.0000, 2.0000, 2.1213])
    """
    values = [torch.ones_like(x), x][: degree + 1]
    for j in range(2, degree + 1):
        values.append((x * values[-1] - math.sqrt(j - 1) * values[-2]) / math.sqrt(j))
    return torch.stack(values, -1)


def hermite_exponents(width: int, degree: int) -> Tensor:
    """The degrees of all products up to a total degree in each of the columns, ``(count, width)``, the constant first.

    >>> hermite_exponents(2, 2).tolist()
    [[0, 0], [1, 0], [0, 1], [2, 0], [1, 1], [0, 2]]
    """
    rows = []
    for total in range(degree + 1):
        for chosen in itertools.combinations_with_replacement(range(width), total):
            rows.append(torch.bincount(torch.tensor(chosen, dtype=torch.int64), minlength=width))
    return torch.stack(rows)


def hermite_products(X: Tensor, degree: int) -> Tensor:
    """Products of normalised Hermite polynomials of the columns, ``(..., n, d) -> (..., n, count)``.

    All products up to a total degree in the order of :func:`hermite_exponents`: an orthonormal basis of the polynomials
    of that degree for independent standard normal columns.
    """
    # One row of memory a product: gathering rows is four times as fast as gathering columns.
    table = hermite_values(X.mT, degree).movedim(-1, -2).flatten(-3, -2)  # column i, degree j at i (degree + 1) + j
    chosen = _places(X.shape[-1], degree).to(X.device)  # (count, degree)
    product = table[..., chosen[:, 0], :]
    for k in range(1, degree):
        product = product * table[..., chosen[:, k], :]
    return product.mT


@lru_cache(maxsize=16)
def _places(width: int, degree: int) -> Tensor:
    """For each product the places of its factors in the table of all values; unused factors are h_0 = 1."""
    rows = []
    for total in range(degree + 1):
        for chosen in itertools.combinations_with_replacement(range(width), total):
            factors = [i * (degree + 1) + chosen.count(i) for i in sorted(set(chosen))]
            rows.append(factors + [0] * (degree - len(factors)))
    return torch.tensor(rows, dtype=torch.int64)


@dataclass(frozen=True)
class SquaredNorm:
    """|x|^2 in lengthscales."""

    columns: tuple[int, ...]
    lengthscale: int

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        return (X[..., list(self.columns)] / theta[self.lengthscale].to(X.dtype).unsqueeze(-2)).square().sum(-1)


class HermitePolynomial(Kernel):
    r"""Polynomials up to a degree, each as large as its root mean square on standard normal columns.

    .. math:: k(x, y) = \sum_{|a| \le p} \prod_i h_{a_i}(x_i / \ell_i) \, h_{a_i}(y_i / \ell_i)

    with the Hermite polynomials h_j that are orthonormal for a standard normal number. Regression with it is regression
    on all monomials up to the degree, as with :class:`Polynomial`, but the penalty is the same in all directions and
    degrees: :math:`\lVert f \rVert^2 = E f(z)^2` for standard normal z. It is rotation invariant, and is computed from
    <x, y> and the norms. Columns should have mean 0.

    Args:
        degree: p, a whole number >= 1; not learnable.
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X: their standard deviation.

    Raises:
        ValueError: a degree that is no whole number >= 1, or a lengthscale that is not positive.

    Cost: a pair costs ``d`` multiply-adds and 5 a degree. ``C(d + p, p)`` features; with fewer of them than half the
    rows, ridge regression is done over them.
    Source: Mehler's formula; as the kernel of a layer of random Hermite units, Wang, Nichani & Lee (arXiv 2311.13774).

    >>> HermitePolynomial(degree=2)(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])).to_dense()
    tensor([[58.5000]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR}

    def __init__(self, degree: int = 2, lengthscale: Value = 1.0) -> None:
        self.degree, self.lengthscale = degree, lengthscale
        self.check()

    def check(self) -> None:
        """Raise ValueError or TypeError for an argument outside its domain."""
        super().check()
        if isinstance(self.degree, bool) or not isinstance(self.degree, int) or self.degree < 1:
            raise ValueError(f"HermitePolynomial(degree={self.degree!r}): the degree must be a whole number >= 1.")

    def trace(self, binder: Binder) -> list[Expression]:
        """The sum over the degrees."""
        lengthscale = self.hyperparameter("lengthscale")
        s = binder.dot_product(lengthscale)
        norms = SquaredNorm(binder.all_columns, binder.vector(lengthscale, "lengthscale"))
        row, column = binder.row_value(norms)
        total = constant(1.0)
        for part in of_each_degree(s, row + column, binder.width, self.degree):
            total = total + part
        return [total]
