"""A picture of where two samples differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mercer.plots import BLUE, GREY, ORANGE, axes_or_new

__all__ = ["draw_witness"]

_STEPS = 60  # of the grid of a map in each direction


def draw_witness(witness: Callable[[Any], Any], X: Any, Y: Any, ax: Any = None) -> Any:
    """Two samples, and the function that says where they differ; of one or two columns."""
    d = X.shape[1]
    if d > 2:
        raise ValueError(f"plot_witness draws samples of one or two columns, not {d}. Use witness(Z) and plot a part.")
    ax = axes_or_new(ax)
    both = np.concatenate([X, Y])
    low, high = both.min(0), both.max(0)
    margin = 0.05 * np.where(high > low, high - low, 1.0)
    if d == 1:
        grid = np.linspace(low[0] - margin[0], high[0] + margin[0], 400)
        values = witness(grid[:, None])
        ax.fill_between(grid, values, 0.0, where=values > 0, color=BLUE, alpha=0.3, lw=0)
        ax.fill_between(grid, values, 0.0, where=values < 0, color=ORANGE, alpha=0.3, lw=0)
        ax.plot(grid, values, color=GREY, lw=1.0)
        reach = float(np.abs(values).max()) or 1.0
        for sample, color, label, height in ((X, BLUE, "X", -1.15), (Y, ORANGE, "Y", -1.3)):
            ax.plot(sample[:, 0], np.full(len(sample), height * reach), "|", color=color, ms=6, label=label)
        ax.set_ylabel("witness")
    else:
        first, second = (np.linspace(low[j] - margin[j], high[j] + margin[j], _STEPS) for j in (0, 1))
        grid = np.stack([g.ravel() for g in np.meshgrid(first, second)], 1)
        values = witness(grid).reshape(_STEPS, _STEPS)
        reach = float(np.abs(values).max()) or 1.0
        ax.contourf(first, second, values, levels=np.linspace(-reach, reach, 15), cmap="PuOr")
        for sample, color, label in ((X, BLUE, "X"), (Y, ORANGE, "Y")):
            ax.plot(sample[:, 0], sample[:, 1], ".", color=color, ms=3, label=label)
    ax.legend(frameon=False)
    return ax
