"""Data on the boundary: values, slopes, or what goes out at one end comes in at the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.learn.pde.domain import Domain, evaluate, points_inside
from mercer.learn.pde.operators import LinearTerm

__all__ = ["Boundary", "Face", "Needed", "Neumann"]

PERIODIC = "periodic"
SIDES = ("low", "high")
Needed = Literal["as many", "enough", "any"]


class Neumann:
    """The derivative along the axis, at a face, in place of the value: ``boundary={"x": (0.0, Neumann(1.0))}``.

    Args:
        values: a number, an array or a function, as for values. It is the derivative in the direction in which the
            coordinate grows, on both faces.
    """

    def __init__(self, values: Any) -> None:
        self.values = values


@dataclass(frozen=True)
class Face:
    """Data on one face.

    Attributes:
        axis: which axis ends there.
        side: 0 where it begins, 1 where it ends.
        order: 0 for values, 1 for the derivative along the axis.
        values: of the shape of the grid without that axis.
    """

    axis: int
    side: int
    order: int
    values: Tensor


@dataclass(frozen=True)
class Boundary:
    """All that is known on the boundary.

    Attributes:
        faces: with data.
        periodic: axes whose ends are one.
        used: those faces that a square system needs; of an axis of first order that is the one where things flow in.
        points, values: data at scattered points of the boundary.
    """

    faces: tuple[Face, ...] = ()
    periodic: tuple[int, ...] = ()
    used: tuple[Face, ...] = ()
    points: Tensor | None = None
    values: Tensor | None = None

    @classmethod
    def of(cls, boundary: Any, domain: Domain, terms: Sequence[LinearTerm], *, faces: Needed) -> Boundary:
        """From the argument of ``fit``, which documents it.

        Args:
            boundary: as given.
            domain: where.
            terms: of the equation, to know how many faces an axis needs.
            faces: "as many" of an axis as its highest derivative, for a square system; "enough" is not fewer; "any"
                where the solution is observed elsewhere.

        Raises:
            ValueError, ShapeError: there is none, or too little, or it is of another size.
        """
        orders = [max((t.orders[i] for t in terms), default=0) for i in range(domain.d)]
        if boundary is None:
            raise ValueError(
                "A differential equation needs boundary data, or its solution is not unique. Give fit(source, "
                "boundary): a function of points (m, d), or for each axis its two faces, such as "
                + _example(domain, orders)
                + "."
            )
        if domain.points is not None:
            return cls._scattered(boundary, domain)
        found: list[Face] = []
        periodic: list[int] = []
        if isinstance(boundary, Mapping):
            unknown = [name for name in boundary if name not in domain.names]
            if unknown:
                raise ValueError(f"boundary names {unknown[0]!r}; the axes are {', '.join(map(repr, domain.names))}.")
            for i, name in enumerate(domain.names):
                given = boundary.get(name)
                if isinstance(given, str):
                    if given != PERIODIC:
                        raise ValueError(f"boundary[{name!r}] is {given!r}: give (low, high), or 'periodic'.")
                    periodic.append(i)
                elif given is not None:
                    found += _faces(given, i, domain)
        elif (domain.d == 1 and isinstance(boundary, Sequence | torch.Tensor)) or hasattr(boundary, "shape"):
            if domain.d != 1:
                raise ShapeError(
                    f"boundary is an array, but the domain has {domain.d} axes: name them, such as "
                    + _example(domain, orders)
                    + "."
                )
            found += _faces(tuple(boundary), 0, domain)
        else:
            for i, order in enumerate(orders):
                found += _faces((boundary, boundary), i, domain) if order else []
        made = cls(tuple(found), tuple(periodic), _used(found, orders, domain, terms))
        if faces != "any":
            made._check_count(orders, domain, may_exceed=faces == "enough" or callable(boundary))
        return made

    @classmethod
    def _scattered(cls, boundary: Any, domain: Domain) -> Boundary:
        if callable(boundary) and domain.d == 1:
            points = torch.tensor(domain.bounds[0], dtype=torch.float64)[:, None]
            return cls(points=points, values=evaluate(boundary, lambda: [points], (2,), "boundary"))
        if not isinstance(boundary, tuple) or len(boundary) != 2:
            raise ValueError(
                "Scattered points have no faces: give boundary=(points (m, d), values (m,)), points on the boundary "
                "and the solution there."
            )
        points = points_inside(boundary[0], domain, "the boundary")
        return cls(points=points, values=evaluate(boundary[1], lambda: [points], (len(points),), "boundary values"))

    def _check_count(self, orders: Sequence[int], domain: Domain, *, may_exceed: bool) -> None:
        for i, (name, order) in enumerate(zip(domain.names, orders, strict=True)):
            found = sum(face.axis == i for face in self.faces)
            if i in self.periodic:
                continue
            if found < order:
                raise ValueError(
                    f"The equation is of order {order} along {name!r} and needs data on {order} of its faces, but got "
                    f"{found}: give boundary={_example(domain, orders)}."
                )
            if found > order and not may_exceed:
                raise ValueError(
                    f"The equation is of order {order} along {name!r}, so data on {found} faces are too many for "
                    f"collocation: give boundary={_example(domain, orders)}, or use method='marginal'."
                )


def _faces(given: Any, axis: int, domain: Domain) -> list[Face]:
    name = domain.names[axis]
    if not isinstance(given, Sequence) or len(given) != 2:
        raise ShapeError(f"boundary[{name!r}] has to be (low, high), with None where nothing is known.")
    shape = domain.shape[:axis] + domain.shape[axis + 1 :]
    found = []
    for side, data in enumerate(given):
        if data is None:
            continue
        order, data = (1, data.values) if isinstance(data, Neumann) else (0, data)

        def points(side: int = side) -> list[Tensor]:
            return [domain.face_points(axis, side)]

        values = evaluate(data, points, shape, f"boundary[{name!r}], {SIDES[side]} face,")
        found.append(Face(axis, side, order, values))
    return found


def _used(
    faces: Sequence[Face], orders: Sequence[int], domain: Domain, terms: Sequence[LinearTerm]
) -> tuple[Face, ...]:
    """All faces, but of two on an axis of first order only that where things flow in.

    ``a u_t + b u_x``: along the characteristics (a, b) a coordinate with a positive coefficient comes from its low
    face. With a second-order part ``c u_xx`` beside it, stable is the direction in which a and c have opposite signs.
    """
    kept = list(faces)
    second = sum(t.number for t in terms if max(t.orders) == 2)
    for i, order in enumerate(orders):
        own = [face for face in kept if face.axis == i]
        if order != 1 or len(own) < 2:
            continue
        slope = sum(t.number for t in terms if t.orders[i] == 1 and sum(t.orders) == 1)
        comes_from_low = slope * second < 0 if second else slope >= 0
        kept.remove(own[1] if comes_from_low else own[0])
    return tuple(kept)


def _example(domain: Domain, orders: Sequence[int]) -> str:
    sides = ["(None, None)", "(initial, None)", "(left, right)"]
    return "{" + ", ".join(f"{n!r}: {sides[o]}" for n, o in zip(domain.names, orders, strict=True) if o) + "}"
