"""Points that lie on a grid: its axes, and where in it each point sits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.operators.remember import remembered

__all__ = ["Grid", "Lattice", "find_grid", "find_lattice", "gather", "spread"]


SAMPLE = 4096


@dataclass(frozen=True)
class Grid:
    """A product of axes, in row-major order, and the places of points in it.

    Attributes:
        axes: the values of each coordinate, ascending, ``(n_a,)``.
        places: of each point, ``(n,)``, counted with the last axis fastest.
    """

    axes: tuple[Tensor, ...]
    places: Tensor

    @property
    def size(self) -> int:
        """Places in the grid."""
        return math.prod(len(a) for a in self.axes)

    @property
    def is_full(self) -> bool:
        """Whether every place has one point."""
        return len(self.places) == self.size == len(self.places.unique())


def spread(v: Tensor, places: Tensor, size: int) -> Tensor:
    """Values of points ``(n, t)`` at their places of a grid, ``(size, t)``; those of one place add up."""
    if _in_order(places, size):
        return v
    return v.new_zeros(size, v.shape[1]).index_add(0, places, v)


def gather(values: Tensor, places: Tensor) -> Tensor:
    """Values of a grid ``(size, t)`` at points, ``(n, t)``."""
    return values if _in_order(places, len(values)) else values[places]


def _in_order(places: Tensor, size: int) -> bool:
    """Whether the points are the grid in its own order; moving values takes longer than a small product."""
    if len(places) != size:
        return False
    return remembered("in order", places, places, lambda: bool((places.diff() == 1).all()))


@dataclass(frozen=True)
class Lattice:
    """A grid of even steps that holds two sets of points.

    Attributes:
        steps: the distance of neighbours along each axis, float64.
        shape: places along each axis.
        rows, columns: of each point its place, ``(n,)`` and ``(m,)``, counted with the last axis fastest.
    """

    steps: tuple[float, ...]
    shape: tuple[int, ...]
    rows: Tensor
    columns: Tensor

    @property
    def size(self) -> int:
        """Places in the lattice."""
        return math.prod(self.shape)


def find_grid(X: Tensor, *, most: float = 2.0) -> Grid | None:
    """The grid of all values that occur in each column of X ``(n, d)``, if it has at most ``most * n`` places.

    Values must be equal to the last bit where they are meant to be equal, as those of a meshgrid are.
    """
    if not len(X):
        return None
    sample = _sample(X)
    if math.prod(len(column.unique()) for column in sample.unbind(-1)) > max(1.0, most * len(X)):
        return None  # seen on a few points, without sorting all
    axes, places, size = [], torch.zeros(len(X), dtype=torch.long, device=X.device), 1
    for column in X.unbind(-1):
        values, inverse = column.unique(return_inverse=True)
        size *= len(values)
        if size > max(1.0, most * len(X)):
            return None
        axes.append(values)
        places = places * len(values) + inverse
    return Grid(tuple(axes), places)


def find_lattice(X: Tensor, Y: Tensor, *, most: float = 8.0) -> Lattice | None:
    """The lattice of even steps on which all points of X ``(n, d)`` and Y ``(m, d)`` lie to round-off, if there is one.

    It may have gaps, up to ``most`` places a point. Round-off is 2 eps of the largest coordinate, counted from the
    middle: as much as a distance between such points is known to.
    """
    if not len(X) or not len(Y):
        return None
    both = torch.cat([X, Y]).to(torch.float64)
    both = both - (both.amax(0) + both.amin(0)) / 2.0
    eps = torch.finfo(X.dtype).eps
    places, steps, shape, size = torch.zeros(len(both), dtype=torch.long, device=X.device), [], [], 1
    for column in both.unbind(-1):
        round_off = 2.0 * eps * float(column.abs().max())
        values = column.unique()
        gaps = values.diff()
        gaps = gaps[gaps > 4.0 * round_off]
        if not len(gaps):  # a constant column
            steps.append(1.0)
            shape.append(1)
            continue
        low = values[0]
        # Single gaps have round-off, in long float32 series as much as a tenth of a step: their sum has not.
        smallest = gaps[gaps < 1.5 * gaps.min()].median()
        intervals = int(torch.round(gaps / smallest).sum())
        step, count = float(values[-1] - low) / intervals, intervals + 1
        size *= count
        if size > most * len(both):
            return None
        position = (column - low) / step
        nearest = position.round()
        if float((position - nearest).abs().max()) * step > round_off:
            return None
        places = places * count + nearest.to(torch.long)
        steps.append(step)
        shape.append(count)
    return Lattice(tuple(steps), tuple(shape), places[: len(X)], places[len(X) :])


def _sample(X: Tensor) -> Tensor:
    """A few points, always the same ones."""
    if len(X) <= SAMPLE:
        return X
    return X[torch.randperm(len(X), generator=torch.Generator().manual_seed(0))[:SAMPLE].to(X.device)]
