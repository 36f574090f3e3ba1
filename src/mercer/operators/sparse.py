"""Kernels of compact support as sparse matrices: only pairs within the support are ever looked at."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mercer import config
from mercer.operators.maps import Expression, constant, leaf, substitute
from mercer.operators.operands import Identity, Operands, coincident, entries_at
from mercer.operators.spec import Spec

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

BLOCK = 1 << 18  # pairs whose entries are computed at once
SLACK = 1.0 + 1e-5  # of the radius: points in float32 are off by round-off, and entries at the edge are 0


@dataclass(frozen=True)
class Support:
    """Where a kernel is not 0: within ``radius`` of each other as the points of statistic number ``statistic``."""

    statistic: int
    radius: float


def find_support(spec: Spec, numbers: dict[int, float]) -> Support | None:
    """The support that all terms have; None where a term has none, or they have it in different embeddings.

    A term has one when it is a product with a ``wendland`` of a multiple of a statistic.
    """
    values = {leaf("theta", slot): constant(number) for slot, number in numbers.items()}
    found: dict[int, float] = {}
    for term in substitute(spec.terms, values):
        if _is_noise(term):
            continue  # a point and itself are within any support
        squares = dict(_supports(term))
        if not squares:
            return None
        statistic = min(squares, key=lambda g: squares[g])
        found[statistic] = max(found.get(statistic, 0.0), squares[statistic])
    if len(found) != 1:
        return None
    statistic, square = found.popitem()
    return Support(statistic, math.sqrt(square))


def _supports(node: Expression) -> Iterator[tuple[int, float]]:
    """The factors of compact support in a product, as (statistic, squared radius)."""
    if node.op == "mul":
        for arg in node.args:
            yield from _supports(arg)
    elif node.op == "div":
        yield from _supports(node.args[0])
    elif node.op == "wendland":
        (s,) = node.args
        factor = s.args[1].number if s.op == "mul" and s.args[1].is_constant else 1.0
        s = s.args[0] if s.op == "mul" and s.args[1].is_constant else s
        if s.op == "statistic":
            yield int(s.number), 1.0 / factor


def _is_noise(node: Expression) -> bool:
    return node.op == "delta" or (node.op in ("mul", "div") and any(_is_noise(arg) for arg in node.args))


@dataclass(frozen=True)
class Neighbours:
    """Two sets of points in trees, ready to find pairs closer than ``radius``."""

    left: Any
    right: Any
    radius: float

    @classmethod
    def of(cls, operands: Operands, support: Support) -> Neighbours:
        """Of unbatched operands."""
        from scipy.spatial import cKDTree

        sides = (operands.left[support.statistic], operands.rights[support.statistic])
        left, right = (cKDTree(E.detach().cpu().double().numpy()) for E in sides)
        return cls(left, right, support.radius * SLACK)

    def count(self) -> int:
        """How many pairs there are; nothing is stored."""
        return int(self.left.count_neighbors(self.right, self.radius)) if self.left.n and self.right.n else 0

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Their positions ``(p,)``, ordered by row and column."""
        if not (self.left.n and self.right.n):
            return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
        found = self.left.sparse_distance_matrix(self.right, self.radius, output_type="ndarray")
        order = np.lexsort((found["j"], found["i"]))
        return torch.from_numpy(found["i"][order]), torch.from_numpy(found["j"][order])


def sparse_matrix(operands: Operands, identity: Identity | None, support: Support, *, delta: float = 0.0) -> Tensor:
    """K of unbatched, detached operands as a sparse CSR tensor ``(n, m)``; ``delta`` is what coincident points get."""
    n, m = operands.shape
    rows, columns = Neighbours.of(operands, support).pairs()
    rows, columns = rows.to(operands.like.device), columns.to(operands.like.device)
    parts = [operands.like.new_empty(0)]
    for i, j in zip(rows.split(BLOCK), columns.split(BLOCK), strict=True):
        own = coincident(operands, identity, i, j).to(operands.like.dtype) * delta
        parts.append(entries_at(operands, i, j, own).expand(len(i)))
    values = torch.cat(parts)
    starts = torch.searchsorted(rows, torch.arange(n + 1, device=rows.device))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(starts, columns, values, size=(n, m), check_invariants=False)


def to_sparse(K: KernelOperator) -> Tensor:
    """K as a sparse CSR tensor ``(n, m)``, for kernels of compact support such as ``Wendland``; no gradients.

    Args:
        K: of a kernel each of whose terms is white noise or a product with a kernel of compact support; all of these
            look at the same columns, with the same lengthscales where there is one a column.

    Raises:
        ValueError: K is a batch, or its kernel is nowhere 0; the message says what is needed.
        MemoryBudgetError: the entries that are not 0 do not fit the memory budget.

    Cost: about ``log(n)`` a point to find its neighbours (a tree, in up to some ten columns), one evaluation a pair of
    neighbours, 12 bytes (float32) or 16 (float64) each, and some 60 while it is made.

    >>> from mercer.kernels import Wendland
    >>> to_sparse(Wendland(lengthscale=1.5)(torch.arange(1000.0).reshape(-1, 1))).values().shape
    torch.Size([2998])
    """
    if K.batch_shape.numel() != 1 or len(K.batch_shape):
        raise ValueError(f"to_sparse(K): K is a batch of shape {tuple(K.batch_shape)}. Take one matrix: K[0].")
    with torch.no_grad():
        operands, _ = K._operands()
        support = find_support(K.spec, operands.numbers())
        if support is None:
            raise ValueError(
                f"to_sparse(K): {K.spec.name} is nowhere exactly 0. Every term needs a factor Wendland(...), and all "
                f"of them the same columns."
            )
        count = Neighbours.of(operands, support).count()
        config.require_memory(
            60 * count,
            asked=f"to_sparse(K) of {K.shape[0]} x {K.shape[1]} with {count} entries",
            instead="Use K @ v, which stores nothing, or a smaller lengthscale.",
        )
        K_sparse = sparse_matrix(operands, K.identity, support, delta=1.0)
    return K_sparse if K_sparse.dtype == K.dtype else K_sparse.to(K.dtype)
