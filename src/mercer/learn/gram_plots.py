"""A picture of the Gram matrices of a deep kernel machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mercer.errors import MissingExtra, ShapeError

__all__ = ["draw_gram_matrices"]


def draw_gram_matrices(matrices: Sequence[Any], y: Any = None, axes: Any = None) -> Any:
    """Cosines of Gram matrices ``(m, m)``, one beside the other; rows sorted by y where it is given."""
    rows = np.arange(len(matrices[0])) if y is None else np.argsort(np.asarray(y), kind="stable")
    if len(rows) != len(matrices[0]):
        raise ShapeError(f"plot_gram_matrices: y must have one value for each of the {len(matrices[0])} rows.")
    if axes is None:
        try:
            from matplotlib import pyplot
        except ImportError:
            raise MissingExtra("Plots need matplotlib: pip install 'mercer[tables]'") from None
        size = (2.6 * len(matrices) + 0.6, 2.8)
        axes = pyplot.subplots(1, len(matrices), figsize=size, layout="constrained", squeeze=False)[1][0]
    axes = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if len(axes) != len(matrices):
        raise ShapeError(f"plot_gram_matrices needs {len(matrices)} axes, one a layer and the inputs, not {len(axes)}.")
    for layer, (ax, G) in enumerate(zip(axes, matrices, strict=True)):
        size_of_row = np.sqrt(np.maximum(np.diag(G), np.finfo(np.float64).tiny))
        cosines = (G / size_of_row[:, None] / size_of_row)[np.ix_(rows, rows)]
        image = ax.imshow(cosines, cmap="PuOr_r", vmin=-1.0, vmax=1.0, interpolation="nearest")
        ax.set_title("inputs" if layer == 0 else f"layer {layer}", loc="left", fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
    axes[-1].figure.colorbar(image, ax=axes[-1], fraction=0.046, label="cosine")
    return axes
