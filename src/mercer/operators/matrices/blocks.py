"""A matrix made of blocks, whose rows and columns may stand anywhere in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from linear_operator.operators import LinearOperator
from torch import Tensor

from mercer.operators.matrices.base import Operator, is_whole, require_dense_memory


class BlockOperator(Operator):
    """A grid of operators as one, none of them stored here; :meth:`grid` makes one in block order or interleaved.

    Args:
        blocks: the operators, row of blocks by row of blocks; those of one row have equally many rows, and so on.
        rows: for each row of blocks, where its rows stand in the whole, int64; together each place once.
        columns: the same for columns.
    """

    def __init__(self, *blocks: LinearOperator, rows: Sequence[Tensor], columns: Sequence[Tensor]) -> None:
        super().__init__(*blocks, rows=rows, columns=columns)
        self.rows, self.columns = tuple(rows), tuple(columns)
        width = len(self.columns)
        self.blocks = [blocks[a * width : (a + 1) * width] for a in range(len(self.rows))]

    @classmethod
    def grid(cls, blocks: Sequence[Sequence[LinearOperator]], *, interleaved: bool) -> BlockOperator:
        """Blocks of one size ``(n, m)``: entry (i, j) of block (a, b) of r x s stands at ``(i r + a, j s + b)`` when
        interleaved, else at ``(a n + i, b m + j)``."""

        def places(count: int, size: int) -> list[Tensor]:
            inner = torch.arange(size, device=blocks[0][0].device)
            return [inner * count + a if interleaved else inner + a * size for a in range(count)]

        n, m = blocks[0][0].shape[-2:]
        flat = [block for row in blocks for block in row]
        return cls(*flat, rows=places(len(blocks), n), columns=places(len(blocks[0]), m))

    def _like(self, blocks: Sequence[Sequence[LinearOperator]], rows: Any = None, columns: Any = None) -> BlockOperator:
        flat = [block for row in blocks for block in row]
        return BlockOperator(*flat, rows=rows or self.rows, columns=columns or self.columns)

    def _size(self) -> torch.Size:
        sizes = (sum(map(len, self.rows)), sum(map(len, self.columns)))
        return torch.Size((*self.blocks[0][0].shape[:-2], *sizes))

    def _matmul(self, rhs: Tensor) -> Tensor:
        v = rhs.unsqueeze(-1) if rhs.dim() == 1 else rhs
        parts = [v[..., places, :] for places in self.columns]
        sums = []
        for row in self.blocks:
            products = [block._matmul(part) for block, part in zip(row, parts, strict=True)]
            sums.append(sum(products[1:], products[0]))
        out = torch.cat(sums, -2)[..., torch.cat(self.rows).argsort(), :]
        return out.squeeze(-1) if rhs.dim() == 1 else out

    def _transpose_nonbatch(self) -> LinearOperator:
        across = [[row[b]._transpose_nonbatch() for row in self.blocks] for b in range(len(self.columns))]
        return self._like(across, self.columns, self.rows)

    def to_dense(self) -> Tensor:
        """All blocks, dense, in their places."""
        require_dense_memory(self, "to_dense() of blocks")
        whole = torch.cat([torch.cat([block.to_dense() for block in row], -1) for row in self.blocks], -2)
        return whole[..., torch.cat(self.rows).argsort(), :][..., torch.cat(self.columns).argsort()]

    def _diagonal(self) -> Tensor:
        position = torch.arange(self.shape[-1], device=self.device)
        batch = torch.meshgrid(
            *(torch.arange(b, device=self.device) for b in self.batch_shape), position, indexing="ij"
        )
        return self._get_indices(batch[-1], batch[-1], *batch[:-1])

    def _get_indices(self, row_index: Tensor, col_index: Tensor, *batch_indices: Tensor) -> Tensor:
        indices = torch.broadcast_tensors(row_index, col_index, *batch_indices)
        rows, columns, *batch = (i.reshape(-1) for i in indices)
        (a, i), (b, j) = _found(self.rows, rows), _found(self.columns, columns)
        order, values = [], []
        for r, row in enumerate(self.blocks):
            for c, block in enumerate(row):
                (inside,) = ((a == r) & (b == c)).nonzero(as_tuple=True)
                order.append(inside)
                values.append(block._get_indices(i[inside], j[inside], *(k[inside] for k in batch)))
        return torch.cat(values)[torch.cat(order).argsort()].reshape(indices[0].shape)

    def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> LinearOperator:
        rows, inner_rows = _chosen(self.rows, row_index)
        columns, inner_columns = _chosen(self.columns, col_index)
        blocks = [
            [block._getitem(i, j, *batch_indices) for block, j in zip(row, inner_columns, strict=True)]
            for row, i in zip(self.blocks, inner_rows, strict=True)
        ]
        return self._like(blocks, rows, columns)

    def _expand_batch(self, batch_shape: torch.Size | list[int]) -> LinearOperator:
        return self._like([[block._expand_batch(batch_shape) for block in row] for row in self.blocks])


def _found(places: Sequence[Tensor], index: Tensor) -> tuple[Tensor, Tensor]:
    """For positions in the whole, which block each is in, and where in it."""
    sizes = torch.tensor([len(p) for p in places], device=index.device)
    order = torch.cat(list(places)).argsort()[index]
    block = torch.repeat_interleave(torch.arange(len(places), device=index.device), sizes)[order]
    return block, order - (sizes.cumsum(0) - sizes)[block]


def _chosen(places: Sequence[Tensor], index: Any) -> tuple[Sequence[Tensor], Sequence[Any]]:
    """The places of what an index keeps of each block, and the index into the block."""
    if is_whole(index):
        return places, [slice(None)] * len(places)
    size = sum(map(len, places))
    kept = torch.arange(size, device=places[0].device)[index]
    block, inner = _found(places, kept)
    members = [(block == a).nonzero(as_tuple=True)[0] for a in range(len(places))]
    return members, [inner[m] for m in members]
