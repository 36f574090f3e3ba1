"""A kernel before and another kernel after a point in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mercer.kernels.algebra import Composite
from mercer.kernels.base import POSITIVE, REAL, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression


@dataclass(frozen=True)
class Side:
    """How far a point is past the change, between 0 and 1, or how far before it."""

    column: int
    location: int
    steepness: int
    after: bool

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        location, steepness = theta[self.location].unsqueeze(-1), theta[self.steepness].unsqueeze(-1)
        # In float64: a location far from 0, such as a year, would lose its digits in float32.
        z = steepness * (X[..., self.column].to(torch.float64) - location)
        # Ended at -80, as exponents in tiles: below, float32 has denormals, which are slow.
        return torch.sigmoid((z if self.after else -z).clamp(min=-80.0)).to(X.dtype)


class ChangePoint(Composite):
    r"""Change point: ``before`` holds on one side of a location in one column, ``after`` on the other.

    .. math:: k(x, y) = (1 - \sigma(x)) (1 - \sigma(y)) \, k_b(x, y) + \sigma(x) \sigma(y) \, k_a(x, y), \quad
        \sigma(x) = \frac{1}{1 + \exp(-s (x_c - m))}

    Args:
        before: the kernel for small values of the column.
        after: the kernel for large values.
        location: m, ``()``, where the change is, in the units of the column; any sign.
        steepness: s, ``()``, > 0, in 1 / units of the column: nine tenths of the change happen within 6 / s.
        column: c, a position, or the name of a column where X is a pandas table. Both kernels see all columns.

    Raises:
        TypeError: a kernel is missing; at binding, a name where X has none.
        ValueError: a steepness that is not positive, a location that is not finite, a name that is not there.

    Cost: that of both kernels, and three multiplications a pair.
    Source: Lloyd et al., Automatic construction and natural-language description of nonparametric regression models
    (AAAI 2014), section 2; Saatci et al., Gaussian process change point models (ICML 2010).

    >>> kernel = ChangePoint(Constant(1.0), Constant(4.0), location=10.0, steepness=100.0)
    >>> kernel(torch.tensor([[9.0], [11.0], [12.0]])).to_dense().round(decimals=4)
    tensor([[1., 0., 0.],
            [0., 4., 4.],
            [0., 4., 4.]])
    """

    in_grammar = True
    domains: ClassVar[dict[str, Domain]] = {"location": REAL, "steepness": POSITIVE}
    inner = ("before", "after")

    def __init__(
        self,
        before: Kernel,
        after: Kernel,
        location: Value = 0.0,
        steepness: Value = 1.0,
        column: int | str = 0,
    ) -> None:
        self.before, self.after = before, after
        self.location, self.steepness, self.column = location, steepness, column
        self.check()

    def check(self) -> None:
        """Raise TypeError or ValueError for an argument outside its domain."""
        super().check()
        if isinstance(self.column, bool) or not isinstance(self.column, int | str):
            raise TypeError(f"ChangePoint(column={self.column!r}): a column is a position or a name.")

    def resolve(self, names: Sequence[str]) -> Kernel:
        """The same kernel with column names replaced by positions."""
        column = self.column
        if isinstance(column, str):
            if list(names).count(column) != 1:
                raise ValueError(f"ChangePoint(column={column!r}): there is no one such column among {list(names)}.")
            column = list(names).index(column)
        changes = {"before": self.before.resolve(names), "after": self.after.resolve(names), "column": column}
        return self._rebuild(changes)

    def trace(self, binder: Binder) -> list[Expression]:
        """The terms of both kernels, each times how much both points belong to its side."""
        if isinstance(self.column, str):
            raise TypeError(f"ChangePoint(column={self.column!r}) names a column, but X has no names. Give a position.")
        alone = binder.on([self.column])
        (position,) = alone.all_columns
        location, steepness = (binder.slot(self.hyperparameter(name), 0) for name in ("location", "steepness"))
        terms = []
        for kernel, after in ((self.before, False), (self.after, True)):
            row, column = alone.row_value(Side(position, location, steepness, after))
            terms += [term * (row * column) for term in kernel.trace(binder)]
        return terms
