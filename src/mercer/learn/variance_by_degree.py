"""Which polynomial degrees hold the variance of a function, before anything is fitted to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.arguments import check_whole
from mercer.arrays import as_tensor, check_finite
from mercer.errors import ShapeError
from mercer.kernels.hermite import of_each_degree

__all__ = ["DegreeVariance", "degree_variance"]

_TOLERANCE, _SIGMAS = 0.5, 5.0  # of means and variances of columns: the distance, and that of a sample beside it
_BLOCK_PAIRS = 1 << 17  # of float64 at a time: what stays in the cache


@dataclass(frozen=True)
class DegreeVariance:
    """What :func:`degree_variance` found.

    Attributes:
        shares: of the variance, of degrees 1 to ``max_degree``; estimates without bias, so they can be below 0.
        errors: their standard errors.
        rest: 1 minus the sum of the shares: higher degrees, and noise.
    """

    shares: np.ndarray[Any, Any]
    errors: np.ndarray[Any, Any]

    @property
    def rest(self) -> float:
        """The share of degrees above ``max_degree`` and of noise."""
        return float(1.0 - self.shares.sum())


def degree_variance(
    y: Callable[[Any], Any] | Any, X: int | Any, *, max_degree: int = 4, n_samples: int = 8192, random_state: int = 0
) -> DegreeVariance:
    r"""The share of the variance of a function of standard normal columns that each polynomial degree holds.

    A kernel method learns a degree from about as many rows as there are products of that degree, so this tells what it
    can learn from the rows at hand, and where a hidden feature may help.

    .. math:: \lVert P_j f \rVert^2 = E[f(x) f(x') k_j(x, x')], \quad
        E[f(x) f(\rho x + \sqrt{1 - \rho^2} x')] = \sum_j \rho^j \lVert P_j f \rVert^2

    with x, x' independent and :math:`k_j` the coefficients of Mehler's kernel, the parts of
    :class:`mercer.kernels.HermitePolynomial`: all pairs of rows are used (a U-statistic).

    Args:
        y: a function of an array ``(n, d)``, or measured values ``(n,)``.
        X: the number of columns for a function, or the rows ``(n, d)`` at which y was measured; independent columns of
            mean 0 and variance 1.
        max_degree: the highest degree that is told apart. The error grows with the root of the number of products over
            the number of rows.
        n_samples: rows drawn for a function.
        random_state: of the rows drawn.

    Raises:
        ShapeError: y and X do not fit together.
        ValueError: a constant y, or one that is not finite; columns that are far from mean 0 and variance 1.

    Cost: ``n^2 (d + 5 max_degree) / 2`` multiply-adds.

    >>> found = degree_variance(lambda X: X[:, 0] * X[:, 1] + X[:, 0], 5)
    >>> bool(np.all(abs(found.shares - [0.5, 0.5, 0.0, 0.0]) < 3 * found.errors))
    True
    """
    check_whole("max_degree", max_degree)
    check_whole("n_samples", n_samples, least=3)
    if callable(y):
        check_whole("X, the number of columns of a function,", X)
        points = np.random.default_rng(random_state).normal(size=(n_samples, int(X)))
        rows, values = torch.from_numpy(points), as_tensor(y(points), dtype=torch.float64)
    else:
        rows = as_tensor(X, dtype=torch.float64)
        values = as_tensor(y, dtype=torch.float64, device=rows.device)
    n = len(rows)
    if rows.dim() != 2 or values.shape != (n,) or n < 3:
        raise ShapeError(
            f"degree_variance: X must be (n, d) with n >= 3 and y (n,), not {tuple(rows.shape)} and "
            f"{tuple(values.shape)}."
        )
    check_finite(rows, "X")
    check_finite(values, "y")
    _check_standardised(rows)
    values = values - values.mean()
    variance = float(values.square().sum() / (n - 1))
    if not variance > 0.0:
        raise ValueError("degree_variance: y is constant, so no degree holds any of its variance.")
    parts = _contributions(rows, values, max_degree) / variance  # (n, degrees)
    errors = 2.0 * parts.std(0) / n**0.5  # of a mean over pairs, each row being in n - 1 of them
    return DegreeVariance(parts.mean(0).cpu().numpy(), errors.cpu().numpy())


def _check_standardised(X: Tensor) -> None:
    """Raise ValueError for a column whose mean or variance is further from 0 and 1 than those of a sample can be."""
    mean, variance, noise = X.mean(0), X.var(0), _SIGMAS / len(X) ** 0.5
    # Values of heavy tails have a variance that varies by more: those of standardised columns are 1 all the same.
    bad = ((mean.abs() > _TOLERANCE + noise) | ~((variance - 1.0).abs() < _TOLERANCE + 2.0 * noise)).nonzero()
    if len(bad):
        first = int(bad[0])
        raise ValueError(
            f"degree_variance: column {first} has mean {float(mean[first]):.3g} and variance "
            f"{float(variance[first]):.3g}, and the formula holds for 0 and 1. Standardise the columns "
            f"(sklearn.preprocessing.StandardScaler), and leave out constant ones."
        )


def _contributions(X: Tensor, y: Tensor, max_degree: int) -> Tensor:
    """For each row and degree, the mean of ``y_i y_j k_j(x_i, x_j)`` over all other rows."""
    n, d = X.shape
    squares = X.square().sum(1)
    found = X.new_empty(n, max_degree)
    step = max(1, _BLOCK_PAIRS // n)
    for i in range(0, n, step):
        rows = slice(i, min(i + step, n))
        s = X[rows] @ X.mT
        parts = of_each_degree(s, squares[rows, None] + squares, d, max_degree)
        own = of_each_degree(squares[rows], 2.0 * squares[rows], d, max_degree)
        for k, (part, self_part) in enumerate(zip(parts, own, strict=True)):
            found[rows, k] = y[rows] * (part @ y - self_part * y[rows]) / (n - 1)
    return found
