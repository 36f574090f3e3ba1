"""Pictures of a solution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mercer.plots import BLUE, axes_or_new

if TYPE_CHECKING:
    from mercer.learn.pde.prediction import Prediction

__all__ = ["plot_solution"]


def plot_solution(solver: Prediction, axes: Any, n: int) -> Any:
    """See :meth:`mercer.learn.pde.PDESolver.plot`."""
    names, nodes = solver.names_, solver.nodes_
    if len(names) > 2 or (nodes is None and len(names) > 1):
        raise ValueError("plot draws solutions of one axis or on a grid of two: predict on a slice, and draw that.")
    axes = axes_or_new(axes)
    if len(names) == 1:
        ends = nodes[0][[0, -1]] if nodes is not None else solver._bounds[0]
        x = np.linspace(float(ends[0]), float(ends[1]), n)[:, None]
        mean, std = solver.predict(x, return_std=True)
        axes.fill_between(x[:, 0], mean - 1.96 * std, mean + 1.96 * std, color=BLUE, alpha=0.18, lw=0)
        axes.plot(x[:, 0], mean, color=BLUE, lw=1.2)
        axes.set(xlabel=names[0], ylabel="u")
        return axes
    assert nodes is not None
    x, y = (np.linspace(side[0], side[-1], n) for side in nodes)
    points = np.stack([g.ravel() for g in np.meshgrid(x, y, indexing="ij")], 1)
    values = solver.predict(points).reshape(n, n)
    largest = float(np.abs(values).max()) or 1.0
    extent = (x[0], x[-1], y[0], y[-1])
    image = axes.imshow(
        values.T, extent=extent, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-largest, vmax=largest
    )
    axes.figure.colorbar(image, ax=axes, label="u")
    axes.set(xlabel=names[0], ylabel=names[1])
    return axes
