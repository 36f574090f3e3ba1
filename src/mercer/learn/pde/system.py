"""The equation at the free nodes of a grid: what collocation solves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mercer.learn.pde.axis_reduction import AxisReduction, along
from mercer.learn.pde.equation import Equation, Product
from mercer.learn.pde.grid_basis import AxisBasis

__all__ = ["Collocation"]


class Collocation:
    """The equation at the free nodes of a grid, for the values there.

    Args:
        equation: with boundary data for a square system.
        bases: one an axis.
    """

    def __init__(self, equation: Equation, bases: Sequence[AxisBasis]) -> None:
        self.equation, self.bases = equation, list(bases)
        self.axes = [AxisReduction(basis, equation, i) for i, basis in enumerate(bases)]
        self.shape = tuple(len(a.free) for a in self.axes)
        self._own: dict[tuple[int, int], Tensor] = {}
        self._reduced: dict[tuple[int, int], Tensor] = {}
        self.known = self._lift()

    def full(self, w: Tensor) -> Tensor:
        """Values on the whole grid from those at the free nodes."""
        for i, a in enumerate(self.axes):
            w = a.spread(w, i)
        return w.add_(self.known) if self.axes else self.known

    def at_free(self, values: Tensor) -> Tensor:
        """Values at the free nodes."""
        for i, a in enumerate(self.axes):
            values = values.index_select(i, a.free)
        return values

    def apply(self, products: Sequence[Product], U: Tensor) -> Tensor:
        """A linear operator at the whole grid's values, at the free nodes."""
        total = torch.zeros(self.shape, dtype=torch.float64)
        for p in products:
            value = U
            for i, (order, a) in enumerate(zip(p.orders, self.axes, strict=True)):
                value = along(self._derivative(i, order), value, i) if order else value.index_select(i, a.free)
            self._add(total, p, value)
        return total

    def apply_free(self, products: Sequence[Product], w: Tensor) -> Tensor:
        """The same for values at the free nodes and zero data: the matrix of the system."""
        total = torch.zeros(self.shape, dtype=torch.float64)
        for p in products:
            value = w
            for i, order in enumerate(p.orders):
                if order:
                    value = along(self.reduced(i, order), value, i)
            self._add(total, p, value)
        return total

    def settle(self, products: Sequence[Product]) -> None:
        """Keep the matrices of :meth:`apply_free` and drop those of :meth:`apply`, which makes them again if asked."""
        for p in products:
            for i, order in enumerate(p.orders):
                if order:
                    self.reduced(i, order)
        self._own.clear()

    def _add(self, total: Tensor, p: Product, value: Tensor) -> None:
        if p.is_constant:
            total.add_(value, alpha=float(p.coefficient))
        else:
            total.addcmul_(self.at_free(p.coefficient), value)

    def _derivative(self, axis: int, order: int) -> Tensor:
        """From all nodes of an axis to derivatives at its free ones, ``(n - b, n)``."""
        axis = self._first_alike(axis)
        if (axis, order) not in self._own:
            self._own[axis, order] = self.bases[axis].derivative(order)[self.axes[axis].free]
        return self._own[axis, order]

    def reduced(self, axis: int, order: int) -> Tensor:
        """The derivative between free nodes of an axis, ``(n - b, n - b)``."""
        axis = self._first_alike(axis)
        if (axis, order) not in self._reduced:
            self._reduced[axis, order] = self.axes[axis].reduced(self._derivative(axis, order))
        return self._reduced[axis, order]

    def _first_alike(self, axis: int) -> int:
        """The first axis with the same basis and the same rows of boundary data."""
        own = self.axes[axis]
        for i in range(axis):
            fixed, rows = self.axes[i].fixed, self.axes[i].rows
            if self.bases[i] is self.bases[axis] and torch.equal(fixed, own.fixed) and torch.equal(rows, own.rows):
                return i
        return axis

    def separable(self, products: Sequence[Product]) -> list[Tensor]:
        """One matrix an axis whose Kronecker sum is the operator, or near to it: fields by their mean."""
        parts: list[list[tuple[float, int]]] = [[] for _ in self.shape]  # factor and order of each derivative
        for p in products:
            mean = float(p.coefficient if p.is_constant else self.at_free(p.coefficient).mean())
            moved = [i for i, order in enumerate(p.orders) if order]
            if len(moved) <= 1:
                parts[moved[0] if moved else 0].append((mean, max(p.orders)))
        sums: list[Tensor] = []
        for axis, own in enumerate(parts):
            matrices = [(mean, self.reduced(axis, order) if order else None) for mean, order in own]
            same = next((j for j in range(axis) if parts[j] == own and self._same(j, axis, own)), None)
            sums.append(sums[same] if same is not None else _summed(matrices, self.shape[axis]))
        return sums

    def _same(self, i: int, j: int, parts: Sequence[tuple[float, int]]) -> bool:
        """Whether two axes have the same matrices."""
        return all(self.reduced(i, order) is self.reduced(j, order) for _, order in parts if order)

    def _lift(self) -> Tensor:
        """What the boundary data give where all free nodes are 0.

        Where faces meet, values count before slopes, and the data of the first axis before others.
        """
        shape = self.equation.domain.shape
        known = torch.zeros(shape, dtype=torch.float64)
        slopes = {face.axis for face in self.equation.boundary.used if face.order}
        order = sorted(range(len(shape)), key=lambda i: i in slopes)
        for place, i in enumerate(order):
            a = self.axes[i]
            if not len(a.rows):
                continue
            g = a.data.reshape(len(a.rows), *shape[:i], *shape[i + 1 :]).movedim(0, i)
            for j in order[:place]:  # of the data, only what the axes before do not say
                g = self.axes[j].spread(g.index_select(j, self.axes[j].free), j)
            known += a.of_data(g, i)
        return known


def _summed(matrices: Sequence[tuple[float, Tensor | None]], n: int) -> Tensor:
    """The sum of multiples of matrices, None for the identity."""
    if len(matrices) == 1 and matrices[0][0] == 1.0 and matrices[0][1] is not None:
        return matrices[0][1]
    total = torch.zeros(n, n, dtype=torch.float64)
    for factor, matrix in matrices:
        if matrix is None:
            total.diagonal().add_(factor)
        else:
            total.add_(matrix, alpha=factor)
    return total
