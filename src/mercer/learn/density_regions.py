"""Regions of highest density: quantiles of densities, and where a density in one column passes a level."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["intervals_above", "quantile"]

_POINTS = 200_000  # of the grid on which crossings are looked for
_HALVINGS = 40


def quantile(values: Tensor, share: float) -> float:
    """The value below which the share lies, between order statistics."""
    return float(np.quantile(values.numpy(), share))


def intervals_above(
    log_density: Callable[[Tensor], Tensor], threshold: float, X: Tensor, *, step: float
) -> NDArray[np.float64]:
    """Where a density in one column is at least ``exp(threshold)``, ``(k, 2)``, from left to right.

    Args:
        log_density: of points ``(m,)``.
        threshold: log density.
        X: the rows it was made of ``(n,)``.
        step: of the grid; narrower gaps and peaks are not seen.
    """
    reach = step
    low, high = float(X.min()), float(X.max())
    while bool((log_density(torch.tensor([low - reach, high + reach], dtype=torch.float64)) >= threshold).any()):
        reach *= 2.0
    count = int(min(max((high - low + 2.0 * reach) / step, 100.0), _POINTS)) + 1
    grid = torch.linspace(low - reach, high + reach, count, dtype=torch.float64)
    inside = log_density(grid) >= threshold
    at = (inside[1:] != inside[:-1]).nonzero().flatten()
    left, right, rises = grid[at].clone(), grid[at + 1].clone(), inside[at + 1]
    for _ in range(_HALVINGS):
        middle = 0.5 * (left + right)
        above = log_density(middle) >= threshold
        left, right = torch.where(above == rises, left, middle), torch.where(above == rises, middle, right)
    ends: NDArray[np.float64] = (0.5 * (left + right)).numpy().reshape(-1, 2)
    return ends
