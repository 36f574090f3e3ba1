"""A matrix centred in feature space, without storing it."""

from __future__ import annotations

from typing import Any

import torch
from linear_operator.operators import DenseLinearOperator, LinearOperator
from torch import Tensor

from mercer.errors import ShapeError
from mercer.operators.matrices.base import Operator, require_dense_memory
from mercer.operators.solvers import in_double

__all__ = ["CenteredOperator"]


class CenteredOperator(Operator):
    r"""The kernel matrix of points whose images have been centred.

    .. math:: H K H, \quad H = I - \mathbf{1}\mathbf{1}^T / n

    A product subtracts the mean of the vector, multiplies by K, and subtracts the mean of the result: nothing
    beside K's own cost.

    Args:
        operator: K ``(n, n)``, symmetric, a tensor or an operator.
        means: of the columns of K, ``(n,)``; None computes them (one product). Products do not use them,
            the diagonal and blocks do.

    Raises:
        ShapeError: K is no single square matrix.

    Source: Schoelkopf, Smola & Mueller, Nonlinear component analysis as a kernel eigenvalue problem (1998), appendix B.

    >>> CenteredOperator(torch.tensor([[2.0, 0.0], [0.0, 4.0]])).to_dense()
    tensor([[ 1.5000, -1.5000],
            [-1.5000,  1.5000]])
    """

    def __init__(self, operator: Tensor | LinearOperator, means: Tensor | None = None) -> None:
        if operator.dim() != 2 or operator.shape[0] != operator.shape[1]:
            raise ShapeError(f"CenteredOperator needs one square matrix, not {tuple(operator.shape)}.")
        K = DenseLinearOperator(operator) if isinstance(operator, Tensor) else operator
        if means is None:
            n = K.shape[0]
            means = torch.as_tensor(K @ torch.full((n,), 1.0 / n, dtype=K.dtype, device=K.device))
        means = means.to(K.dtype)
        super().__init__(K, means)
        self.operator, self.means = K, means

    def _size(self) -> torch.Size:
        return torch.Size(self.operator.shape)

    def _matmul(self, rhs: Tensor) -> Tensor:
        axis = -1 if rhs.dim() == 1 else -2
        product = self.operator._matmul(rhs - rhs.mean(axis, keepdim=True))
        result: Tensor = product - product.mean(axis, keepdim=True)
        return result

    def _transpose_nonbatch(self) -> CenteredOperator:
        return self

    def _diagonal(self) -> Tensor:
        result: Tensor = self.operator._diagonal() - 2.0 * self.means + self.means.mean()
        return result

    def to_dense(self) -> Tensor:
        """H K H as a tensor."""
        require_dense_memory(self, "to_dense() of a centred matrix")
        return torch.as_tensor(self.operator.to_dense()) - self.means[:, None] - self.means + self.means.mean()

    def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> LinearOperator:
        block = torch.as_tensor(self.operator._getitem(row_index, col_index, *batch_indices).to_dense())
        return DenseLinearOperator(block - self.means[row_index][:, None] - self.means[col_index] + self.means.mean())

    def _get_indices(self, row_index: Tensor, col_index: Tensor, *batch_indices: Tensor) -> Tensor:
        entries = self.operator._get_indices(row_index, col_index, *batch_indices)
        result: Tensor = entries - self.means[row_index] - self.means[col_index] + self.means.mean()
        return result

    def double(self, device_id: str | None = None) -> CenteredOperator:
        """Of K in float64; its means are computed again where K was not."""
        return CenteredOperator(in_double(self.operator), None if self.dtype != torch.float64 else self.means)

    def float(self, device_id: str | None = None) -> CenteredOperator:
        """Of K in float32."""
        return CenteredOperator(self.operator.float(), self.means.float())
