"""Differential operators as formulas: ``-Laplacian() + k**2 * Identity()``, ``D("t") + beta * D("x")``."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

from mercer.arguments import check_finite_number
from mercer.learn.pde.symbols import Field, Symbol
from mercer.learn.saving import Saved

__all__ = ["D", "DifferentialOperator", "Identity", "Laplacian", "LinearTerm", "Summand", "as_operator"]

HIGHEST_ORDER = 2  # of one axis: the covariance of an equation with itself differentiates twice as often
TIME = "t"

Axis = str | int


class Term(NamedTuple):
    """``number * symbols * derivatives``: orders by axis, and Laplacians by their axes (none: of all space axes)."""

    number: float
    symbols: tuple[Symbol, ...] = ()
    orders: tuple[tuple[Axis, int], ...] = ()
    laplacians: tuple[tuple[Axis, ...], ...] = ()


class LinearTerm(NamedTuple):
    """A term of known axes: ``number * symbols * prod_i (d / dx_i)^orders_i``."""

    number: float
    symbols: tuple[Symbol, ...]
    orders: tuple[int, ...]


class Summand(Saved):
    """Base of what can stand in a sum of operators; its arithmetic is that of the operator it stands for."""

    def as_operator(self) -> DifferentialOperator:
        """The operator it stands for."""
        raise NotImplementedError

    def __add__(self, other: Any) -> DifferentialOperator:
        one, two = self.as_operator(), as_operator(other)
        return DifferentialOperator(one.terms + two.terms, one.nonlinear + two.nonlinear)

    __radd__ = __add__

    def __neg__(self) -> DifferentialOperator:
        return self * -1.0

    def __sub__(self, other: Any) -> DifferentialOperator:
        return self + -as_operator(other)

    def __rsub__(self, other: Any) -> DifferentialOperator:
        return as_operator(other) + -self

    def __mul__(self, other: Any) -> DifferentialOperator:
        one = self.as_operator()
        if isinstance(other, Real):
            check_finite_number(f"The coefficient of {one!r}", other)
            return one._scaled(float(other))
        if isinstance(other, Symbol):
            return one._scaled(1.0, other)
        two = as_operator(other)
        if one.nonlinear or two.nonlinear:
            raise TypeError(
                "A nonlinear operator cannot be multiplied: write the product into Nonlinear(fn, of=[...])."
            )
        if any(isinstance(s, Field) for term in two.terms for s in term.symbols):
            raise TypeError(
                "Operators are multiplied only where the right one has constant coefficients: use the product rule."
            )
        return DifferentialOperator(
            [
                Term(a.number * b.number, a.symbols + b.symbols, a.orders + b.orders, a.laplacians + b.laplacians)
                for a in one.terms
                for b in two.terms
            ]
        )

    __rmul__ = __mul__

    def __truediv__(self, other: float) -> DifferentialOperator:
        return self * (1.0 / other)


class DifferentialOperator(Summand):
    """A sum of derivatives with coefficients and of nonlinear functions; made by ``D``, ``Laplacian`` and arithmetic.

    ``+``, ``-``, ``number * operator`` and ``Field * operator`` do what they say; ``operator * operator`` applies one
    after the other, for linear operators with constant coefficients.
    """

    def __init__(self, terms: Sequence[Term] = (), nonlinear: Sequence[tuple[float, Any]] = ()) -> None:
        self.terms, self.nonlinear = tuple(terms), tuple(nonlinear)

    def _restore(self) -> None:
        self.terms = tuple(Term(*term) for term in self.terms)

    def as_operator(self) -> DifferentialOperator:
        """This one."""
        return self

    def __repr__(self) -> str:
        parts = [_shown(term) for term in self.terms]
        parts += [f"{'' if c == 1.0 else f'{c:g} * '}{function!r}" for c, function in self.nonlinear]
        return " + ".join(parts) or "0"

    @property
    def is_linear(self) -> bool:
        """Whether there is no nonlinear function in it."""
        return not self.nonlinear

    def _scaled(self, number: float, *symbols: Symbol) -> DifferentialOperator:
        if symbols and self.nonlinear:
            raise TypeError(f"{symbols[0]!r} times a nonlinear operator: write the coefficient into Nonlinear(fn).")
        terms = [t._replace(number=number * t.number, symbols=symbols + t.symbols) for t in self.terms]
        return DifferentialOperator(terms, [(number * c, function) for c, function in self.nonlinear])

    def linear_terms(self, names: Sequence[str]) -> list[LinearTerm]:
        """The linear part on axes of these names, like terms added up.

        Raises:
            ValueError: an axis that is not there, or a derivative of more than second order along one.
        """
        found: dict[tuple[tuple[Symbol, ...], tuple[int, ...]], float] = {}
        for term in self.terms:
            expanded = [{_place(axis, names): 0 for axis, _ in term.orders}]
            for axis, order in term.orders:
                expanded[0][_place(axis, names)] += order
            for axes in term.laplacians:
                places = [_place(a, names) for a in axes] or [i for i, name in enumerate(names) if name != TIME]
                expanded = [{**orders, i: orders.get(i, 0) + 2} for orders in expanded for i in places]
            for orders in expanded:
                listed = tuple(orders.get(i, 0) for i in range(len(names)))
                if max(listed) > HIGHEST_ORDER:
                    raise ValueError(
                        f"{self!r} differentiates {max(listed)} times along one axis, and {HIGHEST_ORDER} is the most: "
                        f"the covariance of the equation with itself needs twice as many."
                    )
                key = (term.symbols, listed)
                found[key] = found.get(key, 0.0) + term.number
        return [LinearTerm(c, symbols, orders) for (symbols, orders), c in found.items() if c != 0.0]


def D(axis: Axis, order: int = 1) -> DifferentialOperator:
    """The derivative along an axis, by name or position.

    >>> D("t") + 0.5 * D("x")
    D('t') + 0.5 * D('x')
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise ValueError(f"D({axis!r}, {order!r}): the order is a whole number >= 0.")
    return DifferentialOperator([Term(1.0, orders=((axis, order),))])


def Identity() -> DifferentialOperator:
    """The solution itself.

    >>> Laplacian() + 4.0 * Identity()
    Laplacian() + 4 * Identity()
    """
    return DifferentialOperator([Term(1.0)])


def Laplacian(*axes: Axis) -> DifferentialOperator:
    """The sum of second derivatives along these axes; without any, along all but ``"t"``.

    >>> -Laplacian()
    -1 * Laplacian()
    """
    return DifferentialOperator([Term(1.0, laplacians=(axes,))])


def as_operator(value: Any) -> DifferentialOperator:
    """An operator as it is; a nonlinear function as an operator.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, Summand):
        return value.as_operator()
    if value == 0 and isinstance(value, Real):  # the start of sum()
        return DifferentialOperator()
    raise TypeError(
        f"{value!r} is no differential operator. Build one of Laplacian(), D('x', 2), Identity(), Nonlinear(fn); a "
        f"number c stands for c * Identity(), a right-hand side goes into fit(source, ...)."
    )


def _place(axis: Axis, names: Sequence[str]) -> int:
    if isinstance(axis, int) and 0 <= axis < len(names):
        return axis
    if axis in names:
        return list(names).index(str(axis))
    raise ValueError(f"There is no axis {axis!r}: the domain has {', '.join(map(repr, names))}.")


def _shown(term: Term) -> str:
    parts = [] if term.number == 1.0 else [f"{term.number:g}"]
    parts += [repr(s) for s in term.symbols]
    parts += [f"D({axis!r})" if order == 1 else f"D({axis!r}, {order})" for axis, order in term.orders]
    parts += [f"Laplacian({', '.join(map(repr, axes))})" for axes in term.laplacians]
    return " * ".join(parts if term.orders or term.laplacians else [*parts, "Identity()"])
