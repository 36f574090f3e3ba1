"""From a kernel object and data to the Spec and tensors of an operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.operators.maps import Expression, constant, leaf
from mercer.operators.spec import RowValue, Spec
from mercer.operators.statistics import Columns, DotProduct, Embed, SquaredDistance, Statistic


@dataclass(frozen=True)
class Ones:
    """The row value 1, for kernels that look at no column."""

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        return torch.ones_like(X[..., 0]) if X.shape[-1] else X.new_ones(X.shape[:-1])


@dataclass
class Binder:
    """Collects statistics, row values and hyperparameters while a kernel writes its terms; equal statistics are shared.

    Attributes:
        X, Y: the data, ``(..., n, d)`` and ``(..., m, d)``.
        columns: the columns that the kernel being bound sees (None: all).
        used: the columns that some statistic or row value looks at.
    """

    X: Tensor
    Y: Tensor
    columns: tuple[int, ...] | None = None
    statistics: list[Statistic] = field(default_factory=list)
    row_values: list[RowValue] = field(default_factory=list)
    theta: list[Tensor] = field(default_factory=list)
    event_dims: list[int] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    _slots: dict[tuple[int, int], int] = field(default_factory=dict)
    _alive: list[Any] = field(default_factory=list)
    _sides: list[int] = field(default_factory=list)

    @property
    def width(self) -> int:
        """How many columns the kernel being bound sees."""
        return self.X.shape[-1] if self.columns is None else len(self.columns)

    @property
    def all_columns(self) -> tuple[int, ...]:
        """The columns that the kernel being bound sees, by position in X."""
        return tuple(range(self.X.shape[-1])) if self.columns is None else self.columns

    def on(self, columns: Sequence[int]) -> Binder:
        """The same collection for a kernel that sees only some of these columns."""
        seen = self.all_columns
        for c in columns:
            if not -len(seen) <= c < len(seen):
                raise ShapeError(f"on({list(columns)}): there is no column {c} (counted from 0) among {len(seen)}.")
        return replace(self, columns=tuple(seen[c] for c in columns))

    def slot(self, value: Tensor, event_dim: int) -> int:
        """The theta slot of a hyperparameter tensor; the same tensor keeps its slot."""
        key = (id(value), event_dim)
        if key not in self._slots:
            self._alive.append(value)  # an id is unique only while the tensor lives
            self._slots[key] = len(self.theta)
            self.theta.append(value)
            self.event_dims.append(event_dim)
        return self._slots[key]

    def scalar(self, value: Tensor) -> Expression:
        """A scalar hyperparameter, of shape ``(*batch,)``, in the map."""
        return leaf("theta", self.slot(value, 0))

    def one_sided(self, forth: Expression, back: Expression) -> Expression:
        """A value for k(x, y) that is not k(y, x): ``forth``, and ``back`` in the transposed matrix."""
        if not self._sides:
            self._sides.append(self.slot(torch.ones((), dtype=torch.float64), 0))
        side = leaf("theta", self._sides[0])
        return (0.5 + 0.5 * side) * forth + (0.5 - 0.5 * side) * back

    def vector(self, value: Tensor, name: str) -> int:
        """The slot of a hyperparameter with one entry a column: ``(*batch, width)``, ``(*batch, 1)`` or a scalar."""
        value = value.unsqueeze(-1) if value.dim() == 0 else value
        if value.shape[-1] not in (1, self.width):
            raise ShapeError(
                f"{name} has {value.shape[-1]} entries, but the kernel sees {self.width} columns. "
                f"Give one value, or one for each column."
            )
        return self.slot(value, 1)

    def statistic(self, statistic: Statistic) -> Expression:
        """The leaf of a statistic; equal ones are computed once."""
        self.used.update(self.all_columns)
        if statistic not in self.statistics:
            self.statistics.append(statistic)
        return leaf("statistic", self.statistics.index(statistic))

    def scaled(
        self, make: Callable[[Embed], Statistic], lengthscale: Tensor, name: str
    ) -> tuple[Expression, Expression]:
        """A statistic of points in lengthscales, as (statistic, lengthscale left to divide by).

        One lengthscale stays in the map, so that kernels of several lengthscales share a GEMM; one a column goes into
        the embedding.
        """
        if lengthscale.dim() == 0:
            return self.statistic(make(Columns(self.columns))), self.scalar(lengthscale)
        if lengthscale.shape[-1] == 1 and self.width != 1:
            return self.statistic(make(Columns(self.columns))), self.scalar(lengthscale.squeeze(-1))
        slot = self.vector(lengthscale, name)
        return self.statistic(make(Columns(self.columns, slot))), constant(1.0)

    def squared_distance(self, lengthscale: Tensor, name: str = "lengthscale") -> Expression:
        """|x - y|^2 in lengthscales."""
        s, scale = self.scaled(SquaredDistance, lengthscale, name)
        return s / (scale * scale)

    def dot_product(self, lengthscale: Tensor, name: str = "lengthscale") -> Expression:
        """<x, y> of points in lengthscales."""
        s, scale = self.scaled(DotProduct, lengthscale, name)
        return s / (scale * scale)

    def row_value(self, value: RowValue) -> tuple[Expression, Expression]:
        """A number a point, as (of x, of y)."""
        self.used.update(self.all_columns)
        if value not in self.row_values:
            self.row_values.append(value)
        g = self.row_values.index(value)
        return leaf("row", g), leaf("column", g)

    def spec(self, terms: Sequence[Expression], name: str) -> Spec:
        """The finished description."""
        if not self.statistics and not self.row_values:
            self.row_values.append(Ones())  # something has to carry the shape of the data
        side = self._sides[0] if self._sides else None
        return Spec(tuple(self.statistics), tuple(terms), tuple(self.event_dims), tuple(self.row_values), name, side)
