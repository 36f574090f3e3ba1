"""A matrix of blocks of one size, in block order or interleaved."""

from __future__ import annotations

from typing import Any

import torch
from linear_operator.operators import LinearOperator
from torch import Tensor

from mercer.operators.base import Operator, require_dense_memory


class BlockOperator(Operator):
    """[[A_11, ..., A_1s], ..., [A_r1, ..., A_rs]] of operators ``(*batch, n, m)``, none of them stored here.

    Args:
        blocks: the operators, row by row.
        n_rows: how many rows of blocks, r.
        interleaved: entry (i, j) of block (a, b) stands at ``(i r + a, j s + b)``; else at ``(a n + i, b m + j)``.
    """

    def __init__(self, *blocks: LinearOperator, n_rows: int, interleaved: bool = False) -> None:
        super().__init__(*blocks, n_rows=n_rows, interleaved=interleaved)
        self.n_rows, self.n_columns, self.interleaved = n_rows, len(blocks) // n_rows, interleaved
        self.rows = [blocks[a * self.n_columns : (a + 1) * self.n_columns] for a in range(n_rows)]

    def _size(self) -> torch.Size:
        *batch, n, m = self.rows[0][0].shape
        return torch.Size((*batch, n * self.n_rows, m * self.n_columns))

    def _like(self, blocks: list[list[LinearOperator]]) -> BlockOperator:
        flat = [block for row in blocks for block in row]
        return BlockOperator(*flat, n_rows=len(blocks), interleaved=self.interleaved)

    def _parts(self, v: Tensor) -> list[Tensor]:
        """The part of ``(..., m s, t)`` that belongs to each column of blocks, ``(..., m, t)``."""
        if self.interleaved:
            return list(v.unflatten(-2, (-1, self.n_columns)).unbind(-2))
        return list(v.unflatten(-2, (self.n_columns, -1)).unbind(-3))

    def _join(self, parts: list[Tensor], dim: int) -> Tensor:
        """Parts of length n along the negative ``dim`` as one of length ``n len(parts)``, in order."""
        at = dim if self.interleaved else dim - 1
        stacked = torch.stack(parts, at)
        first = dim - 1
        return stacked.flatten(first, dim)

    def _matmul(self, rhs: Tensor) -> Tensor:
        v = rhs.unsqueeze(-1) if rhs.dim() == 1 else rhs
        parts = [part.contiguous() for part in self._parts(v)]
        sums = []
        for row in self.rows:
            products = [block._matmul(part) for block, part in zip(row, parts, strict=True)]
            sums.append(sum(products[1:], products[0]))
        out = self._join(sums, -2)
        return out.squeeze(-1) if rhs.dim() == 1 else out

    def _transpose_nonbatch(self) -> LinearOperator:
        return self._like([[row[b]._transpose_nonbatch() for row in self.rows] for b in range(self.n_columns)])

    def to_dense(self) -> Tensor:
        """All blocks, dense, in their places."""
        require_dense_memory(self, "to_dense() of blocks")
        return self._join([self._join([block.to_dense() for block in row], -1) for row in self.rows], -2)

    def _diagonal(self) -> Tensor:
        return self._join([self.rows[a][a]._diagonal() for a in range(self.n_rows)], -1)

    def _where(self, index: Tensor, count: int, size: int) -> tuple[Tensor, Tensor]:
        """(block, position in it) of positions in the whole."""
        if self.interleaved:
            return index % count, index // count
        return index // size, index % size

    def _get_indices(self, row_index: Tensor, col_index: Tensor, *batch_indices: Tensor) -> Tensor:
        n, m = self.rows[0][0].shape[-2:]
        indices = torch.broadcast_tensors(row_index, col_index, *batch_indices)
        shape = indices[0].shape
        rows, columns, *batch = (i.reshape(-1) for i in indices)
        a, i = self._where(rows, self.n_rows, n)
        b, j = self._where(columns, self.n_columns, m)
        order, found = [], []
        for r, row in enumerate(self.rows):
            for c, block in enumerate(row):
                (inside,) = ((a == r) & (b == c)).nonzero(as_tuple=True)
                if len(inside):
                    order.append(inside)
                    found.append(block._get_indices(i[inside], j[inside], *(k[inside] for k in batch)))
        if not found:
            return torch.zeros(shape, dtype=self.dtype, device=self.device)
        return torch.cat(found)[torch.argsort(torch.cat(order))].reshape(shape)

    def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> LinearOperator:
        whole = slice(None)
        if row_index == whole and col_index == whole:
            return self._like([[block._getitem(whole, whole, *batch_indices) for block in row] for row in self.rows])
        if not batch_indices:
            n, m = self.rows[0][0].shape[-2:]
            row_parts = self._slices(row_index, self.n_rows, n)
            column_parts = self._slices(col_index, self.n_columns, m)
            if row_parts is not None and column_parts is not None:
                return self._like([[block._getitem(row_parts, column_parts) for block in row] for row in self.rows])
        return super()._getitem(row_index, col_index, *batch_indices)

    def _slices(self, index: Any, count: int, size: int) -> slice | None:
        """The slice of whole points that an index is, None if it is none: rows of values and gradients together."""
        if not isinstance(index, slice):
            return None
        start, stop, step = index.indices(count * size)
        if (start, stop, step) == (0, count * size, 1):
            return slice(None)
        if not self.interleaved or step != 1 or start % count or stop % count:
            return None
        return slice(start // count, stop // count)

    def _expand_batch(self, batch_shape: torch.Size | list[int]) -> LinearOperator:
        return self._like([[block._expand_batch(batch_shape) for block in row] for row in self.rows])
