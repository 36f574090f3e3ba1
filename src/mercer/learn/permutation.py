"""What permutation tests with one kernel or several share: their kernels, and what the permutations say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.base import BaseEstimator
from torch import Tensor

from mercer.arguments import check_whole
from mercer.kernels import RBF, Kernel, Matern, parse
from mercer.learn.saving import Saved
from mercer.metrics import median_distance
from mercer.metrics.samples import distances_apart

__all__ = ["STORED", "PermutationTest", "p_values", "resolve_kernels"]

Array = NDArray[np.float64]
STORED = 4000  # rows up to which kernel matrices are kept, if the budget allows
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
        TypeError: something else, or an empty list.
        ValueError: a text that is no kernel, or points that are all equal.
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
    apart = distances_apart(points, max_points=_MOST_POINTS, random_state=random_state).cpu().numpy()
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


class PermutationTest(Saved, BaseEstimator):
    """Base of the tests; a subclass's ``__init__`` stores the arguments read here.

    Attributes:
        p_value_: the share of permutations, the data among them, whose statistic is as large.
        rejected_: whether ``p_value_ <= level``.
        statistic_: one for each kernel, ``(k,)``.
        kernel_p_values_: of each kernel alone, ``(k,)``.
        null_: statistics of the permutations, ``(k, n_permutations)``.
    """

    statistic: str
    n_permutations: int
    level: float
    random_state: Any

    def _check_arguments(self) -> None:
        if self.statistic not in ("unbiased", "biased"):
            raise ValueError(f"statistic={self.statistic!r}: choose 'unbiased' or 'biased'.")
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level={self.level!r}: it must lie between 0 and 1, such as 0.05.")
        check_whole("n_permutations", self.n_permutations)
        if (self.n_permutations + 1) * self.level < 1.0:
            raise ValueError(
                f"n_permutations={self.n_permutations!r}: a p-value of {self.level:g} needs at least "
                f"{math.ceil(1.0 / self.level) - 1}."
            )

    def _conclude(self, statistics: Array) -> None:
        """Fitted attributes from ``(kernels, 1 + permutations)``, the data first."""
        self.statistic_, self.null_ = statistics[:, 0], statistics[:, 1:]
        self.p_value_, self.kernel_p_values_ = p_values(statistics)
        self.rejected_ = bool(self.p_value_ <= self.level)
