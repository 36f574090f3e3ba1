"""Values and gradients observed together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer.kernels.arguments import Arguments
from mercer.kernels.base import Kernel
from mercer.kernels.points import as_points
from mercer.operators.matrices import BlockOperator


class GradientKernel(Arguments):
    r"""The covariance of a random function's values and gradients at the same points.

    .. math:: K = \begin{pmatrix} k & \partial_y k \\ \partial_x k & \partial_x \partial_y k \end{pmatrix}

    ``kernel.with_gradients()(X)`` is the lazy ``n (d + 1)``-square matrix of observations
    :meth:`stack` ``(y, gradients)``: solve and multiply with it as with any other. It is the matrix of GPyTorch's
    ``RBFKernelGrad``, ``Matern52KernelGrad`` and ``PolynomialKernelGrad``.

    Args:
        kernel: a kernel whose samples have a first derivative; see :class:`mercer.kernels.Derivative`.
        interleaved: the order of rows. True: point by point, the value and then its d derivatives (GPyTorch's order).
            False: all values, then all derivatives in the first column, and so on.

    Raises:
        TypeError, ValueError: when called, for a kernel that is not smooth enough.

    Cost: ``(d + 1)^2`` kernel matrices, none of them stored unless small; half as many for ``kernel(X)``.
    Source: Solak et al., Derivative observations in Gaussian process models of dynamic systems (NIPS 2002).

    >>> GradientKernel(RBF(lengthscale=2.0))(torch.zeros(1, 1), torch.ones(1, 1)).to_dense()
    tensor([[ 0.8825, -0.2206],
            [ 0.2206,  0.1655]])
    """

    def __init__(self, kernel: Kernel, interleaved: bool = True) -> None:
        if not isinstance(kernel, Kernel):
            raise TypeError(f"GradientKernel(kernel=...) must be a kernel, not {kernel!r}.")
        self.kernel, self.interleaved = kernel, interleaved

    def __call__(self, X: Any, Y: Any = None) -> BlockOperator:
        """The matrix for X ``(n, d)`` and Y ``(m, d)`` (None: X): ``(n (d + 1), m (d + 1))``, lazily."""
        d = as_points(X, "X").shape[-1]
        orders = [tuple(int(j == i) for j in range(d)) for i in range(-1, d)]
        rows: list[list[Any]] = []
        for a, order_x in enumerate(orders):
            row = []
            for b, order_y in enumerate(orders):
                # a block below the diagonal is the transpose of the one above it
                mirrored = Y is None and b < a
                row.append(rows[b][a].mT if mirrored else self.kernel.derivative(order_x, order_y)(X, Y))
            rows.append(row)
        return BlockOperator.grid(rows, interleaved=self.interleaved)

    def stack(self, y: Tensor, gradients: Tensor) -> Tensor:
        """Values ``(..., n)`` and gradients ``(..., n, d)`` as one vector ``(..., n (d + 1))`` in the rows' order."""
        table = torch.cat([y.unsqueeze(-1), gradients], -1)
        return (table if self.interleaved else table.mT).flatten(-2)

    def split(self, v: Tensor, n_columns: int) -> tuple[Tensor, Tensor]:
        """The values ``(..., n)`` and gradients ``(..., n, d)`` in a vector in the rows' order; d is ``n_columns``."""
        shape = (-1, n_columns + 1) if self.interleaved else (n_columns + 1, -1)
        table = v.unflatten(-1, shape)
        table = table if self.interleaved else table.mT
        return table[..., 0], table[..., 1:]
