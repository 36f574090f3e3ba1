"""Sums, multiples and elementwise products of operators, none of them stored."""

from __future__ import annotations

from typing import Any

import torch
from linear_operator import to_linear_operator
from linear_operator.operators import ConstantDiagLinearOperator, DiagLinearOperator, LinearOperator
from torch import Tensor

from mercer.operators.matrices.base import Operator, require_dense_memory

BLOCK_ELEMENTS = 1 << 22  # entries of an elementwise product held at once


class SumOperator(Operator):
    """A_1 + A_2 + ... of operators of one shape; terms that are sums themselves are merged."""

    def __init__(self, *terms: LinearOperator) -> None:
        flat = [t for term in terms for t in (term._args if isinstance(term, SumOperator) else (term,))]
        super().__init__(*flat)
        self.terms: tuple[LinearOperator, ...] = tuple(flat)

    def _size(self) -> torch.Size:
        return self.terms[0].shape

    def _matmul(self, rhs: Tensor) -> Tensor:
        return sum((term._matmul(rhs) for term in self.terms[1:]), self.terms[0]._matmul(rhs))

    def _transpose_nonbatch(self) -> LinearOperator:
        return SumOperator(*(term._transpose_nonbatch() for term in self.terms))

    def to_dense(self) -> Tensor:
        """The sum of the dense terms."""
        require_dense_memory(self, "to_dense() of a sum")
        return sum((term.to_dense() for term in self.terms[1:]), self.terms[0].to_dense())

    def _diagonal(self) -> Tensor:
        return sum((term._diagonal() for term in self.terms[1:]), self.terms[0]._diagonal())

    def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> LinearOperator:
        terms = [term._getitem(row_index, col_index, *batch_indices) for term in self.terms]
        if not terms[0].shape.numel():  # linear_operator divides by the size of some
            return to_linear_operator(torch.zeros(terms[0].shape, dtype=self.dtype, device=self.device))
        return SumOperator(*terms)

    def _get_indices(self, row_index: Tensor, col_index: Tensor, *batch_indices: Tensor) -> Tensor:
        entries = [term._get_indices(row_index, col_index, *batch_indices) for term in self.terms]
        return sum(entries[1:], entries[0])

    def _expand_batch(self, batch_shape: torch.Size | list[int]) -> LinearOperator:
        return SumOperator(*(term._expand_batch(batch_shape) for term in self.terms))

    def _split_noise(self, noise: float | Tensor) -> tuple[LinearOperator, float | Tensor]:
        diagonals = [t for t in self.terms if isinstance(t, DiagLinearOperator)]
        others = [t for t in self.terms if not isinstance(t, DiagLinearOperator)]
        if not diagonals or not others:
            return self, noise
        constant = all(isinstance(t, ConstantDiagLinearOperator) for t in diagonals)
        if constant and self.dim() == 2 and not any(t.requires_grad for t in diagonals):
            total: float | Tensor = sum(float(t.diag_values) for t in diagonals) + noise
        else:
            total = sum((t._diagonal() for t in diagonals[1:]), diagonals[0]._diagonal()) + noise
        return (others[0] if len(others) == 1 else SumOperator(*others)), total


class ScaledOperator(Operator):
    """c A; ``factor`` is a tensor of A's batch shape."""

    def __init__(self, operator: LinearOperator, factor: Tensor) -> None:
        super().__init__(operator, factor)
        self.operator, self.factor = operator, factor

    def _size(self) -> torch.Size:
        return self.operator.shape

    def _matmul(self, rhs: Tensor) -> Tensor:
        product = self.operator._matmul(rhs)
        return product * (self.factor if rhs.dim() == 1 else self.factor[..., None, None])

    def _transpose_nonbatch(self) -> LinearOperator:
        return ScaledOperator(self.operator._transpose_nonbatch(), self.factor)

    def to_dense(self) -> Tensor:
        """c times the dense matrix."""
        return self.operator.to_dense() * self.factor[..., None, None]

    def _diagonal(self) -> Tensor:
        return self.operator._diagonal() * self.factor.unsqueeze(-1)

    def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> LinearOperator:
        factor = self.factor[batch_indices] if batch_indices else self.factor
        return ScaledOperator(self.operator._getitem(row_index, col_index, *batch_indices), factor)

    def _get_indices(self, row_index: Tensor, col_index: Tensor, *batch_indices: Tensor) -> Tensor:
        entries = self.operator._get_indices(row_index, col_index, *batch_indices)
        return entries * (self.factor[batch_indices] if batch_indices else self.factor)

    def _expand_batch(self, batch_shape: torch.Size | list[int]) -> LinearOperator:
        return ScaledOperator(self.operator._expand_batch(batch_shape), self.factor.expand(*batch_shape))


class HadamardOperator(Operator):
    """The elementwise product of two operators, by blocks of rows of both."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        super().__init__(left, right)
        self.left, self.right = left, right

    def _size(self) -> torch.Size:
        return self.left.shape

    def _matmul(self, rhs: Tensor) -> Tensor:
        n, m = self.shape[-2:]
        rows = max(1, BLOCK_ELEMENTS // max(1, m * self.batch_shape.numel()))
        if rows >= n:
            return self.to_dense() @ rhs
        blocks = []
        for i in range(0, n, rows):
            block = slice(i, min(i + rows, n))
            whole = slice(None)
            index = (whole,) * len(self.batch_shape)
            left, right = (op._getitem(block, whole, *index) for op in (self.left, self.right))
            blocks.append((left.to_dense() * right.to_dense()) @ rhs)
        return torch.cat(blocks, -1 if rhs.dim() == 1 else -2)

    def _transpose_nonbatch(self) -> LinearOperator:
        return HadamardOperator(self.left._transpose_nonbatch(), self.right._transpose_nonbatch())

    def to_dense(self) -> Tensor:
        """The elementwise product of the dense matrices."""
        require_dense_memory(self, "to_dense() of an elementwise product")
        return self.left.to_dense() * self.right.to_dense()

    def _diagonal(self) -> Tensor:
        return self.left._diagonal() * self.right._diagonal()

    def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> LinearOperator:
        parts = (op._getitem(row_index, col_index, *batch_indices) for op in (self.left, self.right))
        return HadamardOperator(*parts)

    def _get_indices(self, row_index: Tensor, col_index: Tensor, *batch_indices: Tensor) -> Tensor:
        left = self.left._get_indices(row_index, col_index, *batch_indices)
        return left * self.right._get_indices(row_index, col_index, *batch_indices)

    def _expand_batch(self, batch_shape: torch.Size | list[int]) -> LinearOperator:
        return HadamardOperator(self.left._expand_batch(batch_shape), self.right._expand_batch(batch_shape))
