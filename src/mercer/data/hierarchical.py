"""Polynomials of one hidden polynomial: what networks with three layers learn from fewer rows than any fixed kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mercer.arguments import check_whole

__all__ = ["hierarchical_polynomial"]

Array = np.ndarray[Any, Any]
_FEATURES = ("diagonal", "parity", "quadratic")


def hierarchical_polynomial(
    d: int,
    n: int,
    *,
    k: int = 2,
    link: Sequence[float] = (0.0, math.sqrt(0.5), 0.0, math.sqrt(0.5)),
    feature: str = "diagonal",
    random_state: Any = 0,
) -> tuple[Array, Array, Array]:
    r"""Rows ``y = g(p(x))`` without noise, x standard normal, p a hidden polynomial of degree k in all columns.

    p has mean 0, variance 1 and no part of a lower degree (on average over the draw of "parity" it is normal for large
    d):

    * ``"diagonal"``: :math:`d^{-1/2} \sum_i \epsilon_i h_k(x_i)`, half the signs +1;
    * ``"parity"``: :math:`(2 d)^{-1/2} \sum \pm \prod_{i \in S} x_i`, 2 d different random sets S of k columns;
    * ``"quadratic"``: :math:`x^\top A x`, A a random symmetric matrix of trace 0, whose largest eigenvalue falls like
      :math:`d^{-1/2}`; k is 2.

    Args:
        d: columns.
        n: rows; take those to fit and those to test from one call, so that they share p.
        k: degree of p, >= 1.
        link: coefficients of g in normalised Hermite polynomials h_0, h_1, ...; the default is (h_1 + h_3) / sqrt(2).
        feature: "diagonal", "parity" or "quadratic".
        random_state: of p and of the rows: an int, a generator of NumPy or torch, or None.

    Returns:
        X ``(n, d)``, y ``(n,)`` and p ``(n,)``, float64.

    Raises:
        ValueError: another feature, numbers below 1, no coefficients of g, or too few columns for so many different
            sets.

    Source: Wang, Nichani & Lee, Learning hierarchical polynomials with three-layer neural networks (arXiv 2311.13774).

    >>> X, y, p = hierarchical_polynomial(10, 5)
    >>> bool(np.allclose(y, (p + (p**3 - 3 * p) / 6**0.5) / 2**0.5))
    True
    """
    for name, value in (("d", d), ("n", n), ("k", k)):
        check_whole(f"hierarchical_polynomial: {name}", value)
    d, n, k = int(d), int(n), int(k)
    if isinstance(link, str) or np.ndim(link) != 1 or not len(link) or not np.isfinite(link).all():
        raise ValueError(f"link must be one or more finite coefficients of h_0, h_1, ..., not {link!r}.")
    if feature not in _FEATURES:
        raise ValueError(f"feature must be one of {', '.join(_FEATURES)}, not {feature!r}.")
    if isinstance(random_state, torch.Generator):
        random_state = int(torch.randint(2**31 - 1, (1,), generator=random_state))
    draw = np.random.default_rng(random_state)
    if feature == "diagonal":
        signs = draw.permutation(np.where(np.arange(d) < (d + 1) // 2, 1.0, -1.0)) / math.sqrt(d)
        X = draw.normal(size=(n, d))
        p = _hermite(X, k) @ signs
    elif feature == "parity":
        sets = _sets(d, k, draw)
        signs = draw.choice([-1.0, 1.0], size=len(sets)) / math.sqrt(len(sets))
        X = draw.normal(size=(n, d))
        p = sum((sign * X[:, list(chosen)].prod(1) for sign, chosen in zip(signs, sets, strict=True)), np.zeros(n))
    else:
        if k != 2 or d < 2:
            raise ValueError(f"feature='quadratic' has degree 2 and needs two columns, but k={k} and d={d}.")
        A = draw.normal(size=(d, d))
        A = A + A.T
        A -= np.eye(d) * np.trace(A) / d
        A *= math.sqrt(0.5) / np.linalg.norm(A)
        X = draw.normal(size=(n, d))
        p = np.einsum("ni,ni->n", X @ A, X)
    y = sum((weight * _hermite(p, j) for j, weight in enumerate(link)), np.zeros(n))
    return X, y, p


def _hermite(x: Array, degree: int) -> Array:
    """The normalised Hermite polynomial of a degree, elementwise."""
    coefficients = np.zeros(degree + 1)
    coefficients[degree] = 1.0 / math.sqrt(math.factorial(degree))
    values: Array = np.polynomial.hermite_e.hermeval(x, coefficients)
    return values


def _sets(d: int, k: int, draw: np.random.Generator) -> list[tuple[int, ...]]:
    """2 d different sets of k columns."""
    if math.comb(d, k) < 2 * d:
        raise ValueError(
            f"feature='parity': {d} columns have {math.comb(d, k)} sets of {k}, but 2 d = {2 * d} are needed. "
            f"Give more columns."
        )
    found: dict[tuple[int, ...], None] = {}
    while len(found) < 2 * d:
        found[tuple(sorted(draw.choice(d, size=k, replace=False).tolist()))] = None
    return list(found)
