"""Digits as short noisy series: a data set that is generated, and hard for models that do not see order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mnist1d"]

Array = NDArray[Any]

# The ten shapes of the package mnist1d (Sam Greydanus, Apache-2.0), which its paper draws by hand.
_SHAPES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
_POINTS, _PADDING, _SHIFT = 72, (36, 60), 48  # of a padded series, of zeros appended, of a shift


def mnist1d(n_samples: int = 5000, *, length: int = 40, random_state: int = 0) -> tuple[Array, NDArray[np.int64]]:
    """Ten shapes, padded, stretched, shifted, sheared, and with correlated and white noise: MNIST-1D.

    Args:
        n_samples: series, as many of each digit as possible, in random order.
        length: points of a series.
        random_state: seed.

    Returns:
        Series ``(n_samples, length)`` float64, of mean 0 and deviation 1 over all, and digits ``(n_samples,)``.

    Raises:
        ValueError: no samples, or fewer than two points.

    Source: Greydanus & Kobak, Scaling Down Deep Learning with MNIST-1D (ICML 2024); by the recipe of package mnist1d
    0.0.2, with draws of its own.

    >>> X, y = mnist1d(100, length=64)
    >>> X.shape, np.bincount(y).tolist()
    ((100, 64), [10, 10, 10, 10, 10, 10, 10, 10, 10, 10])
    """
    if n_samples < 1 or length < 2:
        raise ValueError(f"mnist1d(n_samples={n_samples}, length={length}): at least one series of two points.")
    from scipy.ndimage import gaussian_filter1d

    draw = np.random.default_rng(random_state)
    shapes = np.array(_SHAPES)
    shapes = (shapes - shapes.mean(1, keepdims=True)) / shapes.std(1, keepdims=True)
    shapes = (shapes - shapes[:, :1]) / 6.0  # they begin and end at 0
    digits = draw.permutation(np.arange(n_samples) % len(shapes))
    series = np.zeros((n_samples, _POINTS))
    grid = np.linspace(0.0, 1.0, _POINTS)
    for i, digit in enumerate(digits):
        padded = np.concatenate([shapes[digit] + 1e-8, np.zeros(draw.integers(_PADDING[0], _PADDING[1] + 1))])
        x = np.interp(grid, np.linspace(0.0, 1.0, len(padded)), padded)
        series[i] = np.roll(x * (1.0 + 0.4 * (draw.random() - 0.5)), draw.integers(_SHIFT))
    noise = gaussian_filter1d(0.25 * draw.normal(size=series.shape), 2.0, axis=1)
    series = np.where(series != 0.0, series, noise) + 0.02 * draw.normal(size=series.shape)
    series -= 0.75 * (draw.random((n_samples, 1)) - 0.5) * np.linspace(-0.5, 0.5, _POINTS)
    at = np.linspace(0.0, 1.0, length)
    found = np.stack([np.interp(at, grid, x) for x in series])
    return (found - found.mean()) / found.std(), digits.astype(np.int64)
