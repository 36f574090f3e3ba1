"""Toeplitz matrices, also of several levels, as lazy operators: products by transforms."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from linear_operator import to_linear_operator
from linear_operator.operators import LinearOperator
from torch import Tensor

from mercer import config
from mercer.arrays import broadcast_shapes
from mercer.errors import ShapeError
from mercer.operators.convolution import KernelSpectrum, convolve
from mercer.operators.matrices.base import Operator, is_whole, require_dense_memory
from mercer.operators.watchers import is_recorded

Sizes = tuple[int, ...]


class ToeplitzOperator(Operator):
    r"""A matrix whose entries depend on the difference of grid positions only.

    .. math:: A_{ij} = \text{values}[i - j + (m - 1)], \quad i \in [0, n), \; j \in [0, m)

    with i and j positions on a grid of ``rows`` and ``columns`` points by axis, numbered with the last axis fastest (a
    block Toeplitz matrix with Toeplitz blocks, where there are two axes). :func:`toeplitz` builds it from its first
    column and row.

    Args:
        table: the values, ``(*batch, n_1 + m_1 - 1, ..., n_d + m_d - 1)``; of a symmetric matrix only its first column,
            ``(*batch, n_1, ..., n_d)``, so that gradients and solvers know that both triangles are the same numbers.
        rows: ``(n_1, ..., n_d)``.
        columns: ``(m_1, ..., m_d)``.
        symmetric: whether the entries depend on the distance along every axis only.

    Cost: a product takes ``O(N log N)`` a column for ``N = prod(n + m)``; nothing is stored but ``table`` and the
    transform of the values.
    """

    def __init__(self, table: Tensor, *, rows: Sizes, columns: Sizes, symmetric: bool = False) -> None:
        super().__init__(table, rows=rows, columns=columns, symmetric=symmetric)
        self.table, self.rows, self.columns, self.symmetric = table, tuple(rows), tuple(columns), symmetric
        self._kept: tuple[int, KernelSpectrum] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    @property
    def _levels(self) -> int:
        return len(self.rows)

    def _size(self) -> torch.Size:
        batch = self.table.shape[: self.table.dim() - self._levels]
        return torch.Size((*batch, prod(self.rows), prod(self.columns)))

    @property
    def values(self) -> Tensor:
        """An entry for each difference of positions, ``(*batch, n_1 + m_1 - 1, ..., n_d + m_d - 1)``."""
        values = self.table
        if self.symmetric:
            for axis, n in zip(range(-self._levels, 0), self.rows, strict=True):
                values = torch.cat([values.flip(axis).narrow(axis, 0, n - 1), values], axis)
        return values

    def _like(self, table: Tensor) -> ToeplitzOperator:
        return ToeplitzOperator(table, rows=self.rows, columns=self.columns, symmetric=self.symmetric)

    def _transpose_nonbatch(self) -> Operator:
        if self.symmetric:
            return self
        return ToeplitzOperator(self.table.flip(tuple(range(-self._levels, 0))), rows=self.columns, columns=self.rows)

    # products

    def _matmul(self, rhs: Tensor) -> Tensor:
        if rhs.dtype != self.dtype:
            raise TypeError(f"K @ v: K is {self.dtype}, v is {rhs.dtype}. Use K.to(v.dtype) or v.to(K.dtype).")
        v = rhs.unsqueeze(-1) if rhs.dim() == 1 else rhs
        n, m = self.shape[-2:]
        if v.shape[-2] != m:
            hint = " Did you mean K.T @ v?" if v.shape[-2] == n else ""
            raise ShapeError(f"K @ v: K is {n} x {m}, so v needs {m} rows, but has shape {tuple(rhs.shape)}.{hint}")
        u = v.mT.reshape(*v.shape[:-2], v.shape[-1], *self.columns)
        # the kernel is at least as long as the signal, so "valid" are the places where it covers all of it
        y = convolve(u, self._spectrum(), mode="valid", dims=self._levels)
        y = y.reshape(*y.shape[: y.dim() - self._levels], n).mT
        return y.squeeze(-1) if rhs.dim() == 1 else y

    def _spectrum(self) -> Tensor | KernelSpectrum:
        """The values, transformed once for all products where no gradient is asked of them."""
        if is_recorded(self.table):
            return self.values.unsqueeze(-self._levels - 1)
        version = self.table._version
        if self._kept is None or self._kept[0] != version:
            kernel = self.values.unsqueeze(-self._levels - 1)
            self._kept = (version, KernelSpectrum(kernel, self.columns, mode="valid"))
        return self._kept[1]

    # entries

    def to_dense(self) -> Tensor:
        """The matrix as a tensor ``(*batch, n, m)``; differentiable; not kept."""
        require_dense_memory(self, "to_dense() of a Toeplitz matrix")
        table, d = self.values, self._levels
        for axis, m in zip(range(table.dim() - d, table.dim()), self.columns, strict=True):
            table = table.unfold(axis, m, 1)  # [i, b] = values[i + b], and b = m - 1 - j
        return table.flip(tuple(range(-d, 0))).reshape(self.shape)

    def _diagonal(self) -> Tensor:
        positions = torch.arange(min(self.shape[-2:]), device=self.device)
        return self._entries(positions, positions)

    def _entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Entries at pairs of positions, ``(p,), (p,) -> (*batch, p)``."""
        flat = torch.zeros_like(rows + columns)
        stride = 1
        for n, m in zip(reversed(self.rows), reversed(self.columns), strict=True):
            flat = flat + stride * (rows % n - columns % m + m - 1)
            rows, columns = rows // n, columns // m
            stride *= n + m - 1
        return self.values.reshape(*self.batch_shape, -1)[..., flat]

    def _get_indices(self, row_index: Tensor, col_index: Tensor, *batch_indices: Tensor) -> Tensor:
        shape = broadcast_shapes(row_index.shape, col_index.shape, *(b.shape for b in batch_indices))
        rows, columns = row_index.expand(shape).reshape(-1), col_index.expand(shape).reshape(-1)
        entries = self._entries(rows, columns)
        if not batch_indices:
            return entries.reshape(shape)
        batch = tuple(b.expand(shape).reshape(-1) for b in batch_indices)
        return entries[(*batch, torch.arange(len(rows), device=rows.device))].reshape(shape)

    # slicing and batches

    def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> LinearOperator:
        operator = self._like(self.table[batch_indices]) if batch_indices else self
        if is_whole(row_index) and is_whole(col_index):
            return operator
        found = operator._slice(row_index, col_index)
        return operator._gather(row_index, col_index) if found is None else found

    def _slice(self, row_index: Any, col_index: Any) -> ToeplitzOperator | None:
        """Rows and columns at one common step are a Toeplitz matrix again, where there is one level."""
        if self._levels > 1 or not (isinstance(row_index, slice) and isinstance(col_index, slice)):
            return None
        (n,), (m,) = self.rows, self.columns
        rows, columns = range(n)[row_index], range(m)[col_index]
        if not rows or not columns or rows.step != columns.step or rows.step < 1:
            return None
        if self.symmetric and rows == columns:
            column = self.table[..., : len(rows) * rows.step : rows.step]
            return ToeplitzOperator(column, rows=(len(rows),), columns=(len(rows),), symmetric=True)
        first = rows[0] - columns[-1] + m - 1
        last = rows[-1] - columns[0] + m - 1
        values = self.values[..., first : last + 1 : rows.step]
        return ToeplitzOperator(values, rows=(len(rows),), columns=(len(columns),))

    def _gather(self, row_index: Any, col_index: Any) -> LinearOperator:
        """Any other rows and columns, as numbers."""
        n, m = self.shape[-2:]
        rows = torch.arange(n, device=self.device)[row_index]
        columns = torch.arange(m, device=self.device)[col_index]
        size = self.batch_shape.numel() * len(rows) * len(columns) * self.dtype.itemsize
        config.require_memory(
            size,
            asked=f"A block of {len(rows)} x {len(columns)} of a Toeplitz matrix",
            instead="Slices of one common step store nothing.",
        )
        at = rows[:, None].expand(-1, len(columns)), columns.expand(len(rows), -1)
        entries = self._entries(at[0].reshape(-1), at[1].reshape(-1))
        return to_linear_operator(entries.reshape(*self.batch_shape, len(rows), len(columns)))

    def _expand_batch(self, batch_shape: torch.Size | list[int]) -> ToeplitzOperator:
        return self._like(self.table.expand(*batch_shape, *self.table.shape[-self._levels :]))

    def repeat(self, *sizes: int) -> ToeplitzOperator:
        """A batch of copies, as torch's repeat; the last two sizes must be 1."""
        if tuple(sizes[-2:]) != (1, 1):
            raise ShapeError(f"K.repeat{sizes}: only batch dimensions can be repeated, so the last two must be 1.")
        return self._like(self.table.repeat(*sizes[:-2], *(1,) * self._levels))

    def _mul_constant(self, other: float | Tensor) -> ToeplitzOperator:
        factor = torch.as_tensor(other, dtype=self.dtype, device=self.device).expand(self.batch_shape)
        return self._like(self.table * factor[(..., *(None,) * self._levels)])


def toeplitz(column: Tensor, row: Tensor | None = None, *, dims: int = 1) -> ToeplitzOperator:
    """The Toeplitz matrix with this first column and row, as an operator.

    Args:
        column: ``(*batch, n)``; with ``dims`` levels ``(*batch, n_1, ..., n_d)``: the first column of a matrix that is
            symmetric on every level, as a kernel's values between the first point of a grid and all points.
        row: ``(*batch, m)``, of which the first entry is not read, as in scipy; default: the conjugate of ``column``, a
            Hermitian matrix. Only for ``dims=1``; other matrices of several levels are built by
            :class:`ToeplitzOperator`.
        dims: how many levels.

    Raises:
        ShapeError: empty tensors, too few axes, or batches that do not broadcast.
        ValueError: ``row`` with several levels.

    Cost: products ``O(n log n)``, see :class:`ToeplitzOperator`; ``solve``, ``logdet`` and ``sample`` are those of
    every operator. Differentiable in ``column`` and ``row``.

    >>> A = toeplitz(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 5.0]))
    >>> A.to_dense()
    tensor([[1., 5.],
            [2., 1.],
            [3., 2.]])
    >>> A @ torch.tensor([1.0, 1.0])
    tensor([6., 3., 5.])
    """
    if dims < 1 or column.dim() < dims or 0 in column.shape[column.dim() - dims :]:
        raise ShapeError(f"toeplitz of {dims} levels needs a column of {max(dims, 1)} axes, not {tuple(column.shape)}.")
    rows = tuple(column.shape[column.dim() - dims :])
    if row is None and (dims > 1 or not column.is_complex()):
        return ToeplitzOperator(column, rows=rows, columns=rows, symmetric=True)
    if row is None:
        row = column.conj()
    if dims > 1:
        raise ValueError("toeplitz with several levels takes no row: it is symmetric. See ToeplitzOperator for others.")
    if row.dim() < 1 or row.shape[-1] == 0:
        raise ShapeError(f"toeplitz needs a first row of at least one entry, not {tuple(row.shape)}.")
    try:
        batch = broadcast_shapes(column.shape[:-1], row.shape[:-1])
    except RuntimeError:
        raise ShapeError(
            f"The batches of the column {tuple(column.shape)} and the row {tuple(row.shape)} do not broadcast."
        ) from None
    mirrored = row[..., 1:].flip(-1)
    values = torch.cat([mirrored.expand(*batch, -1), column.expand(*batch, -1)], -1)
    return ToeplitzOperator(values, rows=rows, columns=(row.shape[-1],))
