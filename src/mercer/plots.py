"""Axes to draw on, and the colours that mercer's plots share."""

from __future__ import annotations

from typing import Any

from mercer.errors import MissingExtra

__all__ = ["BLUE", "GREY", "ORANGE", "axes_or_new"]

BLUE, ORANGE, GREY = "#2a6f97", "#e07a1f", "#8d99ae"


def axes_or_new(axes: Any = None, *, size: tuple[float, float] = (6.0, 3.6)) -> Any:
    """The matplotlib axes given, or those of a new figure of pyplot's, which notebooks show by themselves.

    Args:
        axes: to draw into; None makes a figure.
        size: of a new figure, width and height in inches.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    if axes is not None:
        return axes
    try:
        from matplotlib import pyplot
    except ImportError:
        raise MissingExtra("Plots need matplotlib: pip install 'mercer[tables]'") from None
    return pyplot.subplots(figsize=size, layout="constrained")[1]
