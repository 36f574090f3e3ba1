"""Distances between samples, and their floor: the value between two true samples of one distribution.

Every distance here takes numpy, pandas or torch, ``(n, d)`` or ``(n,)``, and gives a float, or a tensor with a gradient
where a tensor was given. None of two finite samples of one distribution is 0: compare with :func:`floor`.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.kernels import RBF, Kernel, parse
from mercer.kernels.binder import Binder
from mercer.metrics.samples import Samples, as_sample, check_order, distances_apart, root
from mercer.metrics.sinkhorn import sinkhorn_divergence
from mercer.metrics.transport import coupling_of_quantiles, wasserstein
from mercer.operators.maps import Expression, make

__all__ = [
    "energy_distance",
    "floor",
    "median_distance",
    "mmd",
    "sinkhorn_divergence",
    "sliced_wasserstein",
    "wasserstein",
]

_TOGETHER = 32  # projections sorted at a time


class _Distance(Kernel):
    """|x - y|, which is no kernel but a distance: only differences of its sums mean anything."""

    in_grammar = False

    def trace(self, binder: Binder) -> list[Expression]:
        """The root of the squared distance."""
        return [make("sqrt", binder.squared_distance(torch.ones((), dtype=torch.float64)))]


def energy_distance(X: Any, Y: Any) -> Any:
    r"""The energy distance, as ``scipy.stats.energy_distance`` but in any number of columns.

    .. math:: (2\, E\lVert x - y \rVert_2 - E\lVert x - x' \rVert_2 - E\lVert y - y' \rVert_2)^{1/2}

    Args:
        X, Y: ``(n, d)`` and ``(m, d)``, or ``(n,)``.

    Returns:
        A float; a tensor ``()`` if X or Y is one. Means are over all pairs, those of a point with itself included.

    Cost: one pass over (n + m)^2 / 2 pairs; nothing stored.
    Source: Szekely & Rizzo, Energy statistics, J. Statistical Planning and Inference 143 (2013).

    >>> round(energy_distance([0.0, 0.0], [1.0, 1.0]), 4)
    1.4142
    """
    samples = Samples.of(X, Y)
    both, n, m = torch.cat([samples.X, samples.Y]), len(samples.X), len(samples.Y)
    signed = torch.cat([both.new_full((n,), 1.0 / n), both.new_full((m,), -1.0 / m)])
    return samples.answer(root(-(signed * (_Distance()(both) @ signed)).sum(), 2.0))


def mmd(X: Any, Y: Any, *, kernel: Kernel | str | None = None) -> Any:
    r"""The maximum mean discrepancy: the distance of the samples' mean embeddings.

    .. math:: (E\, k(x, x') + E\, k(y, y') - 2\, E\, k(x, y))^{1/2}

    Args:
        X, Y: ``(n, d)`` and ``(m, d)``, or ``(n,)``.
        kernel: a mercer kernel or its text; None is RBF with :func:`median_distance` of both samples together.

    Returns:
        A float; a tensor ``()`` if X or Y is one. Pairs of a point with itself are counted, so it is not unbiased; see
        :meth:`mercer.kernels.MeanEmbedding.squared_distance` and :class:`mercer.learn.MMDTest`.

    Cost: one pass over (n + m)^2 / 2 pairs; nothing stored.
    Source: Gretton et al., A kernel two-sample test, JMLR 13 (2012), eq. 5.

    >>> round(mmd([0.0, 1.0], [0.0, 1.5], kernel="RBF()"), 4)
    0.2424
    """
    samples = Samples.of(X, Y)
    if kernel is None:
        kernel = RBF(lengthscale=median_distance(samples.X, samples.Y))
    chosen = parse(kernel) if isinstance(kernel, str) else kernel
    return samples.answer(chosen.mean_embedding(samples.X).distance(chosen.mean_embedding(samples.Y)))


def median_distance(X: Any, Y: Any = None, *, max_points: int = 1000, random_state: Any = 0) -> float:
    """The median distance between different points of a sample, or of two together: a usual lengthscale.

    Args:
        X, Y: ``(n, d)``, ``(m, d)``; Y may be left out.
        max_points: where there are more, so many are drawn.
        random_state: of that draw.

    Returns:
        A float, also for tensors. Pairs at distance 0 do not count.

    Raises:
        ValueError: all points are equal.

    >>> median_distance([0.0, 1.0, 3.0])
    2.0
    """
    points = as_sample(X, "X") if Y is None else torch.cat([(s := Samples.of(X, Y)).X, s.Y])
    apart = distances_apart(points.detach(), max_points=max_points, random_state=random_state)
    if len(apart) == 0:
        raise ValueError("median_distance: all points are equal, so there is no lengthscale. Give a kernel.")
    return float(np.median(apart.cpu().numpy()))


def sliced_wasserstein(X: Any, Y: Any, *, p: float = 2, n_projections: int = 100, random_state: Any = 0) -> Any:
    r"""The sliced Wasserstein distance: Wasserstein distances of projections on random directions, averaged.

    .. math:: (\frac1L \sum_l W_p^p(X u_l, Y u_l))^{1/p}, \quad \lVert u_l \rVert_2 = 1

    In d columns it is smaller than :func:`wasserstein`: of two point masses by the root of 1 / d for p = 2.

    Args:
        X, Y: ``(n, d)`` and ``(m, d)``, or ``(n,)``.
        p: the order, >= 1.
        n_projections: L; the error falls as its root.
        random_state: int, generator or None, of the directions.

    Returns:
        A float; a tensor ``()`` if X or Y is one.

    Raises:
        ValueError: an order below 1, NaN, or no projection.

    Cost: L sorts of n + m numbers.
    Source: Bonneel et al., Sliced and Radon Wasserstein barycenters of measures (2015), definition 1.

    >>> round(sliced_wasserstein([0.0, 1.0], [3.0, 4.0], p=1), 4)
    3.0
    """
    p = check_order(p)
    _check_count("n_projections", n_projections)
    samples = Samples.of(X, Y)
    x, y = samples.X, samples.Y
    drawn = torch.randn(n_projections, x.shape[1], dtype=torch.float64, generator=generator(random_state))
    directions = (drawn / drawn.norm(dim=1, keepdim=True)).to(x.device)
    i, j, mass = coupling_of_quantiles(*samples.weights())
    total: Tensor = x.new_zeros(())
    for some in directions.split(_TOGETHER):
        left, right = ((points @ some.mT).sort(0).values for points in (x, y))
        total = total + (mass @ (left[i] - right[j]).abs() ** p).sum()
    return samples.answer(root(total / n_projections, p))


def floor(distance: Callable[..., Any], X: Any, *, n_splits: int = 20, random_state: Any = 0, **options: Any) -> float:
    """What a distance gives between two true samples of one distribution: the mean over random halves of X.

    ``distance(X, Y)`` near ``floor(distance, X)`` is no sign of a difference. The halves are smaller than X, so the
    floor of samples as large as X is lower: by about the root of 2 where the distance falls as ``n^(-1/2)``.

    Args:
        distance: any of this module, or another function of two samples that gives a number.
        X: ``(n, d)`` or ``(n,)``, at least two points.
        n_splits: how often X is split.
        random_state: int, generator or None, of the splits.
        options: passed on to ``distance``.

    Raises:
        ValueError: fewer than two points, or no split.

    >>> X = np.random.default_rng(0).normal(size=400)
    >>> floor(wasserstein, X) < 0.2 < wasserstein(X, X + 0.5)
    True
    """
    _check_count("n_splits", n_splits)
    points = as_sample(X, "X").detach()
    half = len(points) // 2
    if half == 0:
        raise ValueError("floor needs at least two points, to split them.")
    draw = generator(random_state)
    values = []
    for _ in range(n_splits):
        rows = torch.randperm(len(points), generator=draw).to(points.device)
        values.append(float(distance(points[rows[:half]], points[rows[half : 2 * half]], **options)))
    return float(np.mean(values))


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name}={value!r}: it must be a whole number >= 1.")
