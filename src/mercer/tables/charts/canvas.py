"""The paper every chart is drawn on: inline SVG whose colours come from the page, so it fits light and dark mode."""

import io
import re
from itertools import count
from typing import Any

import numpy as np

from mercer.errors import MissingExtra

__all__ = ["COLOURS", "INK", "MUTED", "canvas", "compact", "draw_density", "shown", "svg"]

# Colours that nothing else uses; in the SVG each becomes a variable of the page's style sheet.
INK, MUTED, GRID, KERNEL, BOOSTING, RIDGE, BAND, PAPER, FEATURES = (f"#0000a{digit}" for digit in range(1, 10))
COLOURS = {
    "kernel": KERNEL,
    "features": FEATURES,
    "boosting": BOOSTING,
    "ridge": RIDGE,
    "band": BAND,
    "paper": PAPER,
}
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    KERNEL: "var(--kernel)",
    FEATURES: "var(--features)",
    BOOSTING: "var(--boosting)",
    RIDGE: "var(--ridge)",
    BAND: "var(--band)",
    PAPER: "var(--card)",
}
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be selected, and takes the page's font
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
}
_NUMBERS = count()


def canvas(*, width: float = 4.6, height: float = 3.1) -> tuple[Any, Any]:
    """A figure and its axes, in inches: wide as a phone, so that text is as large there as on a desk.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("The report's charts need matplotlib: pip install 'mercer[tables]'") from None
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
    return figure, axes


def svg(figure: Any, *, title: str) -> str:
    """The figure as an ``<svg>`` element to put into a page; ``title`` is what a screen reader says."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    number = next(_NUMBERS)  # every id is unique in the page
    text = re.sub(r'\bid="([^"]+)"', rf'id="c{number}-\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\1c{number}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px; font-family: inherit", text)
    head = re.search(r'viewBox="[^"]*"', text)
    assert head is not None, "matplotlib no longer writes a viewBox"
    body = text[text.index(">") + 1 :]
    label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    opening = f'<svg role="img" aria-label="{label}" {head[0]} xmlns:xlink="http://www.w3.org/1999/xlink">'
    return "\n".join(line.strip() for line in (opening + body).splitlines() if line.strip())


def draw_density(axes: Any, x: np.ndarray, y: np.ndarray, *, colour: str, log: bool = False) -> None:
    """Points as points where they are few, as hexagons that are stronger where there are more, where they are many."""
    from matplotlib.colors import to_rgba

    if len(x) <= 600:
        axes.scatter(x, y, s=9, color=colour, alpha=0.5, linewidths=0)
        if log:
            axes.set(xscale="log", yscale="log")
        return
    scale = "log" if log else "linear"
    hexagons = axes.hexbin(x, y, gridsize=38, mincnt=1, xscale=scale, yscale=scale, linewidths=0.15)
    counts = np.asarray(hexagons.get_array(), dtype=np.float64)
    strength = 0.16 + 0.84 * np.log1p(counts) / np.log1p(counts.max())
    colours = np.tile(to_rgba(colour), (len(counts), 1))
    colours[:, 3] = strength
    hexagons.set_array(None)
    hexagons.set(facecolor=colours, edgecolor=colours)


def shown(score: str) -> str:
    """A score's name as a person writes it."""
    return score.replace("R2", "R²")


def compact(value: float, _position: int | None = None) -> str:
    """A tick label: 2,500 is ``2.5k``, 43,152 is ``43k``.

    >>> compact(2500), compact(1e6), compact(0.25), compact(-43152)
    ('2.5k', '1M', '0.25', '-43k')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.{2 if abs(value) < 100 * size else 3}g}{letter}"
    return f"{value:.3g}"
