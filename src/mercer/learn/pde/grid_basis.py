"""One axis of a grid: its kernel matrix, factorised, derivatives of what interpolates nodes, values between nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.kernels import Kernel
from mercer.learn.pde.axis_kernel import AxisKernel, Gram
from mercer.learn.pde.domain import evenly
from mercer.operators.kronecker import multiply_modes

__all__ = ["AxisBasis", "GridFunction"]

JITTERS = (1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)  # shares of k(0), the first that factorises
FULLEST = 4.0  # points that are a share 1 / 4 of a grid or more are computed on the grid
BLOCK = 512


class AxisBasis:
    """The Gaussian process of one axis, given its values at the nodes.

    Args:
        nodes: ``(n,)``.
        kernel: of this axis.
        jitter: to be added to the diagonal; None: the least share of k(0) with which the matrix factorises.

    Raises:
        ValueError: no share up to 1e-6 is enough.
    """

    def __init__(self, nodes: Tensor, kernel: Kernel, jitter: float | None = None) -> None:
        self.nodes, self.kernel = nodes, AxisKernel.of(kernel)
        self._gram = Gram(nodes, nodes)
        K = self._gram(self.kernel)
        diagonal = K.diagonal().clone()
        for added in [float(share * diagonal[0]) for share in JITTERS] if jitter is None else [jitter]:
            K.diagonal().copy_(diagonal + added)
            self.factor, failed = torch.linalg.cholesky_ex(K)
            if not int(failed):
                break
        else:
            raise ValueError(
                f"The matrix of {kernel!r} at {len(nodes)} nodes is not positive definite: the lengthscale is long "
                f"against the distance of the nodes. Use a shorter one, or envelope='student_t'."
            )

    def derivative(self, order: int) -> Tensor:
        """``k^(order) K^-1``, ``(n, n)``: from values at the nodes to derivatives there."""
        if order == 0:
            return torch.eye(len(self.nodes), dtype=torch.float64)
        return self.times_inverse(self._gram(self.kernel, order))

    def derivative_at(self, place: int, order: int) -> Tensor:
        """One row of that, ``(n,)``; order 0 is the value there."""
        if order == 0:
            return (torch.arange(len(self.nodes)) == place).double()
        return self.cross(self.nodes[place, None], order)[0]

    def times_inverse(self, rows: Tensor) -> Tensor:
        """``rows K^-1``, ``(m, n)``."""
        return torch.cholesky_solve(rows.mT, self.factor).mT

    def cross(self, coordinates: Tensor, order: int) -> Tensor:
        """``k^(order)(coordinates, nodes) K^-1``, ``(m, n)``."""
        return self.times_inverse(Gram(coordinates, self.nodes)(self.kernel, order))


class GridFunction:
    """The function that has given values on a grid: the mean of a Gaussian process with a product kernel.

    Args:
        bases: one an axis.
        values: ``(n_1, ..., n_d)``.
    """

    def __init__(self, bases: Sequence[AxisBasis], values: Tensor) -> None:
        self.bases, self.values = list(bases), values

    def misfit(self) -> float:
        """How far it is off at nodes, as the jitter makes it, as a share of the largest value."""
        chosen = [evenly(len(basis.nodes), len(self.bases)) for basis in self.bases]
        rows = tuple(b.cross(b.nodes[c], 0) for b, c in zip(self.bases, chosen, strict=True))
        expected = self.values[torch.meshgrid(*chosen, indexing="ij")]
        found = multiply_modes(rows, self.values.reshape(-1, 1)).view_as(expected)
        return float((found - expected).abs().max()) / (float(self.values.abs().max()) or 1.0)

    def __call__(self, points: Tensor, orders: Sequence[int]) -> Tensor:
        """The derivative of these orders at points ``(m, d)``; ``(m,)``.

        Cost: for points that are a grid one small product an axis, else ``m n`` for n nodes.
        """
        axes = [np.unique(column, return_inverse=True) for column in points.numpy().T]
        if np.prod([float(len(a)) for a, _ in axes]) <= FULLEST * len(points):
            factors = tuple(
                basis.cross(torch.as_tensor(a), order)
                for basis, (a, _), order in zip(self.bases, axes, orders, strict=True)
            )
            table = multiply_modes(factors, self.values.reshape(-1, 1)).reshape([len(a) for a, _ in axes])
            return table[tuple(torch.as_tensor(index) for _, index in axes)]
        parts = []
        for start in range(0, len(points), BLOCK):
            chunk = points[start : start + BLOCK]
            rows = [
                basis.cross(chunk[:, i], order) for i, (basis, order) in enumerate(zip(self.bases, orders, strict=True))
            ]
            total: Any = self.values.reshape(len(self.bases[0].nodes), -1)
            total = rows[0] @ total  # (m, n_2 ...)
            for row in rows[1:]:
                total = (row.unsqueeze(-1) * total.reshape(*row.shape, -1)).sum(1)
            parts.append(total.reshape(len(chunk)))
        return torch.cat(parts)
