"""Pathfinder: are two dots on one dashed curve, or on two? Images generated as for the Long Range Arena."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mercer.data.lra.paddles import Canvas, Paddle
from mercer.data.lra.task import Split
from mercer.progress import Progress, track

__all__ = ["make_pathfinder"]

Array = np.ndarray[Any, Any]
_MOST_SEEDS = 500  # that are tried for a snake
_RETREAT, _MOST_RETREATS = 3, 20  # paddles that are taken back where a snake is stuck, and how often in an image


@dataclass(frozen=True)
class Settings:
    """What the Long Range Arena changed of the generator's defaults, by the size of the image.

    Lengths are in pixels, but ``contour_length`` and ``distractor_length``, which count paddles.
    """

    margins: tuple[int, ...]
    seed_distance: int
    marker_radius: float
    thickness: float
    paddle_length: int
    continuity: float
    distractors: int  # paddles of all distractors together
    contrast: float
    paddle_contrast: float = 1.0
    padding: int = 1
    retries: int = 4


SETTINGS = {
    32: Settings((1,), 7, 1.5, 0.5, 2, 1.0, 20, 2.0, 0.75),
    64: Settings((1,), 12, 2.5, 1.0, 5, 1.8, 22, 0.8),
    128: Settings((2, 3), 20, 3.0, 1.5, 5, 1.8, 35, 0.9),
    256: Settings((3,), 27, 5.0, 2.0, 5, 1.8, 30, 1.0, padding=22),
}


def make_pathfinder(
    n_samples: int, *, size: int = 32, contour_length: int = 14, distractors: int | None = None, random_state: int = 0
) -> Split:
    r"""Images with two long dashed curves, short ones beside them and two dots, and whether the dots are on one curve.

    A curve ("snake") grows by paddles: from a pivot a margin beyond the last one, the end of the next is drawn from
    the circle around it with a probability like :math:`\cos^2(\min(c \, \delta, \pi / 2))` of its turn
    :math:`\delta`, c the continuity, where nothing is within a margin. The two long ones begin ``seed_distance`` apart
    near the middle and grow in turns. Distractors of a third of their paddles follow. The label is 1 where both dots
    are at the ends of one curve, else they are at an end of each.

    The settings are those of the Long Range Arena, its 128 x 128 images being its PathX. What differs from the public
    generator: where a curve gets stuck, the last three paddles of both are drawn anew, and not the whole image (of
    which, by its rule, none of 154 tries at 64 and of 98 at 128 pixels came to an end); lines are drawn by area and not
    through an image library's filters; masks are sets of pixels.

    Args:
        n_samples: images.
        size: 32, 64, 128 or 256 pixels.
        contour_length: paddles of the long curves: 6 is the easy task, 9 the intermediate one, 14 the one that counts.
        distractors: short curves; None is the official number.
        random_state: seed.

    Returns:
        Pixels row by row, ``(n, size * size)`` uint8, and labels ``(n,)``.

    Raises:
        ValueError: another size, or a contour of fewer than 3 paddles.

    Source: Linsley et al., Learning long-range spatial dependencies with horizontal gated recurrent units (NeurIPS
    2018), and the rules of drewlinsley/pathfinder; settings: google-research/long-range-arena,
    lra_benchmarks/data/pathfinder.py.

    >>> images = make_pathfinder(4, contour_length=6)
    >>> images.inputs.shape, images.inputs.dtype, int(images.inputs.max()), set(images.targets) <= {0, 1}
    ((4, 1024), dtype('uint8'), 255, True)
    """
    if size not in SETTINGS:
        raise ValueError(f"make_pathfinder(size={size}): the arena has {', '.join(map(str, SETTINGS))}.")
    if contour_length < 3 or n_samples < 0:
        raise ValueError(f"make_pathfinder(contour_length={contour_length}): a contour has at least 3 paddles.")
    settings, draw = SETTINGS[size], np.random.default_rng(random_state)
    if distractors is not None:
        settings = replace(settings, distractors=distractors * (contour_length // 3))
    X, y = np.zeros((n_samples, size, size), dtype=np.uint8), np.zeros(n_samples, dtype=np.int64)
    progress: Progress[int] = track(None, description="drawing images", total=n_samples)
    with progress:
        for i in range(n_samples):
            X[i], y[i] = _image(draw, size, settings, contour_length)
            progress.advance()
    return Split(X.reshape(n_samples, size * size), y)


def _image(draw: np.random.Generator, size: int, settings: Settings, contour_length: int) -> tuple[Array, int]:
    label = int(draw.integers(2))
    canvas = Canvas(
        size,
        margin=int(draw.choice(settings.margins)),
        length=settings.paddle_length,
        thickness=settings.thickness,
        padding=settings.padding,
    )
    ends = None
    while ends is None:
        canvas.clear()
        ends = _two_snakes(draw, canvas, settings, contour_length)
    _distractors(draw, canvas, settings, contour_length // 3)
    first = int(draw.integers(2))
    (begin, _), (_, end) = ends[first], ends[first if label else 1 - first]
    canvas.dot(begin, settings.marker_radius)
    canvas.dot(end, settings.marker_radius)
    return canvas.pixels(), label


def _two_snakes(
    draw: np.random.Generator, canvas: Canvas, settings: Settings, contour_length: int
) -> list[tuple[Array, Array]] | None:
    """The beginnings and ends of two snakes, ``(row, column)`` each; None where one gets stuck."""
    first = _first_seed(draw, canvas, 2 * settings.seed_distance)
    second = None if first is None else _seed_near(draw, canvas, first.tail, settings.seed_distance)
    if first is None or second is None:
        return None
    begins, history = (first.tail, second.tail), [(first, second)]
    masks = [canvas.blocked.copy()]  # what was blocked when each pair of paddles was found
    for _ in range(_MOST_RETREATS * contour_length):
        if len(history) == contour_length:
            break
        canvas.blocked = masks[-1].copy()
        pair = _next_pair(draw, canvas, history[-1], settings.continuity)
        if pair is not None:
            history.append(pair)
            masks.append(canvas.blocked)
        else:
            kept = max(1, len(history) - _RETREAT)
            del history[kept:], masks[kept:]
    if len(history) < contour_length:
        return None
    for paddle in history[-1]:
        canvas.block(paddle)
    for pair in history:
        for paddle in pair:
            canvas.draw(paddle, settings.contrast * settings.paddle_contrast)
    return [(begins[i], history[-1][i].head) for i in (0, 1)]


def _next_pair(
    draw: np.random.Generator, canvas: Canvas, last: tuple[Paddle, Paddle], continuity: float
) -> tuple[Paddle, Paddle] | None:
    """The next paddle of each snake; the last ones are blocked from then on."""
    found = []
    for paddle in last:
        following = canvas.extend(draw, paddle, continuity)
        if following is None:
            return None
        canvas.block(paddle)  # only now: a paddle may touch its own next one, not others
        found.append(following)
    return found[0], found[1]


def _first_seed(draw: np.random.Generator, canvas: Canvas, border: int) -> Paddle | None:
    """A paddle that begins so many pixels from the border, or as near to that as its own length."""
    for _ in range(_MOST_SEEDS):
        angle = math.radians(int(draw.integers(-180, 180)))
        places = np.arange(min(border, (canvas.size - 1) // 2), max(canvas.size - border, canvas.size // 2 + 1))
        tail = draw.choice(places, size=2)
        paddle = canvas.from_tail(tail, angle)
        if canvas.is_inside(paddle):
            return paddle
    return None


def _seed_near(draw: np.random.Generator, canvas: Canvas, tail: Array, distance: int) -> Paddle | None:
    """A paddle that begins at a distance from a point, in any direction."""
    for _ in range(_MOST_SEEDS):
        angle, around = (math.radians(int(draw.integers(360))) for _ in range(2))
        start = np.rint(tail + distance * np.array([math.sin(around), math.cos(around)])).astype(int)
        paddle = canvas.from_tail(start, angle)
        if canvas.is_inside(paddle):
            return paddle
    return None


def _distractors(draw: np.random.Generator, canvas: Canvas, settings: Settings, length: int) -> None:
    """Short snakes where there is room; what finds none is left out."""
    for _ in range(settings.distractors // max(1, length)):
        for _ in range(settings.retries + 1):
            snake = _one_snake(draw, canvas, settings, length)
            if snake is not None:
                for paddle in snake:
                    canvas.draw(paddle, settings.contrast)
                    canvas.block(paddle)
                break


def _one_snake(draw: np.random.Generator, canvas: Canvas, settings: Settings, length: int) -> list[Paddle] | None:
    angle = math.radians(int(draw.integers(-180, 180)))
    tail = canvas.free_tail(draw, angle)
    if tail is None:
        return None
    snake = [canvas.from_tail(tail, angle)]
    if not canvas.is_inside(snake[0]):
        return None
    trial = canvas.copy()
    for _ in range(length - 1):
        following = trial.extend(draw, snake[-1], settings.continuity)
        if following is None:
            return None
        trial.block(snake[-1])
        snake.append(following)
    return snake
