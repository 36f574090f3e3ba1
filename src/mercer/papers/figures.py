"""Figures of the papers: one style, drawn without a screen, the same bytes every time."""

import io
from collections.abc import Callable
from typing import Any

__all__ = ["COLOURS", "draw_svg"]

# Told apart also by those who see red and green alike (Okabe and Ito 2008), the first four in the order they are used.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: small files that can be searched
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "xtick.color": "#888888",
    "ytick.color": "#888888",
    "xtick.labelcolor": "#333333",
    "ytick.labelcolor": "#333333",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
}


def draw_svg(draw: Callable[[Any], object], *, width: float, height: float, salt: str) -> str | None:
    """The SVG of what ``draw`` draws on an empty figure, or None without matplotlib.

    Args:
        draw: takes a :class:`matplotlib.figure.Figure`.
        width: in inches.
        height: in inches.
        salt: makes the ids inside the file the same in every run, and different from those of other figures.
    """
    try:
        from cycler import cycler
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return None
    style: Any = _STYLE | {"axes.prop_cycle": cycler(color=COLOURS), "svg.hashsalt": salt}
    buffer = io.StringIO()
    with rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
