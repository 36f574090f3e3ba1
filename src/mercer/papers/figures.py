"""Figures of the papers: one style, drawn without a screen, the same bytes every time."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["COLOURS", "Curve", "curves", "draw_svg"]

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
    "lines.markersize": 4.0,
    "figure.facecolor": "white",
}


class Curve:
    """A line or points of a figure.

    Args:
        x: ``(n,)``.
        y: ``(n,)``, or ``(n, k)`` for k of one kind.
        look: matplotlib's short form: ``"o-"``, ``"C1--"``.
        label: in the legend; None leaves it out.
        options: more of what ``axes.plot`` takes, such as ``alpha=0.5``.
    """

    def __init__(self, x: Any, y: Any, look: str = "-", label: str | None = None, **options: Any) -> None:
        self.x, self.y, self.look, self.label, self.options = x, y, look, label, options


def curves(what: Sequence[Curve] | Mapping[str, Sequence[Curve]], **properties: Any) -> Callable[[Any], None]:
    """What ``run.figure`` takes, for a figure of curves with a legend.

    Args:
        what: the curves; or by title those of several panels, side by side with one scale upwards.
        properties: of the axes: ``xlabel="round"``, ``yscale="log"``, ``ylim=(0, 1)``.

    >>> draw = curves([Curve([0, 1], [1.0, 0.5], "o-", "measured")], xlabel="round", ylabel="error")
    """
    panels = what if isinstance(what, Mapping) else {"": what}

    def draw(figure: Any) -> None:
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, found) in zip(row, panels.items(), strict=True):
            for curve in found:
                axes.plot(curve.x, curve.y, curve.look, label=curve.label, **curve.options)
            axes.set(title=title, **properties)
            if any(curve.label for curve in found):
                axes.legend(fontsize=8)

    return draw


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
