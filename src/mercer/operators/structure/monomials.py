"""Polynomials of a dot product: what stands before each power, and the monomials that a power is a product of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, reduce
from itertools import combinations_with_replacement
from math import comb, factorial, prod, sqrt

import torch
from torch import Tensor

from mercer.operators.maps import Expression, constant, leaves

__all__ = ["monomials", "n_monomials", "power_coefficients"]

ZERO, ONE = constant(0.0), constant(1.0)


def power_coefficients(factors: Sequence[Expression], s: Expression) -> list[Expression] | None:
    """The product of factors as a polynomial in ``s``: what stands before its powers, from the 0th on.

    None if it is no polynomial whose coefficients are numbers and hyperparameters.
    """
    found = [_coefficients(factor, s) for factor in factors]
    if any(c is None for c in found):
        return None
    return reduce(_product, [c for c in found if c is not None], [ONE])


def n_monomials(width: int, degree: int) -> int:
    """How many monomials of exactly this degree ``width`` variables have."""
    return comb(width + degree - 1, degree)


def monomials(X: Tensor, degree: int) -> Tensor:
    r"""All monomials of a degree, scaled so that ``monomials(x) . monomials(y) = (x . y) ** degree``.

    Args:
        X: ``(..., d, n)``, a variable a row: products of whole rows are five times faster than of columns.
        degree: >= 0.

    Returns:
        ``(..., C(d + degree - 1, degree), n)``, each times the root of its multinomial coefficient; differentiable.
    """
    d, n = X.shape[-2:]
    if degree == 0:
        return X.new_ones(*X.shape[:-2], 1, n)
    if degree == 1:
        return X
    found = X
    for q in range(2, degree + 1):
        # In lexicographic order those without the first i variables stand last.
        sizes = [n_monomials(d - i, q - 1) for i in range(d)]
        found = torch.cat([X[..., i : i + 1, :] * found[..., found.shape[-2] - sizes[i] :, :] for i in range(d)], -2)
    return found * torch.tensor(_roots(d, degree), dtype=X.dtype, device=X.device).unsqueeze(-1)


@lru_cache(maxsize=32)
def _roots(width: int, degree: int) -> tuple[float, ...]:
    """The square roots of the multinomial coefficients, in lexicographic order."""
    counts = (Counter(chosen).values() for chosen in combinations_with_replacement(range(width), degree))
    return tuple(sqrt(factorial(degree) / prod(map(factorial, times))) for times in counts)


def _coefficients(node: Expression, s: Expression) -> list[Expression] | None:
    if node is s:
        return [ZERO, ONE]
    if all(found.op == "theta" for found in leaves([node])):
        return [node]
    if node.op not in ("add", "sub", "mul", "div"):
        return None
    left, right = (_coefficients(arg, s) for arg in node.args)
    if left is None or right is None:
        return None
    if node.op == "mul":
        return _product(left, right)
    if node.op == "div":
        return [c / right[0] for c in left] if len(right) == 1 else None
    size = max(len(left), len(right))
    pairs = zip(*(c + [ZERO] * (size - len(c)) for c in (left, right)), strict=True)
    return [a + b if node.op == "add" else a - b for a, b in pairs]


def _product(left: list[Expression], right: list[Expression]) -> list[Expression]:
    out = [ZERO] * (len(left) + len(right) - 1)
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            out[i + j] = out[i + j] + a * b
    return out
