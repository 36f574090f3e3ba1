"""Kernels made of kernels: sum, product, multiple, power, columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mercer.kernels.base import POSITIVE, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Parameter, Value, format_value
from mercer.operators.expression import Expression


def as_kernel(value: Kernel | float) -> Kernel:
    """A number as a constant kernel.

    Raises:
        TypeError: neither a kernel nor a number.
    """
    from mercer.kernels.constant import Constant

    if isinstance(value, Kernel):
        return value
    if isinstance(value, (int, float, Parameter)):
        return Constant(value)
    raise TypeError(f"A kernel can be added to a kernel or a number, not to {type(value).__name__}.")


class Sum(Kernel):
    """k(x, y) = left(x, y) + right(x, y)."""

    def __init__(self, left: Kernel, right: Kernel) -> None:
        self.left, self.right = left, right

    def trace(self, binder: Binder) -> list[Expression]:
        """The terms of both."""
        return self.left.trace(binder) + self.right.trace(binder)

    def __repr__(self) -> str:
        right = f"({self.right!r})" if isinstance(self.right, Sum) else repr(self.right)
        return f"{self.left!r} + {right}"


class Product(Kernel):
    """k(x, y) = left(x, y) * right(x, y). Products of sums are multiplied out, so that each term can be planned."""

    def __init__(self, left: Kernel, right: Kernel) -> None:
        self.left, self.right = left, right

    def trace(self, binder: Binder) -> list[Expression]:
        """Every term of one times every term of the other."""
        right = self.right.trace(binder)
        return [a * b for a in self.left.trace(binder) for b in right]

    def __repr__(self) -> str:
        right = f"({self.right!r})" if isinstance(self.right, Product | Scaled) else _factor(self.right)
        return f"{_factor(self.left)} * {right}"


class Scaled(Kernel):
    """k(x, y) = scale * kernel(x, y), scale > 0."""

    domains: ClassVar[dict[str, Domain]] = {"scale": POSITIVE}

    def __init__(self, kernel: Kernel, scale: Value = 1.0) -> None:
        self.kernel, self.scale = kernel, scale
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """Each term times the scale."""
        scale = binder.scalar(self.value("scale"))
        return [term * scale for term in self.kernel.trace(binder)]

    def __repr__(self) -> str:
        inner = f"({self.kernel!r})" if isinstance(self.kernel, Product) else _factor(self.kernel)
        return f"{format_value(self.scale)} * {inner}"


class Power(Kernel):
    """k(x, y) = kernel(x, y) ** exponent for a whole exponent >= 1 (others need not be positive semidefinite)."""

    def __init__(self, kernel: Kernel, exponent: int) -> None:
        if not isinstance(exponent, int) or exponent < 1:
            raise ValueError(f"kernel ** {exponent!r}: the exponent must be a whole number >= 1 to give a kernel.")
        self.kernel, self.exponent = kernel, exponent

    def trace(self, binder: Binder) -> list[Expression]:
        """The power of the summed terms."""
        first, *rest = self.kernel.trace(binder)
        for term in rest:
            first = first + term
        return [first ** float(self.exponent)]

    def __repr__(self) -> str:
        compound = isinstance(self.kernel, Sum | Product | Scaled | Power)
        return f"{f'({self.kernel!r})' if compound else repr(self.kernel)} ** {self.exponent}"


class On(Kernel):
    """kernel(x[columns], y[columns]); columns by position, or by name where X is a pandas table."""

    def __init__(self, kernel: Kernel, columns: Sequence[int | str] | int | str) -> None:
        self.kernel = kernel
        self.columns = [columns] if isinstance(columns, int | str) else list(columns)
        if not self.columns:
            raise ValueError("on([]): name at least one column.")

    def resolve(self, names: Sequence[str]) -> Kernel:
        """Names replaced by positions."""
        positions: list[int] = []
        for column in self.columns:
            if isinstance(column, str) and column not in names:
                raise ValueError(f"on({self.columns}): there is no column {column!r}. There are: {', '.join(names)}.")
            positions.append(names.index(column) if isinstance(column, str) else column)
        return On(self.kernel.resolve([names[p] for p in positions]), positions)

    def trace(self, binder: Binder) -> list[Expression]:
        """The inner kernel's terms on those columns."""
        named = [c for c in self.columns if isinstance(c, str)]
        if named:
            raise TypeError(
                f"on({self.columns}) names columns, but X has no names. Give a pandas table, or positions: on([0, 2])."
            )
        positions: list[Any] = list(self.columns)
        return self.kernel.trace(binder.on(positions))

    def __repr__(self) -> str:
        compound = isinstance(self.kernel, Sum | Product | Scaled | Power)
        return f"{f'({self.kernel!r})' if compound else repr(self.kernel)}.on({self.columns!r})"


def _factor(kernel: Kernel) -> str:
    return f"({kernel!r})" if isinstance(kernel, Sum) else repr(kernel)
