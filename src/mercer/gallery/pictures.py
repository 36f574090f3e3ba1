"""Small pictures for pages: figures that follow the reader's light or dark screen, seeds on a line, similarities."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mercer.papers.claim import Quantity, number

__all__ = ["Bar", "Dots", "dots_of", "for_screens", "similarity_bars"]

# The fixed colours of mercer.papers.figures, in the form in which matplotlib writes them, and what they are on a dark
# screen. Images inside of a figure stay as they are: their colours are data.
_DARK = {
    "#ffffff": "#191d24",
    "#e4e4e4": "#2f3642",
    "#888888": "#8a94a6",
    "#333333": "#c3cad6",
    "#000000": "#dfe4ec",
    "#555555": "#a7b0bf",
    "#0072b2": "#4aa8e0",
    "#009e73": "#35bf96",
    "#d55e00": "#f0803c",
    "#cc79a7": "#e08fbd",
    "#2a6f97": "#5aa9d6",
    "#1f77b4": "#4aa8e0",
}
_FONT = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif'
_OPENING = re.compile(r"<svg\b[^>]*>")


def for_screens(svg: str) -> str:
    """A figure with a style sheet of its own that turns its paper and ink on a dark screen, and sets its text.

    Args:
        svg: from :func:`mercer.papers.figures.draw_svg`. Anything that runs is cut out.
    """
    rules = [f"text{{font-family:{_FONT} !important;font-variant-numeric:tabular-nums}}"]
    dark = ["text:not([style*='fill:']){fill:#dfe4ec}"]
    for light, other in _DARK.items():
        for what in ("fill", "stroke"):
            dark.append(f'[style*="{what}: {light}"]{{{what}:{other} !important}}')
    style = f"<style>{''.join(rules)}@media(prefers-color-scheme:dark){{{''.join(dark)}}}</style>"
    safe = re.sub(r"<script\b.*?</script\s*>|<script\b[^>]*/>", "", svg, flags=re.DOTALL | re.IGNORECASE)
    return _OPENING.sub(lambda opening: opening[0] + style, safe, count=1)


@dataclass(frozen=True)
class Dots:
    """The seeds of a quantity on a line, in percent of its width.

    Args:
        dots: one a seed.
        mean: where the number is that the bounds are for.
        keeps: from where to where the bounds are kept; None without bounds.
        left: the number at the left end.
        right: the number at the right end.
    """

    dots: tuple[float, ...]
    mean: float
    keeps: tuple[float, float] | None
    left: str
    right: str


def dots_of(quantity: Quantity, values: Sequence[float]) -> Dots | None:
    """Where the seeds lie; None for one seed, for equal ones, or for values that are not finite.

    >>> dots = dots_of(Quantity("gain", "what is gained", at_least=0.5), [0.0, 1.0])
    >>> dots.keeps[1], round(dots.mean)
    (100.0, 50)
    """
    bounds = [bound for bound in (quantity.at_least, quantity.at_most) if bound is not None and math.isfinite(bound)]
    if len(values) < 2 or not all(map(math.isfinite, values)) or min(values) == max(values):
        return None
    low, high = min([*values, *bounds]), max([*values, *bounds])
    low, high = low - 0.06 * (high - low), high + 0.06 * (high - low)

    def place(value: float) -> float:
        return round(100.0 * (value - low) / (high - low), 2)

    keeps = None
    if quantity.has_bound:
        first = place(quantity.at_least) if quantity.at_least is not None and math.isfinite(quantity.at_least) else 0.0
        last = place(quantity.at_most) if quantity.at_most is not None and math.isfinite(quantity.at_most) else 100.0
        keeps = first, last
    mean = place(quantity.summary(values))
    return Dots(tuple(map(place, values)), mean, keeps, number(min(values)), number(max(values)))


@dataclass(frozen=True)
class Bar:
    """How near a paper is to another, as a bar: height from 0 to 100, and whether it is among the nearest."""

    height: float
    is_near: bool


def similarity_bars(near: Sequence[tuple[str, float]], order: Sequence[str]) -> list[Bar]:
    """A row of the kernel matrix as bars, scaled to the nearest paper.

    Args:
        near: keys and similarities, the nearest first.
        order: of the bars.
    """
    similarity = dict(near)
    largest = max([*similarity.values(), 1e-9])
    nearest = {key for key, _ in near[:3]}
    return [
        Bar(round(100.0 * max(0.0, similarity[key]) / largest, 1), key in nearest) for key in order if key in similarity
    ]
