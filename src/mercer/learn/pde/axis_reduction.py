"""One axis of a grid without the nodes that the boundary data determine."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mercer.learn.pde.equation import Equation
from mercer.learn.pde.grid_basis import AxisBasis

__all__ = ["AxisReduction", "along"]


class AxisReduction:
    """One axis with its boundary rows taken out: values w at the free nodes and data g give those at the others.

    Attributes:
        rows: ``(b, n)``: what is known on the boundary is ``g = rows @ u``.
        free: the free nodes.
        fixed: the other ones, ``(b,)``.
        from_free: ``(b, n - b)``; values at the fixed nodes are ``from_free @ w + from_data @ g``.
        from_data: ``(b, b)``.
        data: g, ``(b, nodes of the other axes)``.
    """

    def __init__(self, basis: AxisBasis, equation: Equation, axis: int) -> None:
        n, domain = len(basis.nodes), equation.domain
        others = domain.shape[:axis] + domain.shape[axis + 1 :]
        rows, fixed, data = [], [], []
        if axis in equation.boundary.periodic:
            for order in range(max(1, equation.highest_orders()[axis])):
                rows.append(basis.derivative_at(0, order) - basis.derivative_at(n - 1, order))
                fixed.append(0 if order else n - 1)
                data.append(torch.zeros(others, dtype=torch.float64))
        for face in equation.boundary.used:
            if face.axis == axis:
                place = n - 1 if face.side else 0
                rows.append(basis.derivative_at(place, face.order))
                fixed.append(place)
                data.append(face.values)
        is_free = torch.ones(n, dtype=torch.bool)
        is_free[fixed] = False
        self.free = torch.nonzero(is_free).squeeze(1)
        self.rows = torch.stack(rows) if rows else torch.zeros(0, n, dtype=torch.float64)
        self.data = torch.stack([g.reshape(-1) for g in data]) if data else torch.zeros(0, math.prod(others))
        self.fixed = torch.tensor(fixed, dtype=torch.int64)
        self.from_data = torch.linalg.inv(self.rows[:, fixed])
        self.from_free = -self.from_data @ self.rows[:, self.free]

    def spread(self, w: Tensor, axis: int) -> Tensor:
        """Values at all nodes from those at the free ones, where the data are 0."""
        shape = list(w.shape)
        shape[axis] = len(self.free) + len(self.fixed)
        u = w.new_empty(shape)
        u.index_copy_(axis, self.free, w)
        if len(self.fixed):
            u.index_copy_(axis, self.fixed, along(self.from_free, w, axis))
        return u

    def of_data(self, g: Tensor, axis: int) -> Tensor:
        """Values at all nodes where the free ones are 0; g has the data along the axis."""
        shape = list(g.shape)
        shape[axis] = len(self.free) + len(self.fixed)
        return g.new_zeros(shape).index_copy_(axis, self.fixed, along(self.from_data, g, axis))

    def reduced(self, own: Tensor) -> Tensor:
        """A matrix from all nodes to free ones ``(n - b, n)`` as one between free nodes, ``(n - b, n - b)``."""
        return own[:, self.free].addmm_(own[:, self.fixed], self.from_free)


def along(matrix: Tensor, values: Tensor, axis: int) -> Tensor:
    """The product with each line of values along an axis."""
    before, after = math.prod(values.shape[:axis]), math.prod(values.shape[axis + 1 :])
    if after == 1:
        product = values.reshape(before, -1) @ matrix.mT
    elif before == 1:
        product = matrix @ values.reshape(-1, after)
    else:
        product = torch.matmul(matrix, values.reshape(before, -1, after))
    return product.reshape(*values.shape[:axis], len(matrix), *values.shape[axis + 1 :])
