"""One axis of a grid without the nodes that the boundary data determine."""

from __future__ import annotations

import math

import torch

from mercer.learn.pde.equation import Equation
from mercer.learn.pde.grid_basis import AxisBasis

__all__ = ["AxisReduction"]


class AxisReduction:
    """One axis with its boundary rows taken out: ``u = E w + G g`` for the values w at the other nodes.

    Attributes:
        rows: ``(b, n)``: what is known on the boundary is ``g = rows @ u``.
        free: the other nodes.
        E: ``(n, n - b)``.
        G: ``(n, b)``.
        data: g, ``(b, nodes of the other axes)``.
    """

    def __init__(self, basis: AxisBasis, equation: Equation, axis: int) -> None:
        n, domain = len(basis.nodes), equation.domain
        others = domain.shape[:axis] + domain.shape[axis + 1 :]
        rows, fixed, data = [], [], []
        if axis in equation.boundary.periodic:
            for order in range(max(1, equation.highest_orders()[axis])):
                D = basis.derivative(order)
                rows.append(D[0] - D[-1])
                fixed.append(0 if order else n - 1)
                data.append(torch.zeros(others, dtype=torch.float64))
        for face in equation.boundary.used:
            if face.axis == axis:
                place = n - 1 if face.side else 0
                rows.append(basis.derivative(face.order)[place])
                fixed.append(place)
                data.append(face.values)
        is_free = torch.ones(n, dtype=torch.bool)
        is_free[fixed] = False
        self.free = torch.nonzero(is_free).squeeze(1)
        self.E, self.G = (
            torch.zeros(n, len(self.free), dtype=torch.float64),
            torch.zeros(n, len(fixed), dtype=torch.float64),
        )
        self.E[self.free, torch.arange(len(self.free))] = 1.0
        self.rows = torch.stack(rows) if rows else torch.zeros(0, n, dtype=torch.float64)
        self.data = torch.stack([g.reshape(-1) for g in data]) if data else torch.zeros(0, math.prod(others))
        if fixed:
            inverse = torch.linalg.inv(self.rows[:, fixed])
            self.E[fixed] = -inverse @ self.rows[:, self.free]
            self.G[fixed] = inverse
