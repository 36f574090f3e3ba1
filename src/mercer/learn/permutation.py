"""Permutation tests with one kernel or several: which kernels, and what the permutations say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from mercer.arrays import generator
from mercer.kernels import RBF, Kernel, Matern, parse
from mercer.metrics import median_distance

__all__ = ["check_test_arguments", "p_values", "resolve_kernels"]

Array = NDArray[np.float64]
_N_LENGTHSCALES = 10  # of each of two kernels; Schrab et al. found no gain beyond
_MOST_POINTS = 1000  # whose distances give lengthscales


def resolve_kernels(kernel: Any, points: Tensor, *, random_state: Any) -> list[Kernel]:
    """The kernels of a test: they may depend on the points, but not on which sample a point belongs to.

    Args:
        kernel: "median": RBF with the median distance. "aggregate": RBF and Matern 1/2, each with ten lengthscales from
            half the 5 % quantile of the distances to twice the 95 % quantile. A kernel or its text; or a list of them.
        points: of all samples together, ``(n, d)``.
        random_state: of the 1000 points whose distances are looked at, where there are more. They are drawn without
            looking at labels, so the level of the test stays exact.

    Raises:
        TypeError: something else. ValueError: an empty list, or points that are all equal.
    """
    if isinstance(kernel, str) and kernel == "median":
        return [RBF(lengthscale=median_distance(points, max_points=_MOST_POINTS, random_state=random_state))]
    if isinstance(kernel, str) and kernel == "aggregate":
        lengthscales = _lengthscales(points, random_state)
        return [RBF(lengthscale=h) for h in lengthscales] + [Matern(lengthscale=h, nu=0.5) for h in lengthscales]
    if isinstance(kernel, Kernel | str):
        return [parse(kernel) if isinstance(kernel, str) else kernel]
    if isinstance(kernel, Sequence) and len(kernel) and all(isinstance(k, Kernel | str) for k in kernel):
        return [parse(k) if isinstance(k, str) else k for k in kernel]
    raise TypeError(
        f"kernel must be 'median', 'aggregate', a mercer kernel, its text, or a list of kernels, not {kernel!r}."
    )


def _lengthscales(points: Tensor, random_state: Any) -> list[float]:
    if len(points) > _MOST_POINTS:
        points = points[torch.randperm(len(points), generator=generator(random_state))[:_MOST_POINTS]]
    distances = torch.pdist(points).cpu().numpy()
    apart = distances[distances > 0.0]
    if len(apart) == 0:
        raise ValueError("kernel='aggregate': all points are equal, so there are no lengthscales. Give kernels.")
    low, high = np.quantile(apart, [0.05, 0.95])
    return [float(h) for h in np.geomspace(0.5 * low, 2.0 * high, _N_LENGTHSCALES)]


def p_values(statistics: Array) -> tuple[float, Array]:
    """The p-value of a permutation test, exact at any size, and that of each kernel.

    Several kernels are combined by the smallest of their p-values. Its own distribution comes from the same
    permutations: each of them, and the data, gets the smallest p-value that it would have had in the place of the data.
    All are treated alike, so under the null hypothesis the result is at most u with probability at most u.

    Args:
        statistics: ``(kernels, 1 + permutations)``, the data first; large values speak against the null hypothesis.

    Returns:
        The p-value, and ``(kernels,)`` those of each kernel alone.
    """
    scale = np.abs(statistics).max(axis=1, keepdims=True)
    # The same partition of the points twice must count as equal, whatever round-off says.
    rounded = np.round(statistics / np.where(scale > 0.0, scale, 1.0), 10)
    n = statistics.shape[1]
    own = rankdata(-rounded, method="max", axis=1) / n  # the share that is at least as large, itself included
    smallest = own.min(axis=0)
    return float((smallest <= smallest[0]).mean()), own[:, 0]


def check_test_arguments(statistic: Any, n_permutations: Any, level: Any) -> None:
    """Raise ValueError for arguments that no permutation test can use."""
    if statistic not in ("unbiased", "biased"):
        raise ValueError(f"statistic={statistic!r}: choose 'unbiased' or 'biased'.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level={level!r}: it must lie between 0 and 1, such as 0.05.")
    if isinstance(n_permutations, bool) or not isinstance(n_permutations, int) or (n_permutations + 1) * level < 1.0:
        raise ValueError(
            f"n_permutations={n_permutations!r}: a p-value of {level:g} needs at least {math.ceil(1.0 / level) - 1}."
        )
