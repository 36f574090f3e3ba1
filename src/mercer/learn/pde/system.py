"""The equation at the free nodes of a grid: what collocation solves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mercer.learn.pde.axis_reduction import AxisReduction
from mercer.learn.pde.equation import Equation, Product
from mercer.learn.pde.grid_basis import AxisBasis
from mercer.operators.kronecker import multiply_modes

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
        self._reduced: dict[tuple[int, int], Tensor] = {}
        self.known = self._lift()

    def full(self, w: Tensor) -> Tensor:
        """Values on the whole grid from those at the free nodes."""
        return self.known + _modes([a.E for a in self.axes], w)

    def at_free(self, values: Tensor) -> Tensor:
        """Values at the free nodes."""
        for i, a in enumerate(self.axes):
            values = values.index_select(i, a.free)
        return values

    def apply(self, products: Sequence[Product], U: Tensor) -> Tensor:
        """A linear operator at the whole grid's values, at the free nodes."""
        total = torch.zeros(self.shape, dtype=torch.float64)
        for p in products:
            factors = [
                b.derivative(o)[a.free] if o else None for a, b, o in zip(self.axes, self.bases, p.orders, strict=True)
            ]
            value = U
            for i, (factor, a) in enumerate(zip(factors, self.axes, strict=True)):
                value = value.index_select(i, a.free) if factor is None else _along(factor, value, i)
            total += (p.coefficient if p.is_constant else self.at_free(p.coefficient)) * value
        return total

    def apply_free(self, products: Sequence[Product], w: Tensor) -> Tensor:
        """The same for values at the free nodes and zero data: the matrix of the system."""
        total = torch.zeros(self.shape, dtype=torch.float64)
        for p in products:
            value = w
            for i, order in enumerate(p.orders):
                if order:
                    value = _along(self.reduced(i, order), value, i)
            total += (p.coefficient if p.is_constant else self.at_free(p.coefficient)) * value
        return total

    def reduced(self, axis: int, order: int) -> Tensor:
        """The derivative between free nodes of an axis, ``(n - b, n - b)``."""
        if (axis, order) not in self._reduced:
            a = self.axes[axis]
            self._reduced[axis, order] = self.bases[axis].derivative(order)[a.free] @ a.E
        return self._reduced[axis, order]

    def separable(self, products: Sequence[Product]) -> list[Tensor]:
        """One matrix an axis whose Kronecker sum is the operator, or near to it: fields by their mean."""
        sums = [torch.zeros(n, n, dtype=torch.float64) for n in self.shape]
        for p in products:
            mean = p.coefficient if p.is_constant else self.at_free(p.coefficient).mean()
            moved = [i for i, order in enumerate(p.orders) if order]
            if not moved:
                sums[0].diagonal().add_(mean)
            elif len(moved) == 1:
                sums[moved[0]] += mean * self.reduced(moved[0], p.orders[moved[0]])
        return sums

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
                g = _along(self.axes[j].E, g.index_select(j, self.axes[j].free), j)
            known += _along(a.G, g, i)
        return known


def _modes(factors: Sequence[Tensor], values: Tensor) -> Tensor:
    return multiply_modes(tuple(factors), values.reshape(-1, 1)).reshape([f.shape[0] for f in factors])


def _along(matrix: Tensor, values: Tensor, axis: int) -> Tensor:
    product: Tensor = torch.tensordot(matrix, values, ([1], [axis]))
    return product.movedim(0, axis)
