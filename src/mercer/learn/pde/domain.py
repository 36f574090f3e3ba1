"""Where an equation is to hold: named axes, their nodes, and functions or arrays of data on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.arguments import check_not_negative
from mercer.arrays import as_tensor, check_finite
from mercer.errors import ShapeError

__all__ = ["Domain", "evaluate", "evenly", "observed", "points_inside"]

NAMES = ("x", "y", "z")
FEWEST_NODES = 4
LOOKED_AT = 4096  # points of a grid of two axes or more where a solution is checked
BLOCK = 1 << 16  # points with which a function is called at once on a grid


@dataclass(frozen=True)
class Domain:
    """A box with named axes.

    Attributes:
        names: of the axes.
        bounds: lowest and highest coordinate of each.
        nodes: coordinates of the grid along each, ascending, both ends included; empty for scattered points.
        points: scattered points ``(m, d)``; None for a grid.
    """

    names: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...]
    nodes: tuple[Tensor, ...]
    points: Tensor | None = None

    @classmethod
    def of(cls, domain: Any, grid: Any) -> Domain:
        """From the arguments of :class:`PDESolver`, which documents them.

        Raises:
            ValueError, ShapeError: what no box or grid can be.
        """
        names, bounds = _box(domain)
        d = len(names)
        is_table = hasattr(grid, "shape") and len(grid.shape) == 2
        if is_table:
            points = _float64(grid, "grid")
            if points.shape[1] != d:
                raise ShapeError(f"grid has points with {points.shape[1]} columns, but the domain has {d} axes.")
            found = cls(names, bounds, (), points)
            found.require_inside(points, "the grid")
            return found
        sizes = [grid] * d if isinstance(grid, int | np.integer) and not isinstance(grid, bool) else grid
        if d == 1 and hasattr(sizes, "shape") and len(sizes.shape) == 1:
            sizes = [sizes]
        if isinstance(sizes, Mapping):
            sizes = [sizes.get(name) for name in names]
        if not isinstance(sizes, Sequence) or len(sizes) != d:
            raise ShapeError(
                f"grid={grid!r}: give the number of nodes of an axis, for all {d} axes or one for each, or the nodes "
                f"themselves."
            )
        nodes = tuple(_axis(size, *pair, name) for size, pair, name in zip(sizes, bounds, names, strict=True))
        return cls(names, bounds, nodes)

    def require_inside(self, points: Tensor, name: str) -> None:
        """Raise ValueError for points ``(m, d)`` beyond the bounds by more than round-off."""
        low, high = (torch.tensor(side, dtype=torch.float64) for side in zip(*self.bounds, strict=True))
        slack = 1e-9 * (high - low)
        wrong = ((points < low - slack) | (points > high + slack)).any(1).nonzero()
        if len(wrong):
            place = tuple(points[int(wrong[0])].tolist())
            raise ValueError(
                f"{len(wrong)} points of {name} lie outside of the domain, the first is {place}: enlarge the domain, "
                f"or drop them."
            )

    @property
    def d(self) -> int:
        """Number of axes."""
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of arrays on the grid, or of values at the scattered points."""
        return (len(self.points),) if self.points is not None else tuple(len(x) for x in self.nodes)

    @property
    def size(self) -> int:
        """Number of points."""
        return int(np.prod(self.shape))

    def all_points(self) -> Tensor:
        """``(m, d)``, the last axis fastest."""
        return self.points if self.points is not None else torch.cartesian_prod(*self.nodes).reshape(-1, self.d)

    def point_blocks(self) -> Iterator[Tensor]:
        """The same points, some at a time."""
        if self.points is not None or self.d == 1 or self.size <= BLOCK:
            yield self.all_points()
            return
        first, *others = self.nodes
        for nodes in first.split(max(1, BLOCK * len(first) // self.size)):
            yield torch.cartesian_prod(nodes, *others)

    def face_points(self, axis: int, side: int) -> Tensor:
        """Grid points on one face, ``(m, d)``."""
        nodes = list(self.nodes)
        nodes[axis] = nodes[axis][-1:] if side else nodes[axis][:1]
        return torch.cartesian_prod(*nodes).reshape(-1, self.d)


def evenly(n: int, d: int) -> Tensor:
    """Which of n nodes of one axis of d to take, so that a grid of them has LOOKED_AT at most; of a single axis all."""
    most = n if d == 1 else min(n, int(LOOKED_AT ** (1.0 / d)))
    return torch.linspace(0, n - 1, most, dtype=torch.float64).round().long()


def evaluate(data: Any, points: Callable[[], Iterable[Tensor]], shape: tuple[int, ...], name: str) -> Tensor:
    """Data as a float64 tensor of a shape: a number for everywhere, an array, or a function of points ``(m, d)``.

    A function is called with one block of points after the other.

    Raises:
        ShapeError: other values than points.
        ValueError: NaN or infinity.
    """
    if callable(data):
        parts = []
        for block in points():
            at = block.numpy()
            part = _float64(data(at), name)
            if part.numel() == 1:
                part = part.expand(len(at))
            if part.numel() != len(at):
                raise ShapeError(
                    f"{name} gave {part.numel()} values for {len(at)} points: it is called with an array (m, d), one "
                    f"row a point, and has to return (m,). Write X[:, 0] for the first axis."
                )
            parts.append(part.reshape(-1))
        values = torch.cat(parts) if len(parts) > 1 else parts[0]
    else:
        values = _float64(data, name)
        if values.dim() == 0:
            values = values.expand(shape)
        if values.numel() != int(np.prod(shape)) or (values.dim() > 1 and tuple(values.shape) != shape):
            raise ShapeError(f"{name} has shape {tuple(values.shape)}, but there it needs {shape}, one value a node.")
    values = values.reshape(shape)
    check_finite(values.reshape(-1, 1), name)
    return values


def observed(observations: Any, noise: float, domain: Domain) -> tuple[Tensor, Tensor, float] | None:
    """Points, values and the variance of their error, checked; None for none.

    Raises:
        ShapeError, TypeError, ValueError: see :func:`points_inside` and :func:`evaluate`; a negative variance.
    """
    if observations is None:
        return None
    if not isinstance(observations, Sequence) or len(observations) != 2:
        raise ShapeError("observations are a pair: points (m, d) and values (m,).")
    points, values = points_inside(observations[0], domain, "the observations"), observations[1]
    check_not_negative("noise, a variance,", noise)
    return points, evaluate(values, lambda: [points], (len(points),), "values of the observations"), float(noise)


def points_inside(given: Any, domain: Domain, name: str) -> Tensor:
    """Points of the domain, ``(m, d)``, at least one, checked.

    Raises:
        ShapeError, TypeError, ValueError: none, or other columns; float32; NaN, or outside of the domain.
    """
    points = _float64(given, f"points of {name}")
    if points.dim() != 2 or points.shape[1] != domain.d or len(points) == 0:
        raise ShapeError(
            f"points of {name} have the shape {tuple(points.shape)}, but it needs points (m, {domain.d}) with m >= 1, "
            f"and values (m,)."
        )
    check_finite(points, f"points of {name}")
    domain.require_inside(points, name)
    return points


def _float64(values: Any, name: str) -> Tensor:
    given = values if hasattr(values, "dtype") else as_tensor(values)
    kind = str(given.dtype).removeprefix("torch.")
    if "complex" in kind:
        raise TypeError(
            f"{name} is {kind}: solutions are real. Solve for the real and the imaginary part by themselves."
        )
    # Whole numbers in a list have become float32, and lose nothing by it.
    is_number = hasattr(values, "dtype") or np.asarray(values).dtype.kind not in "iub"
    if kind in ("float32", "float16", "bfloat16") and is_number:
        raise TypeError(
            f"{name} is {kind}: differential equations are solved in float64, since second derivatives amplify "
            f"round-off by the square of the number of nodes. Give float64 values."
        )
    return as_tensor(values, dtype=torch.float64).detach().cpu()


def _box(domain: Any) -> tuple[tuple[str, ...], tuple[tuple[float, float], ...]]:
    if isinstance(domain, Mapping):
        names, pairs = tuple(map(str, domain)), list(domain.values())
    else:
        pairs = list(domain) if isinstance(domain, Sequence | np.ndarray) else [domain]
        if len(pairs) == 2 and all(np.isscalar(p) for p in pairs):
            pairs = [tuple(pairs)]
        names = NAMES[: len(pairs)]
    if not 1 <= len(pairs) <= len(NAMES):
        raise ShapeError(f"domain={domain!r}: one to three axes, each with its (low, high).")
    bounds = []
    for name, pair in zip(names, pairs, strict=True):
        try:
            low, high = (float(value) for value in pair)
        except (TypeError, ValueError):
            raise ShapeError(f"domain: axis {name!r} has {pair!r} in place of (low, high).") from None
        if not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(f"domain: axis {name!r} goes from {low} to {high}: the first must be less, both finite.")
        bounds.append((low, high))
    return names, tuple(bounds)


def _axis(size: Any, low: float, high: float, name: str) -> Tensor:
    if isinstance(size, int | np.integer) and not isinstance(size, bool):
        if size < FEWEST_NODES:
            raise ValueError(f"grid: axis {name!r} has {size} nodes; at least {FEWEST_NODES} are needed.")
        return torch.linspace(low, high, int(size), dtype=torch.float64)
    if size is None or np.isscalar(size):
        raise ShapeError(f"grid: axis {name!r} has {size!r} in place of a number of nodes or their coordinates.")
    nodes = _float64(size, f"grid of axis {name!r}")
    if nodes.dim() != 1 or len(nodes) < FEWEST_NODES or bool((nodes.diff() <= 0).any()):
        raise ValueError(f"grid: the nodes of axis {name!r} have to ascend, {FEWEST_NODES} of them or more.")
    if abs(float(nodes[0]) - low) > 1e-12 * (high - low) or abs(float(nodes[-1]) - high) > 1e-12 * (high - low):
        raise ValueError(
            f"grid: the nodes of axis {name!r} have to begin at {low} and end at {high}, as the domain does."
        )
    return nodes
