"""The normalised matrix of a graph whose links are a kernel's values, without storing it."""

from __future__ import annotations

from typing import Any

import torch
from linear_operator.operators import DenseLinearOperator, LinearOperator
from torch import Tensor

from mercer.errors import ShapeError
from mercer.operators.matrices.base import Operator, require_dense_memory
from mercer.operators.solvers import in_double

__all__ = ["NormalizedAdjacency"]


class NormalizedAdjacency(Operator):
    r"""Links between points, divided by the roots of both degrees: the identity minus the normalised Laplacian.

    .. math:: D^{-1/2} (A - \operatorname{diag} A) D^{-1/2}, \quad D_{ii} = \sum_{j \ne i} A_{ij}

    Args:
        operator: A ``(n, n)``, symmetric, not negative, a tensor or an operator.
        own: its diagonal, ``(n,)``, and
        degrees: the row sums without it; both None computes them (one product). A row without links, whose degree is
            round-off, is a row of zeros.

    Raises:
        ShapeError: A is no single square matrix.

    Source: von Luxburg, A tutorial on spectral clustering (2007), section 3.2.

    >>> NormalizedAdjacency(torch.tensor([[7.0, 2.0, 0.0], [2.0, 7.0, 6.0], [0.0, 6.0, 7.0]])).to_dense()
    tensor([[0.0000, 0.5000, 0.0000],
            [0.5000, 0.0000, 0.8660],
            [0.0000, 0.8660, 0.0000]])
    """

    def __init__(
        self, operator: Tensor | LinearOperator, own: Tensor | None = None, degrees: Tensor | None = None
    ) -> None:
        if operator.dim() != 2 or operator.shape[0] != operator.shape[1]:
            raise ShapeError(f"NormalizedAdjacency needs one square matrix, not {tuple(operator.shape)}.")
        A = DenseLinearOperator(operator) if isinstance(operator, Tensor) else operator
        if own is None or degrees is None:
            own = torch.as_tensor(A.diagonal())
            degrees = torch.as_tensor(A @ torch.ones_like(own)) - own
        super().__init__(A, own, degrees)
        self.operator, self.own, self.degrees = A, own, degrees
        is_linked = degrees > 8.0 * torch.finfo(own.dtype).eps * own.abs()
        self.scale = torch.where(is_linked, degrees, torch.inf).rsqrt()
        self.roots = torch.where(is_linked, degrees, 1.0).sqrt()

    def _size(self) -> torch.Size:
        return torch.Size(self.operator.shape)

    def _matmul(self, rhs: Tensor) -> Tensor:
        scale, own = (t if rhs.dim() == 1 else t.unsqueeze(-1) for t in (self.scale, self.own))
        scaled = scale * rhs
        product: Tensor = self.operator._matmul(scaled) - own * scaled
        return scale * product

    def _transpose_nonbatch(self) -> NormalizedAdjacency:
        return self

    def _diagonal(self) -> Tensor:
        return torch.zeros_like(self.own)

    def to_dense(self) -> Tensor:
        """The matrix as a tensor."""
        require_dense_memory(self, "to_dense() of a graph's matrix")
        links = torch.as_tensor(self.operator.to_dense()) * self.scale[:, None] * self.scale
        return links.fill_diagonal_(0.0)

    def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> LinearOperator:
        block = torch.as_tensor(self.operator._getitem(row_index, col_index, *batch_indices).to_dense())
        index = torch.arange(len(self.own), device=block.device)
        is_own = index[row_index][:, None] == index[col_index]
        return DenseLinearOperator(
            (block * self.scale[row_index][:, None] * self.scale[col_index]).masked_fill(is_own, 0.0)
        )

    def _get_indices(self, row_index: Tensor, col_index: Tensor, *batch_indices: Tensor) -> Tensor:
        entries = self.operator._get_indices(row_index, col_index, *batch_indices)
        result: Tensor = (entries * self.scale[row_index] * self.scale[col_index]).masked_fill(
            row_index == col_index, 0.0
        )
        return result

    def double(self, device_id: str | None = None) -> NormalizedAdjacency:
        """Of A in float64; its degrees are computed again where A was not."""
        A = in_double(self.operator)
        if self.dtype != torch.float64:
            return NormalizedAdjacency(A)
        return NormalizedAdjacency(A, self.own, self.degrees)

    def float(self, device_id: str | None = None) -> NormalizedAdjacency:
        """Of A in float32."""
        return NormalizedAdjacency(self.operator.float(), self.own.float(), self.degrees.float())
