"""Differential operators as formulas: ``-Laplacian() + k**2 * Identity()``, ``D("t") + beta * D("x")``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from mercer.learn.saving import Saved

__all__ = ["D", "DifferentialOperator", "Field", "Identity", "Laplacian", "Nonlinear", "Power", "Unknown"]

HIGHEST_ORDER = 2  # of one axis: the covariance of an equation with itself differentiates twice as often
TIME = "t"

Axis = str | int


class Symbol(Saved):
    """What stands in front of a derivative and is no plain number; ``symbol * D("x")`` multiplies."""

    def __mul__(self, other: Any) -> DifferentialOperator:
        return as_operator(other)._scaled(1.0, self)

    __rmul__ = __mul__


class Field(Symbol):
    """A coefficient that depends on where: ``Field("c", lambda X: 1 + X[:, 0]**2) * Laplacian()``.

    Args:
        name: how messages call it.
        values: a function of points ``(m, d)`` that gives ``(m,)``.
    """

    def __init__(self, name: str, values: Callable[[Any], Any] | None = None) -> None:
        self.name, self.values = name, values

    def __repr__(self) -> str:
        return f"Field({self.name!r})"


class Unknown(Symbol):
    """A coefficient that is learnt from observations of the solution, by ``method="marginal"``: an inverse problem.

    Args:
        name: the key in ``coefficients_``.
        start: where the search begins.
    """

    def __init__(self, name: str, start: float = 1.0) -> None:
        self.name, self.start = name, start

    def __repr__(self) -> str:
        return f"Unknown({self.name!r}, {self.start!r})"


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


class DifferentialOperator(Saved):
    """A sum of derivatives with coefficients and of nonlinear functions; made by ``D``, ``Laplacian`` and arithmetic.

    ``+``, ``-``, ``number * operator`` and ``Field * operator`` do what they say; ``operator * operator`` applies one
    after the other, for linear operators with constant coefficients.
    """

    def __init__(self, terms: Sequence[Term] = (), nonlinear: Sequence[tuple[float, Any]] = ()) -> None:
        self.terms, self.nonlinear = tuple(terms), tuple(nonlinear)

    def _restore(self) -> None:
        self.terms = tuple(Term(*term) for term in self.terms)

    def __add__(self, other: Any) -> DifferentialOperator:
        other = as_operator(other)
        return DifferentialOperator(self.terms + other.terms, self.nonlinear + other.nonlinear)

    __radd__ = __add__

    def __neg__(self) -> DifferentialOperator:
        return self._scaled(-1.0)

    def __sub__(self, other: Any) -> DifferentialOperator:
        return self + (-as_operator(other))

    def __rsub__(self, other: Any) -> DifferentialOperator:
        return as_operator(other) + -self

    def __mul__(self, other: Any) -> DifferentialOperator:
        if isinstance(other, Real):
            return self._scaled(float(other))
        if isinstance(other, Symbol):
            return self._scaled(1.0, other)
        other = as_operator(other)
        if self.nonlinear or other.nonlinear:
            raise TypeError(
                "A nonlinear operator cannot be multiplied: write the product into Nonlinear(fn, of=[...])."
            )
        if any(isinstance(s, Field) for term in other.terms for s in term.symbols):
            raise TypeError(
                "Operators are multiplied only where the right one has constant coefficients: use the product rule."
            )
        return DifferentialOperator(
            [
                Term(a.number * b.number, a.symbols + b.symbols, a.orders + b.orders, a.laplacians + b.laplacians)
                for a in self.terms
                for b in other.terms
            ]
        )

    __rmul__ = __mul__

    def __truediv__(self, other: float) -> DifferentialOperator:
        return self._scaled(1.0 / other)

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


class Nonlinear(Saved):
    """A function of the solution and of derivatives of it, point by point; ``Laplacian() + Nonlinear(np.sin)`` adds it.

    Args:
        fn: elementwise function of as many arrays as ``of`` has operators.
        dfn: gives its partial derivatives: an array for one operator, a tuple for more. None: ``fn`` is written in
            torch, and its derivatives come from there.
        of: linear operators whose values at the solution are the arguments; default the solution itself. Burgers:
            ``Nonlinear(lambda u, slope: u * slope, of=(Identity(), D("x")))``.
    """

    def __init__(
        self, fn: Callable[..., Any], dfn: Callable[..., Any] | None = None, *, of: Sequence[Any] = ()
    ) -> None:
        self.fn, self.dfn = fn, dfn
        self.of = tuple(as_operator(o) for o in of) or (Identity(),)
        if not all(operator.is_linear for operator in self.of):
            raise TypeError("Nonlinear(of=...) takes linear operators; what is nonlinear belongs into fn.")

    def __repr__(self) -> str:
        return f"Nonlinear({getattr(self.fn, '__name__', 'fn')})"

    def values(self, arguments: Sequence[np.ndarray[Any, Any]]) -> tuple[Any, list[Any]]:
        """The function and its partial derivatives at arrays."""
        if self.dfn is not None:
            slopes = self.dfn(*arguments)
            slopes = list(slopes) if isinstance(slopes, tuple | list) else [slopes]
            if len(slopes) != len(self.of):
                raise ValueError(
                    f"{self!r}: dfn gave {len(slopes)} derivatives for {len(self.of)} arguments: return one each."
                )
            return np.asarray(self.fn(*arguments)), [np.broadcast_to(s, arguments[0].shape) for s in slopes]
        import torch

        leaves = [torch.tensor(a, requires_grad=True) for a in arguments]
        value = self.fn(*leaves)
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{self!r}: without dfn, fn has to be written in torch, so that it can be differentiated.")
        slopes = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        return value.detach().numpy(), [
            np.zeros_like(a) if s is None else s.numpy() for a, s in zip(arguments, slopes, strict=True)
        ]

    def torch_values(self, arguments: Sequence[Any]) -> Any:
        """The function at tensors, with their graph, where it can be run on them; for gradients by all unknowns."""
        if self.dfn is None:
            return self.fn(*arguments)
        value, slopes = self.values([a.detach().numpy() for a in arguments])
        total = arguments[0].new_tensor(np.array(value))
        for a, slope in zip(arguments, slopes, strict=True):
            total = total + a.new_tensor(np.array(slope)) * (a - a.detach())
        return total

    # arithmetic is that of the operator that has this one function
    def _as_operator(self) -> DifferentialOperator:
        return DifferentialOperator((), [(1.0, self)])

    def __add__(self, other: Any) -> DifferentialOperator:
        return self._as_operator().__add__(other)

    __radd__ = __add__

    def __neg__(self) -> DifferentialOperator:
        return -self._as_operator()

    def __sub__(self, other: Any) -> DifferentialOperator:
        return self._as_operator().__sub__(other)

    def __rsub__(self, other: Any) -> DifferentialOperator:
        return as_operator(other) + -self._as_operator()

    def __mul__(self, number: float) -> DifferentialOperator:
        return self._as_operator()._scaled(float(number))

    __rmul__ = __mul__


class Power(Nonlinear):
    """``u ** exponent``; unlike a function of one's own it can be saved.

    >>> Laplacian() + Power(3) - Identity()  # Allen-Cahn
    Laplacian() + -1 * Identity() + Power(3)
    """

    def __init__(self, exponent: int) -> None:
        self.exponent = exponent
        self.of = (Identity(),)

    def __repr__(self) -> str:
        return f"Power({self.exponent!r})"

    def values(self, arguments: Sequence[np.ndarray[Any, Any]]) -> tuple[Any, list[Any]]:
        """The power and its derivative."""
        (u,) = arguments
        return u**self.exponent, [self.exponent * u ** (self.exponent - 1)]

    def torch_values(self, arguments: Sequence[Any]) -> Any:
        """The power."""
        return arguments[0] ** self.exponent


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
    if isinstance(value, DifferentialOperator):
        return value
    if isinstance(value, Nonlinear):
        return value._as_operator()
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
