"""Observations that are linear functionals of a Gaussian process: values, slopes, and the equation itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.learn.pde.axis_kernel import AxisKernel, GeneralAxisKernel, Gram
from mercer.learn.pde.equation import Equation, Product

__all__ = ["Functionals", "Part", "covariance", "decoded", "encoded", "functionals_of", "some_rows", "variances"]

Kernels = Sequence[AxisKernel | GeneralAxisKernel]
BLOCK = 4_000_000  # entries of a covariance matrix assembled together


@dataclass(frozen=True)
class Part:
    """``coefficient * derivative at points``, one of the summands of some functionals.

    Attributes:
        points: ``(m, d)``.
        orders: one an axis.
        coefficient: ``()`` or ``(m,)``.
        unknowns: names of learnt factors.
    """

    points: Tensor
    orders: tuple[int, ...]
    coefficient: Tensor
    unknowns: tuple[str, ...] = ()

    def value(self, learnt: Mapping[str, Tensor]) -> Tensor:
        """The coefficient with learnt factors."""
        value = self.coefficient
        for name in self.unknowns:
            value = value * learnt[name]
        return value

    def rows(self, chosen: Tensor | slice) -> Part:
        """Some of the points."""
        coefficient = self.coefficient if self.coefficient.dim() == 0 else self.coefficient[chosen]
        return Part(self.points[chosen], self.orders, coefficient, self.unknowns)


@dataclass(frozen=True)
class Functionals:
    """m functionals of one form and what they are observed to be.

    Attributes:
        parts: summands, each with m points.
        targets: ``(m,)``.
        scale: both sides are divided by it, so that all kinds of observations are of size 1.
        noise: variance of the targets, in their units squared.
    """

    parts: tuple[Part, ...]
    targets: Tensor
    scale: float = 1.0
    noise: float = 0.0

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, chosen: Tensor | slice) -> Functionals:
        """Some of them."""
        return Functionals(tuple(p.rows(chosen) for p in self.parts), self.targets[chosen], self.scale, self.noise)


class Table:
    """Products of derivatives of the axes' kernels between two sets of points, ready for many kernels."""

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self.grams: list[Gram] = []
        self.places: list[tuple[Tensor, Tensor] | None] = []
        for a, b in zip(rows.mT, columns.mT, strict=True):
            (left, i), (right, j) = (torch.unique(side, return_inverse=True) for side in (a, b))
            if len(left) == len(a) and len(right) == len(b):
                self.grams.append(Gram(a, b))
                self.places.append(None)
            else:
                self.grams.append(Gram(left, right))
                self.places.append((i, j))

    def __call__(self, kernels: Kernels, left: Sequence[int], right: Sequence[int]) -> Tensor:
        """``d^left d^right k``, ``(m, n)``."""
        total: Tensor | None = None
        for gram, place, kernel, p, q in zip(self.grams, self.places, kernels, left, right, strict=True):
            values = gram(kernel, p + q)
            if place is not None:
                values = values[place[0]][:, place[1]]
            values = -values if q % 2 else values
            total = values if total is None else total * values
        assert total is not None
        return total


class Tables:
    """Tables that are made once for each pair of sets of points."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], tuple[Table, Tensor, Tensor]] = {}

    def of(self, rows: Tensor, columns: Tensor) -> Table:
        """The table of these very tensors."""
        key = (id(rows), id(columns))
        if key not in self._kept:
            self._kept[key] = Table(rows, columns), rows, columns
        return self._kept[key][0]


def covariance(
    rows: Sequence[Functionals],
    columns: Sequence[Functionals],
    kernels: Kernels,
    learnt: Mapping[str, Tensor] | None = None,
    tables: Tables | None = None,
) -> Tensor:
    """Covariances of scaled functionals, ``(sum of rows, sum of columns)``.

    Args:
        rows: some functionals.
        columns: others, or the same.
        kernels: one an axis.
        learnt: values of learnt coefficients.
        tables: where differences are kept for the next call; without it, rows are done in blocks and nothing is kept.
    """
    learnt = learnt or {}
    if tables is not None:
        return torch.cat([torch.cat([_block(a, b, kernels, learnt, tables) for b in columns], 1) for a in rows])
    total = torch.empty(sum(map(len, rows)), sum(map(len, columns)), dtype=torch.float64)
    top = 0
    for a in rows:
        left = 0
        for b in columns:
            step = max(1, BLOCK // len(b))
            for start in range(0, len(a), step):
                part = a.rows(slice(start, start + step))
                total[top + start : top + start + len(part), left : left + len(b)] = _block(
                    part, b, kernels, learnt, Tables()
                )
            left += len(b)
        top += len(a)
    return total


def variances(functionals: Functionals, kernels: Kernels) -> Tensor:
    """Prior variances of one kind of functionals, unscaled, ``(m,)``."""
    step, found = 64, []
    for start in range(0, len(functionals), step):
        part = functionals.rows(slice(start, start + step))
        found.append(_block(part, part, kernels, {}, Tables()).diagonal() * part.scale**2)
    return torch.cat(found)


def _block(a: Functionals, b: Functionals, kernels: Kernels, learnt: Mapping[str, Tensor], tables: Tables) -> Tensor:
    total: Tensor | None = None
    for p in a.parts:
        for q in b.parts:
            values = tables.of(p.points, q.points)(kernels, p.orders, q.orders)
            left, right = p.value(learnt), q.value(learnt)
            left = left.unsqueeze(-1) if left.dim() else left
            values = (left * right / (a.scale * b.scale)) * values
            total = values if total is None else total + values
    assert total is not None
    return total


def functionals_of(
    equation: Equation, products: Sequence[Product], source: Tensor, observations: tuple[Tensor, Tensor, float] | None
) -> list[Functionals]:
    """The equation at all points, the boundary data, and further observations ``(points, values, noise)``."""
    domain, boundary = equation.domain, equation.boundary
    points, d = domain.all_points(), domain.d
    one, zero = torch.ones((), dtype=torch.float64), (0,) * d
    f = source.reshape(-1)
    parts = tuple(
        Part(points, p.orders, p.coefficient.reshape(-1) if p.coefficient.dim() else p.coefficient, p.unknowns)
        for p in products
    )
    found = [Functionals(parts, f, float(f.square().mean().sqrt()) or 1.0)]
    seen: set[tuple[float, ...]] = set()
    for face in boundary.faces:
        at, values = domain.face_points(face.axis, face.side), face.values.reshape(-1)
        if face.order == 0:
            new = [i for i, p in enumerate(at.tolist()) if tuple(p) not in seen]
            seen.update(map(tuple, at.tolist()))
            at, values = at[new], values[new]
        if len(values):
            found.append(Functionals((Part(at, tuple(face.order * (i == face.axis) for i in range(d)), one),), values))
    for axis in boundary.periodic:
        low, high = domain.face_points(axis, 0), domain.face_points(axis, 1)
        for order in range(max(1, equation.highest_orders()[axis])):
            orders = tuple(order * (i == axis) for i in range(d))
            pair = (Part(low, orders, one), Part(high, orders, -one))
            found.append(Functionals(pair, torch.zeros(len(low), dtype=torch.float64)))
    if boundary.points is not None and boundary.values is not None:
        found.append(Functionals((Part(boundary.points, zero, one),), boundary.values))
    if observations is not None:
        at, values, noise = observations
        found.append(Functionals((Part(at, zero, one),), values, noise=noise))
    return found


def encoded(functionals: Sequence[Functionals]) -> list[dict[str, Any]]:
    """In a form that can be saved."""
    return [
        {
            "parts": [{"points": p.points, "orders": list(p.orders), "coefficient": p.coefficient} for p in f.parts],
            "targets": f.targets,
            "scale": f.scale,
            "noise": f.noise,
        }
        for f in functionals
    ]


def decoded(state: Sequence[Mapping[str, Any]]) -> list[Functionals]:
    """The inverse of :func:`encoded`."""
    return [
        Functionals(
            tuple(Part(p["points"], tuple(p["orders"]), p["coefficient"]) for p in f["parts"]),
            f["targets"],
            f["scale"],
            f["noise"],
        )
        for f in state
    ]


def some_rows(data: Sequence[Functionals], most: int, draw: torch.Generator) -> list[Functionals]:
    """Of all kinds of observations the same share, so that about ``most`` are left."""
    total = sum(map(len, data))
    rows = [torch.randperm(len(f), generator=draw)[: max(1, len(f) * most // total)] for f in data]
    return [f.rows(chosen) for f, chosen in zip(data, rows, strict=True)]
