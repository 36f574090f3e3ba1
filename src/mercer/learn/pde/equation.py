"""An equation on a grid or at points: linear terms with numbers in place of fields, nonlinear functions, source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mercer.learn.pde.boundary import Boundary, Face, Needed
from mercer.learn.pde.domain import Domain, evaluate
from mercer.learn.pde.nonlinear import Nonlinear
from mercer.learn.pde.operators import DifferentialOperator, LinearTerm
from mercer.learn.pde.symbols import Field, Unknown

__all__ = ["Equation", "Product"]


@dataclass(frozen=True)
class Product:
    """``coefficient * prod_i (d / dx_i)^orders_i``, the coefficient ``()`` or of the shape of the domain.

    Attributes:
        orders: one an axis.
        coefficient: its known part.
        unknowns: names of learnt factors.
    """

    orders: tuple[int, ...]
    coefficient: Tensor
    unknowns: tuple[str, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether the coefficient is one number."""
        return self.coefficient.dim() == 0

    def value(self, learnt: Mapping[str, Tensor]) -> Tensor:
        """The coefficient with learnt factors."""
        value = self.coefficient
        for name in self.unknowns:
            value = value * learnt[name]
        return value


@dataclass(frozen=True)
class Equation:
    """``sum of products at u + sum of nonlinear functions of u = source`` on a domain, with boundary data.

    Attributes:
        domain: where.
        products: the linear part.
        functions: number, function and the products of each of its arguments.
        source: of the domain's shape.
        boundary: the data on it.
        unknowns: start of every learnt coefficient.
    """

    domain: Domain
    products: tuple[Product, ...]
    functions: tuple[tuple[float, Nonlinear, tuple[tuple[Product, ...], ...]], ...]
    source: Tensor
    boundary: Boundary
    unknowns: dict[str, float]

    @classmethod
    def of(
        cls, operator: DifferentialOperator, domain: Domain, source: Any, boundary: Any, *, faces: Needed
    ) -> Equation:
        """From the arguments of ``PDESolver`` and its ``fit``.

        Args:
            operator, domain, source, boundary: those.
            faces: how many with data there have to be, as in :meth:`Boundary.of`.

        Raises:
            ValueError, ShapeError, TypeError: see there.
        """
        terms = operator.linear_terms(domain.names)
        inner = [t for _, f in operator.nonlinear for o in f.of for t in o.linear_terms(domain.names)]
        if not any(sum(t.orders) for t in (*terms, *inner)):
            raise ValueError(f"{operator!r} has no derivative: it is no differential equation.")
        known = Boundary.of(boundary, domain, [*terms, *inner], faces=faces)
        has_value = any(face.order == 0 for face in known.faces) or known.points is not None
        if not has_value and not operator.nonlinear and not any(sum(t.orders) == 0 for t in terms):
            raise ValueError(
                "The boundary data leave the solution open: slopes and periodic axes alone say nothing of a constant "
                "that is added. Give values on at least one face."
            )
        for _, function in operator.nonlinear:
            function.require_start(domain.shape)
        return cls.at(operator, domain, source, known)

    @classmethod
    def at(cls, operator: DifferentialOperator, domain: Domain, source: Any, boundary: Boundary) -> Equation:
        """With boundary data as they are."""
        terms = operator.linear_terms(domain.names)
        f = evaluate(source, domain.point_blocks, domain.shape, "source")
        unknowns = {s.name: float(s.start) for t in terms for s in t.symbols if isinstance(s, Unknown)}
        functions = tuple(
            (c, f, tuple(tuple(_products(o.linear_terms(domain.names), domain)) for o in f.of))
            for c, f in operator.nonlinear
        )
        return cls(domain, tuple(_products(terms, domain)), functions, f, boundary, unknowns)

    def to(self, device: torch.device | str) -> Equation:
        """The same numbers on another device; functions are called with tensors there."""

        def moved(products: Sequence[Product]) -> tuple[Product, ...]:
            return tuple(replace(p, coefficient=p.coefficient.to(device)) for p in products)

        def faces(given: Sequence[Face]) -> tuple[Face, ...]:
            return tuple(replace(face, values=face.values.to(device)) for face in given)

        boundary = replace(self.boundary, faces=faces(self.boundary.faces), used=faces(self.boundary.used))
        return replace(
            self,
            domain=replace(self.domain, nodes=tuple(x.to(device) for x in self.domain.nodes)),
            products=moved(self.products),
            functions=tuple((c, f, tuple(map(moved, inner))) for c, f, inner in self.functions),
            source=self.source.to(device),
            boundary=boundary,
        )

    @property
    def is_linear(self) -> bool:
        """Whether one solve is enough."""
        return not self.functions

    def highest_orders(self) -> list[int]:
        """The highest derivative along each axis."""
        inner = [p for _, _, arguments in self.functions for products in arguments for p in products]
        return [max((p.orders[i] for p in (*self.products, *inner)), default=0) for i in range(self.domain.d)]

    def arguments(self, function: Callable[[Tensor, Sequence[int]], Tensor]) -> list[list[Tensor]]:
        """What nonlinear functions are applied to where the solution has derivatives ``function(points, orders)``."""
        points, shape = self.domain.all_points(), self.domain.shape

        def value(products: Sequence[Product]) -> Tensor:
            return torch.stack([p.coefficient * function(points, p.orders).reshape(shape) for p in products]).sum(0)

        return [[value(products) for products in inner] for _, _, inner in self.functions]

    def linearised(self, arguments: Sequence[Sequence[Tensor]]) -> tuple[tuple[Product, ...], Tensor]:
        """Products and source of the linear equation that agrees to first order where functions have these arguments.

        ``N(a) + N'(a) (L u - a)`` stands for ``N(L u)``.
        """
        products, source = list(self.products), self.source
        for (c, function, inner), a in zip(self.functions, arguments, strict=True):
            value, slopes = function.values([t.numpy() for t in a])
            source = source - c * torch.as_tensor(value)
            for slope, own, at in zip(slopes, inner, a, strict=True):
                weight = c * torch.as_tensor(slope).clone()
                source = source + weight * at
                products += [Product(p.orders, weight * p.coefficient, p.unknowns) for p in own]
        return tuple(products), source


def _products(terms: Sequence[LinearTerm], domain: Domain) -> list[Product]:
    found = []
    for term in terms:
        coefficient = torch.tensor(term.number, dtype=torch.float64)
        for symbol in term.symbols:
            if isinstance(symbol, Field):
                if symbol.values is None:
                    raise ValueError(f"{symbol!r} has no values: Field({symbol.name!r}, function of points).")
                coefficient = coefficient * evaluate(symbol.values, domain.point_blocks, domain.shape, repr(symbol))
        names = tuple(s.name for s in term.symbols if isinstance(s, Unknown))
        found.append(Product(term.orders, coefficient, names))
    return found
