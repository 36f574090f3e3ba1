"""The short bars of Pathfinder, the picture they are drawn on, and the pixels that they keep from others."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

__all__ = ["Canvas", "Paddle"]

Array = np.ndarray[Any, Any]
_SUBPIXELS = 4  # a side: what a pixel shows is the share of 16 points that a bar covers


@dataclass(frozen=True)
class Paddle:
    """A bar from its tail to its head, ``(row, column)`` each; ``angle`` from one to the other, of a snake growing."""

    tail: Array
    head: Array
    angle: float


class Canvas:
    """A square picture, and where nothing may be drawn any more.

    Args:
        size: pixels a side.
        margin: pixels kept free around every paddle.
        length: of a paddle.
        thickness: of a paddle.
        padding: pixels along the border that are kept free.
    """

    def __init__(self, size: int, *, margin: int, length: int, thickness: float, padding: int) -> None:
        self.size, self.margin, self.length, self.thickness, self.padding = size, margin, length, thickness, padding
        offsets = np.arange(-margin, margin + 1)
        rows, columns = np.meshgrid(offsets, offsets, indexing="ij")
        self.disc = np.argwhere(rows**2 + columns**2 <= margin**2) - margin
        self.clear()

    def clear(self) -> None:
        """An empty picture, blocked along the border only."""
        self.image = np.zeros((self.size, self.size))
        self.blocked = np.ones((self.size, self.size), dtype=bool)
        inner = slice(self.padding, self.size - self.padding)
        self.blocked[inner, inner] = False

    def copy(self) -> Self:
        """Another one with what is blocked here, for trials."""
        other = copy.copy(self)
        other.blocked = self.blocked.copy()
        return other

    def from_tail(self, tail: Array, angle: float) -> Paddle:
        """The paddle that begins at a pixel."""
        return Paddle(np.asarray(tail), _moved(tail, angle, self.length), angle)

    def is_inside(self, paddle: Paddle) -> bool:
        """Whether its head, and the pivot a margin behind its tail, lie in the picture."""
        pivot = _moved(paddle.tail, paddle.angle, -self.margin)
        return all(bool((p >= 0).all() and (p < self.size).all()) for p in (paddle.tail, paddle.head, pivot))

    def draw(self, paddle: Paddle, contrast: float) -> None:
        """Show it, where it is brighter than what is there."""
        window, covered = self._coverage(paddle)
        self.image[window] = np.maximum(self.image[window], contrast * covered)

    def dot(self, center: Array, radius: float) -> None:
        """Show a disc of brightness 1."""
        points = self._points(0, self.size, 0, self.size)
        inside = (points[0] - center[0]) ** 2 + (points[1] - center[1]) ** 2 <= radius**2
        self.image = np.maximum(self.image, _shares(inside))

    def block(self, paddle: Paddle) -> None:
        """Keep a paddle and its margin from others."""
        rows, columns = self._pixels(paddle)
        self.blocked[rows, columns] = True

    def extend(self, draw: np.random.Generator, last: Paddle, continuity: float, retries: int = 2) -> Paddle | None:
        """The next paddle of a snake, or None where it is stuck."""
        pivot = np.ceil(_moved(last.head, last.angle, self.margin) - 1e-9)
        step = self.length + self.margin
        turns = np.radians(np.arange(0.0, 360.0, 360.0 / (2.0 * math.pi * step)))
        exact = pivot + step * np.stack([np.sin(turns), np.cos(turns)], 1)
        inside = ((exact >= 0) & (exact < self.size)).all(1)
        whole = exact[inside].astype(int)
        if not len(whole):
            return None
        codes = np.unique(whole[:, 0] * self.size + whole[:, 1])
        ends = np.stack(np.divmod(codes, self.size), 1)
        moves = ends - pivot
        angles = np.arctan2(moves[:, 0], moves[:, 1])
        delta = np.abs(angles - last.angle)
        delta = np.minimum(delta, 2.0 * math.pi - delta)
        weights = np.cos(np.minimum(continuity * delta, 0.5 * math.pi)).clip(min=0.0) ** 2
        ends, angles, weights = ends[weights > 0.0], angles[weights > 0.0], weights[weights > 0.0]
        near = (ends[:, None, :] + self.disc[None]).clip(0, self.size - 1)  # within a margin of anything
        weights[self.blocked[near[..., 0], near[..., 1]].any(1)] = 0.0
        shares = np.cumsum(weights)
        if not len(shares) or shares[-1] < 1e-4:
            return None
        for _ in range(retries + 1):
            i = int(np.searchsorted(shares, draw.random() * shares[-1], side="right"))
            back = angles[i] + math.pi
            paddle = Paddle(_moved(ends[i], back, self.length), ends[i], float(angles[i]))
            # Edges may meet, as they do where masks are grey: only what the new one covers whole must be free.
            rows, columns = self._pixels(paddle, less=0.5)
            if not self.blocked[rows, columns].any():
                return paddle
        return None

    def free_tail(self, draw: np.random.Generator, angle: float) -> Array | None:
        """A pixel, any with the same chance, from which a paddle at this angle has its margin free; None if none has.

        None too where less than a hundredth of the picture is free.
        """
        free = np.argwhere(~self.blocked)
        if len(free) < 0.01 * self.blocked.size:
            return None
        middle = np.array([self.size // 2, self.size // 2])
        paddle = self.from_tail(middle, angle)
        around = np.stack(self._pixels(paddle), 1) - middle
        for part in np.array_split(draw.permutation(free), max(1, len(free) // 64)):
            needed = part[:, None, :] + around[None]
            outside = ((needed < 0) | (needed >= self.size)).any((1, 2))
            needed = needed.clip(0, self.size - 1)
            fits = ~(outside | self.blocked[needed[..., 0], needed[..., 1]].any(1))
            if fits.any():
                found: Array = part[int(fits.argmax())]
                return found
        return None

    def pixels(self) -> Array:
        """The picture, its brightest pixel 255, uint8."""
        scaled: Array = np.rint(self.image * (255.0 / self.image.max())).astype(np.uint8)
        return scaled

    def _window(self, paddle: Paddle) -> tuple[int, int, int, int]:
        """Rows and columns that it and its margin can reach."""
        low = np.minimum(paddle.tail, paddle.head) - self.margin - math.ceil(self.thickness)
        high = np.maximum(paddle.tail, paddle.head) + self.margin + math.ceil(self.thickness) + 1
        low, high = np.floor(low).clip(0, self.size), np.ceil(high).clip(0, self.size)
        return int(low[0]), int(high[0]), int(low[1]), int(high[1])

    def _coverage(self, paddle: Paddle) -> tuple[tuple[slice, slice], Array]:
        window = self._window(paddle)
        along, across = _coordinates(paddle, self._points(*window))
        length = float(np.hypot(*(paddle.head - paddle.tail)))
        inside = (along >= 0.0) & (along <= length) & (np.abs(across) <= 0.5 * self.thickness)
        return (slice(*window[:2]), slice(*window[2:])), _shares(inside)

    def _pixels(self, paddle: Paddle, *, less: float = 0.0) -> tuple[Array, Array]:
        """The pixels whose centre is within a margin of it, or a little less."""
        top, bottom, left, right = self._window(paddle)
        centers = list(np.meshgrid(np.arange(top, bottom), np.arange(left, right), indexing="ij"))
        along, across = _coordinates(paddle, centers)
        length = float(np.hypot(*(paddle.head - paddle.tail)))
        beyond = along - along.clip(0.0, length)
        rows, columns = np.nonzero(np.hypot(beyond, across) <= self.margin + 0.5 * self.thickness - less)
        return rows + top, columns + left

    @staticmethod
    def _points(top: int, bottom: int, left: int, right: int) -> list[Array]:
        """The points of pixels whose centres are whole numbers, 4 x 4 in each."""
        inner = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
        rows = (np.arange(top, bottom)[:, None] + inner).ravel()
        columns = (np.arange(left, right)[:, None] + inner).ravel()
        return list(np.meshgrid(rows, columns, indexing="ij"))


def _coordinates(paddle: Paddle, points: list[Array]) -> tuple[Array, Array]:
    """Along a paddle from its tail, and across it."""
    direction = (paddle.head - paddle.tail).astype(float)
    direction /= max(1e-9, float(np.hypot(*direction)))
    rows, columns = points[0] - paddle.tail[0], points[1] - paddle.tail[1]
    return rows * direction[0] + columns * direction[1], rows * direction[1] - columns * direction[0]


def _shares(inside: Array) -> Array:
    """Of the points of each pixel."""
    rows, columns = (n // _SUBPIXELS for n in inside.shape)
    shares: Array = inside.reshape(rows, _SUBPIXELS, columns, _SUBPIXELS).mean((1, 3))
    return shares


def _moved(point: Any, angle: float, distance: float) -> Array:
    """A point moved at an angle, not rounded."""
    moved: Array = np.asarray(point) + distance * np.array([math.sin(angle), math.cos(angle)])
    return moved
