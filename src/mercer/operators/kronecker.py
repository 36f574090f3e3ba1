"""Kronecker products: a matrix of a million rows from factors of a thousand, with solves by their eigenvalues."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import torch
from linear_operator import to_dense, to_linear_operator
from linear_operator.operators import LinearOperator
from torch import Tensor

from mercer.arrays import broadcast_shapes
from mercer.errors import ShapeError
from mercer.operators.matrices import Operator, is_whole, require_dense_memory

__all__ = ["KroneckerOperator", "kronecker"]


class KroneckerOperator(Operator):
    """``A_1 x A_2 x ... x A_d`` of factors ``(*batch, n_a, m_a)``; the last factor's index runs fastest."""

    def __init__(self, *factors: Tensor | LinearOperator) -> None:
        super().__init__(*factors)

    @property
    def factors(self) -> tuple[Tensor, ...]:
        """The factors as tensors, with their graph."""
        return tuple(to_dense(f) for f in self._args)

    def _size(self) -> torch.Size:
        batch = self._args[0].shape[:-2]
        n, m = (math.prod(f.shape[i] for f in self._args) for i in (-2, -1))
        return torch.Size((*batch, n, m))

    def _transpose_nonbatch(self) -> LinearOperator:
        return KroneckerOperator(*(f.mT for f in self.factors))

    def _matmul(self, rhs: Tensor) -> Tensor:
        v = rhs.unsqueeze(-1) if rhs.dim() == 1 else rhs
        if v.shape[-2] != self.shape[-1]:
            n, m = self.shape[-2:]
            raise ShapeError(f"K @ v: K is {n} x {m}, so v needs {m} rows, but has shape {tuple(rhs.shape)}.")
        out = multiply_modes(self.factors, v)
        return out.squeeze(-1) if rhs.dim() == 1 else out

    def to_dense(self) -> Tensor:
        """The product as a tensor."""
        require_dense_memory(self, "to_dense() of a Kronecker product")
        return reduce(_dense_product, self.factors)

    def _diagonal(self) -> Tensor:
        return reduce(_outer, (f.diagonal(dim1=-2, dim2=-1) for f in self.factors))

    def _get_indices(self, row_index: Tensor, col_index: Tensor, *batch_indices: Tensor) -> Tensor:
        rows = torch.unravel_index(row_index, tuple(f.shape[-2] for f in self.factors))
        columns = torch.unravel_index(col_index, tuple(f.shape[-1] for f in self.factors))
        entries = [f[(*batch_indices, i, j)] for f, i, j in zip(self.factors, rows, columns, strict=True)]
        return reduce(torch.mul, entries)

    def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> LinearOperator:
        factors = tuple(f[batch_indices] for f in self.factors) if batch_indices else self.factors
        if is_whole(row_index) and is_whole(col_index):
            return KroneckerOperator(*factors)
        n, m = self.shape[-2:]
        rows = torch.unravel_index(torch.arange(n)[row_index], tuple(f.shape[-2] for f in factors))
        columns = torch.unravel_index(torch.arange(m)[col_index], tuple(f.shape[-1] for f in factors))
        blocks = [f[..., i, :][..., :, j] for f, i, j in zip(factors, rows, columns, strict=True)]
        return to_linear_operator(reduce(torch.mul, blocks))

    def _expand_batch(self, batch_shape: torch.Size | list[int]) -> LinearOperator:
        return KroneckerOperator(*(f.expand(*batch_shape, *f.shape[-2:]) for f in self.factors))


def kronecker(*factors: Tensor | LinearOperator) -> KroneckerOperator:
    """The Kronecker product of matrices as a lazy operator.

    Args:
        factors: each ``(*batch, n_a, m_a)``, tensor or operator; stored. The last one's index runs fastest.

    Returns:
        ``(*batch, n_1 n_2 ..., m_1 m_2 ...)``; a product costs ``n (n_1 + n_2 + ...)`` multiply-adds a column.

    Raises:
        ShapeError: no factor, or one that is no matrix.

    >>> A = kronecker(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.eye(2))
    >>> A @ torch.tensor([1.0, 0.0, 1.0, 0.0])
    tensor([3., 0., 7., 0.])
    """
    dense = [to_dense(f) for f in factors]
    if not dense or any(f.dim() < 2 for f in dense):
        shapes = [tuple(f.shape) for f in dense]
        raise ShapeError(f"kronecker needs one matrix (..., n, m) or more, but got shapes {shapes}.")
    batch = broadcast_shapes(*(f.shape[:-2] for f in dense))
    return KroneckerOperator(*(f.expand(*batch, *f.shape[-2:]) for f in dense))


def multiply_modes(factors: tuple[Tensor, ...], v: Tensor) -> Tensor:
    """``(A_1 x ... x A_d) @ v`` for v ``(*batch, m_1 ... m_d, t)``: one matrix product a factor."""
    batch = broadcast_shapes(factors[0].shape[:-2], v.shape[:-2])
    t = v.shape[-1]
    out = v.expand(*batch, *v.shape[-2:])
    for f in factors:
        # (*batch, m_a, rest): the factor's axis is in front, and moves behind the others after its product
        out = f @ out.reshape(*batch, f.shape[-1], -1)
        out = out.reshape(*batch, f.shape[-2], -1, t).movedim(-3, -2)
    return out.reshape(*batch, -1, t)


def _dense_product(A: Tensor, B: Tensor) -> Tensor:
    product = A[..., :, None, :, None] * B[..., None, :, None, :]
    return product.reshape(*product.shape[:-4], A.shape[-2] * B.shape[-2], A.shape[-1] * B.shape[-1])


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return (a.unsqueeze(-1) * b.unsqueeze(-2)).flatten(-2)
