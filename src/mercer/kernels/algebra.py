"""Kernels made of kernels: sum, product, multiple, power, columns."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from mercer.errors import ShapeError
from mercer.kernels.base import POSITIVE, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Parameter, Value, format_value
from mercer.kernels.spectral_measure import Convolution, Mixture, Multiple, OfColumns, SpectralMeasure
from mercer.operators.maps import Expression

Column = int | str
LARGEST_PRODUCT = 16  # terms; (a + b) * (c + d) * ... has 2^n of them


def as_kernel(value: Kernel | float) -> Kernel:
    """A number as a constant kernel.

    Raises:
        TypeError: neither a kernel nor a number.
    """
    if isinstance(value, Kernel):
        return value
    if isinstance(value, Real | Parameter | Tensor):
        from mercer.kernels.constant import Constant

        return Constant(value)
    raise TypeError(f"A kernel can be added to a kernel or a number, not to {type(value).__name__}.")


class Composite(Kernel):
    """A kernel of other kernels, its arguments of type ``Kernel``; the ones here are written with operators."""

    in_grammar: ClassVar[bool] = False
    inner: ClassVar[tuple[str, ...]]

    def check(self) -> None:
        """Raise TypeError where a kernel is missing."""
        super().check()
        for name in self.inner:
            if not isinstance(getattr(self, name), Kernel):
                raise TypeError(f"{type(self).__name__}({name}=...) must be a kernel, not {getattr(self, name)!r}.")


class Sum(Composite):
    """k(x, y) = left(x, y) + right(x, y)."""

    inner = ("left", "right")

    def __init__(self, left: Kernel, right: Kernel) -> None:
        self.left, self.right = left, right
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """The terms of both."""
        return self.left.trace(binder) + self.right.trace(binder)

    def spectrum(self, d: int) -> SpectralMeasure:
        """Frequencies of one or the other."""
        return Mixture((self.left.spectrum(d), self.right.spectrum(d)))

    def __repr__(self) -> str:
        return f"{self.left!r} + {_in_brackets(self.right, Sum)}"


class Product(Composite):
    """k(x, y) = left(x, y) * right(x, y). Short products of sums are multiplied out: a plan for each term."""

    inner = ("left", "right")

    def __init__(self, left: Kernel, right: Kernel) -> None:
        self.left, self.right = left, right
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """Every term of one times every term of the other."""
        left, right = self.left.trace(binder), self.right.trace(binder)
        if len(left) * len(right) > LARGEST_PRODUCT:
            left, right = [total(left)], [total(right)]
        return [a * b for a in left for b in right]

    def spectrum(self, d: int) -> SpectralMeasure:
        """Sums of frequencies of both."""
        return Convolution((self.left.spectrum(d), self.right.spectrum(d)))

    def __repr__(self) -> str:
        return f"{_in_brackets(self.left, Sum)} * {_in_brackets(self.right, Sum, Product, Scaled)}"


class Scaled(Composite):
    """k(x, y) = scale * kernel(x, y), scale > 0."""

    domains: ClassVar[dict[str, Domain]] = {"scale": POSITIVE}
    inner = ("kernel",)

    def __init__(self, kernel: Kernel, scale: Value = 1.0) -> None:
        self.kernel, self.scale = kernel, scale
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """Each term times the scale."""
        scale = binder.scalar(self.hyperparameter("scale"))
        return [term * scale for term in self.kernel.trace(binder)]

    def spectrum(self, d: int) -> SpectralMeasure:
        """The scaled spectrum."""
        return Multiple(self.kernel.spectrum(d), self.hyperparameter("scale"))

    def __repr__(self) -> str:
        return f"{format_value(self.scale, real=True)} * {_in_brackets(self.kernel, Sum, Product, Scaled)}"


class Power(Composite):
    """k(x, y) = kernel(x, y) ** exponent for a whole exponent >= 1 (others need not be positive semidefinite)."""

    inner = ("kernel",)

    def __init__(self, kernel: Kernel, exponent: int) -> None:
        self.kernel, self.exponent = kernel, exponent
        self.check()

    def check(self) -> None:
        """Raise TypeError without a kernel, ValueError for another exponent."""
        super().check()
        if isinstance(self.exponent, bool) or not isinstance(self.exponent, Integral) or self.exponent < 1:
            raise ValueError(f"kernel ** {self.exponent!r}: the exponent must be a whole number >= 1 to give a kernel.")

    def trace(self, binder: Binder) -> list[Expression]:
        """The power of the summed terms."""
        return [total(self.kernel.trace(binder)) ** float(self.exponent)]

    def spectrum(self, d: int) -> SpectralMeasure:
        """Sums of as many frequencies as the exponent says."""
        return Convolution((self.kernel.spectrum(d),) * self.exponent)

    def __repr__(self) -> str:
        return f"{_in_brackets(self.kernel, Sum, Product, Scaled, Power)} ** {int(self.exponent)}"


class On(Composite):
    """kernel(x[columns], y[columns]); columns by position, or by name where X is a pandas table.

    Args:
        kernel: what to apply to the chosen columns; lengthscales one a column are in their order.
        columns: positions (negative ones count from the end) or names; one, or a sequence.
    """

    inner = ("kernel",)

    def __init__(self, kernel: Kernel, columns: Sequence[Column] | Column) -> None:
        self.kernel, self.columns = kernel, columns
        self.check()

    def check(self) -> None:
        """Raise TypeError or ValueError for columns that are none."""
        super().check()
        if not self._columns():
            raise ValueError("on([]): name at least one column.")
        for column in self._columns():
            if isinstance(column, bool) or not isinstance(column, int | str):
                raise TypeError(f"on({self.columns!r}): a column is a position or a name, not {column!r}.")

    def _columns(self) -> list[Column]:
        chosen = [self.columns] if isinstance(self.columns, int | np.integer | str) else list(self.columns)
        return [int(c) if isinstance(c, np.integer) else c for c in chosen]

    def resolve(self, names: Sequence[str]) -> Kernel:
        """Names replaced by positions."""
        positions = []
        for column in self._columns():
            if isinstance(column, str) and names.count(column) != 1:
                problem = "more than one column" if column in names else "no column"
                raise ValueError(f"on({self.columns!r}): there is {problem} {column!r}. There are: {', '.join(names)}.")
            positions.append(names.index(column) if isinstance(column, str) else column)
        inner = [names[p] for p in positions if -len(names) <= p < len(names)]
        return On(self.kernel.resolve(inner) if len(inner) == len(positions) else self.kernel, positions)

    def trace(self, binder: Binder) -> list[Expression]:
        """The inner kernel's terms on those columns."""
        positions: list[Any] = self._columns()
        if any(isinstance(c, str) for c in positions):
            raise TypeError(
                f"on({self.columns!r}) names columns, but X has no names. "
                f"Give a pandas table, or positions: on([0, 2])."
            )
        return self.kernel.trace(binder.on(positions))

    def spectrum(self, d: int) -> SpectralMeasure:
        """Frequencies along those columns only."""
        columns: list[Any] = self._columns()
        if any(isinstance(c, str) or not -d <= c < d for c in columns):
            raise ShapeError(f"on({self.columns!r}): a spectrum of points with {d} columns needs positions among them.")
        return OfColumns(self.kernel.spectrum(len(columns)), tuple(c % d for c in columns), d)

    def __repr__(self) -> str:
        return f"{_in_brackets(self.kernel, Sum, Product, Scaled, Power)}.on({self._columns()!r})"


def total(terms: Sequence[Expression]) -> Expression:
    """The sum of the terms as one."""
    first, *rest = terms
    return sum(rest, first)


def _in_brackets(kernel: Kernel, *classes: type[Kernel]) -> str:
    """The kernel's text, in brackets where it is of a class that would be read in another way without."""
    return f"({kernel!r})" if isinstance(kernel, classes) else repr(kernel)
