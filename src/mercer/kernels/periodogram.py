"""The waves in data, found one after the other: where a spectral mixture starts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mercer.arrays import as_tensor
from mercer.errors import ShapeError

MOST_ROWS = 2000
MOST_FREQUENCIES = 20_000  # times 2000 rows: two matrix products of 4e7 entries, in blocks
OVERSAMPLING = 6  # grid points to a peak; the top of a peak is then at most 2 % higher than the best of them
BLOCK = 1 << 19  # points times frequencies held at once, in each of a few temporaries: 4 MB
MOST_COLUMNS = 6  # 2^d products of cosines and sines make a wave

Array = np.ndarray[Any, np.dtype[np.float64]]


class Waves(NamedTuple):
    """``weights`` (Q,), ``frequencies`` (Q, d) in cycles per unit, ``lengthscales`` (Q, d)."""

    weights: Array
    frequencies: Array
    lengthscales: Array


def find_waves(X: Any, y: Any, n_components: int, max_frequency: float | Sequence[float] | None = None) -> Waves:
    """The ``n_components`` sinusoids that explain y best, each after those before; see
    :meth:`mercer.kernels.SpectralMixture.from_data`, which has the arguments and errors."""
    points, values = _checked(X, y)
    n, d = points.shape
    extent = np.ptp(points, axis=0)
    highest = _highest(points, max_frequency)
    if n > MOST_ROWS:
        chosen = np.random.default_rng(0).choice(n, MOST_ROWS, replace=False)
        points, values = points[chosen], values[chosen]
    points = points - points.mean(0)
    variance = float(values.var())
    residual = values - values.mean()
    grid = _candidates(extent, highest)

    frequencies = np.zeros((n_components, d))
    lengthscales = np.zeros((n_components, d))
    for q in range(n_components):
        power = _power(points, residual, grid)
        best, step = grid[int(power.argmax())], np.full(d, 1.0) / (OVERSAMPLING * extent)
        best = _refined(points, residual, best, step if d == 1 else 2.0 * step, highest)
        frequencies[q] = best
        for j in range(d):
            width = _half_width(points, residual, best, j, 1.0 / extent[j])
            # a Gaussian peak falls to a half at 1.18 standard deviations, and has lengthscale 1 / (2 pi deviation)
            lengthscales[q, j] = math.sqrt(2.0 * math.log(2.0)) / (2.0 * math.pi * width)
        design, amplitudes = _fit(points, values - values.mean(), frequencies[: q + 1])
        residual = values - values.mean() - design @ amplitudes
    weights = (amplitudes[1:].reshape(n_components, -1) ** 2).mean(1)  # the mean square of each product is 2^-d
    # a weight of 0 could never grow: its slope in log(weight) is 0
    weights = np.maximum(weights, 1e-4 * max(float(weights.max()), 1e-300))
    return Waves(weights * (variance / weights.sum() if variance > 0.0 else 1.0), frequencies, lengthscales)


def _checked(X: Any, y: Any) -> tuple[Array, Array]:
    points: Array = as_tensor(X).detach().cpu().double().numpy()
    values: Array = as_tensor(y).detach().cpu().double().numpy()
    if points.ndim != 2 or values.shape != points.shape[:1]:
        raise ShapeError(f"from_data needs X (n, d) and y (n,), not {points.shape} and {values.shape}.")
    if len(points) < 4:
        raise ValueError(f"from_data has {len(points)} rows; a wave needs at least 4.")
    if not (np.isfinite(points).all() and np.isfinite(values).all()):
        raise ValueError("from_data: X or y contains NaN or infinity. Drop these rows, or fill the values in.")
    if points.shape[1] > MOST_COLUMNS:
        raise ValueError(
            f"from_data looks at no more than {MOST_COLUMNS} columns, and X has {points.shape[1]}. "
            f"Choose some, and use the kernel .on them."
        )
    constant = np.flatnonzero(np.ptp(points, axis=0) == 0.0)
    if len(constant):
        raise ValueError(f"from_data: column {constant[0]} of X, counted from 0, is constant: it has no frequencies.")
    return points, values


def _highest(points: Array, given: float | Sequence[float] | None) -> Array:
    """The highest frequency to look at in each column."""
    d = points.shape[1]
    if given is not None:
        highest = np.broadcast_to(np.asarray(given, dtype=np.float64), (d,))
        if not (np.isfinite(highest).all() and (highest > 0.0).all()):
            raise ValueError(f"from_data(max_frequency={given!r}): it must be > 0 and finite.")
        return np.array(highest)
    return np.array([0.5 / np.median(np.diff(np.unique(points[:, j]))) for j in range(d)])


def _candidates(extent: Array, highest: Array) -> Array:
    """Frequencies to try: a grid finer than a peak is wide for one column, points of a Sobol sequence for more."""
    cells = extent * highest * OVERSAMPLING
    if len(extent) == 1:
        count = int(min(MOST_FREQUENCIES, max(2.0, math.ceil(cells[0])))) + 1
        return np.linspace(0.0, highest[0], count)[:, None]
    from torch.quasirandom import SobolEngine

    unit = SobolEngine(len(extent), scramble=True, seed=0).draw(1 << 12).double().numpy()
    # waves along one column are the common case, and a set of measure zero
    axes = [np.zeros((257, len(extent))) for _ in extent]
    for j, lines in enumerate(axes):
        lines[:, j] = np.linspace(0.0, 1.0, 257)
    return np.concatenate([unit, *axes]) * highest


def _power(points: Array, residual: Array, frequencies: Array) -> Array:
    """How much of the sum of squares the best sinusoid of each frequency explains, ``(F,)``."""
    found = []
    size = max(1, BLOCK // len(points))
    for start in range(0, len(frequencies), size):
        phase = 2.0 * np.pi * points @ frequencies[start : start + size].T
        C, S = np.cos(phase), np.sin(phase)
        c, s = residual @ C, residual @ S
        cc, ss, cs = (C * C).sum(0), (S * S).sum(0), (C * S).sum(0)
        determinant = cc * ss - cs * cs
        enough = determinant > 1e-6 * (cc + ss) ** 2
        both = (c * c * ss - 2.0 * c * s * cs + s * s * cc) / np.where(enough, determinant, 1.0)
        alone = c * c / np.maximum(cc, 1e-300)  # near frequency 0 the sine is no function of its own
        found.append(np.where(enough, both, alone))
    return np.concatenate(found)


def _refined(points: Array, residual: Array, start: Array, step: Array, highest: Array) -> Array:
    """The top of the peak next to ``start``: a search along each column with steps that halve."""
    best, top = start, float(_power(points, residual, start[None])[0])
    for _ in range(24):
        moved = False
        for j in range(len(best)):
            tries = np.repeat(best[None], 2, 0)
            tries[:, j] += np.array([-step[j], step[j]])
            tries = np.clip(tries, 0.0, highest)
            power = _power(points, residual, tries)
            if power.max() > top:
                best, top, moved = tries[int(power.argmax())], float(power.max()), True
        if not moved:
            step = step / 2.0
    return best


def _half_width(points: Array, residual: Array, top: Array, j: int, resolution: float) -> float:
    """How far in column j the power stays above a half of the peak's, to the nearer side."""
    offsets = np.geomspace(0.05, 50.0, 60) * resolution
    highest = float(_power(points, residual, top[None])[0])
    widths = []
    for side in (-1.0, 1.0):
        lines = np.repeat(top[None], len(offsets), 0)
        lines[:, j] += side * offsets
        below = np.flatnonzero(_power(points, residual, np.abs(lines)) < 0.5 * highest)
        widths.append(offsets[below[0]] if len(below) else offsets[-1])
    return float(min(widths))


def _fit(points: Array, values: Array, frequencies: Array) -> tuple[Array, Array]:
    """Least squares of a constant and, for each wave, all products of a cosine or sine a column; the design and its
    coefficients, ``1 + Q 2^d``."""
    columns = [np.ones(len(points))]
    for wave in frequencies:
        phase = 2.0 * np.pi * points * wave
        sides = [(np.cos(p), np.sin(p)) for p in phase.T]
        columns += [np.prod(chosen, axis=0) for chosen in itertools.product(*sides)]
    design = np.stack(columns, 1)
    coefficients: Array = np.linalg.lstsq(design, values, rcond=1e-10)[0].astype(np.float64)
    return design, coefficients
