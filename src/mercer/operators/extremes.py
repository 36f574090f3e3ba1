"""The largest or smallest entries of every row of a kernel matrix and where they stand; by tiles, nothing stored.

Entries are compared by the logarithm of the kernel where it has one (:func:`log_of`), so the order is right between
points whose kernel values have all underflowed to 0: for a kernel of distances these are exact nearest neighbours.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mercer import config
from mercer.operators.logarithm import log_spec
from mercer.operators.machine import parallel
from mercer.operators.operands import with_spec
from mercer.operators.tiles import Tiles, meetings

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

__all__ = ["Extremes", "topk"]

_PAIRS = 1 << 20  # entries recomputed at a time by the definition


class Extremes(NamedTuple):
    """The k largest (or smallest) entries of every row, in order, and their columns.

    ``values``: ``(*batch, n, k)`` in the dtype of K, differentiable; ``indices``: int64, the same shape.
    """

    values: Tensor
    indices: Tensor


def topk(K: KernelOperator, k: int, dim: int = -1, *, largest: bool = True, exclude_self: bool = False) -> Extremes:
    """The ``k`` largest (smallest) entries along ``dim``, the best first; among equal ones the lower index first.

    The values are computed once more from the pairs found, by the definition, so they carry gradients and no round-off
    of tiles. Which of two entries that agree to round-off comes first is as accurate as a product in the dtype of K.

    Args:
        K: ``(*batch, n, m)``.
        k: 1 to m; to m - 1 with ``exclude_self``.
        dim: -1 or -2: along rows or along columns, as in torch.
        largest: False gives the smallest.
        exclude_self: leave out the entry of a point with itself, where rows and columns are the same points. For
            nearest neighbours within one set.

    Raises:
        ValueError: k or dim out of range, or ``exclude_self`` of two different sets of points.

    Cost: a product without its right-hand side and one comparison a pair; memory ``n k`` numbers a thread.

    >>> from mercer.kernels import RBF
    >>> topk(RBF()(torch.tensor([[0.0], [1.0], [3.0]])), 1, exclude_self=True).indices
    tensor([[1],
            [0],
            [1]])
    """
    if dim not in (-1, -2, K.dim() - 1, K.dim() - 2):
        raise ValueError(f"K.topk: dim must be -1 (along rows) or -2 (along columns), not {dim}.")
    if dim in (-2, K.dim() - 2):
        found = topk(K.mT, k, largest=largest, exclude_self=exclude_self)
        return Extremes(found.values.mT, found.indices.mT)
    n, m = K.shape[-2:]
    if exclude_self and not K.same:
        raise ValueError("K.topk: exclude_self needs rows and columns of one set of points: kernel(X) or a part of it.")
    most = m - 1 if exclude_self else m
    if not 1 <= k <= most:
        raise ValueError(f"K.topk: K is {n} x {m}, so k must be 1 to {most}, not {k}.")
    memory = 16 * n * k * parallel.n_workers()
    config.require_memory(memory, asked=f"K.topk({k}) of {n} x {m}", instead="Give a smaller k.")
    places = itertools.product(*(range(size) for size in K.batch_shape))
    each = [_search(K._like(*(t[b] for t in K._args)), k, largest, exclude_self) for b in places]
    values, indices = (torch.stack(parts).reshape(*K.batch_shape, n, k) for parts in zip(*each, strict=True))
    return Extremes(values, indices)


def _search(K: KernelOperator, k: int, largest: bool, exclude_self: bool) -> Extremes:
    """The answer for one matrix."""
    with torch.no_grad():
        operands, _ = K._operands()
        log, sign = log_spec(K.spec), 1.0 if largest else -1.0
        spec = log or K.spec
        tiles = Tiles(with_spec(operands, spec), roots=(spec.total * sign,), identity=K.identity)
        own = None  # what to put where a point meets itself
        if exclude_self:
            own = operands.like.new_full((tiles.n,), -torch.inf)
        elif K.spec.has_delta and K.same:
            own = K._self_values(operands, 1.0)
            own = (own.log() if log else own) * sign
        indices = _best_columns(tiles, k, own, None if K.identity is None else K.identity.pairs())
    n = len(indices)
    step = max(1, _PAIRS // k)
    parts = []
    for i in range(0, n, step):
        rows = torch.arange(i, min(i + step, n), device=indices.device).repeat_interleave(k)
        parts.append(K.entries(rows, indices[i : i + step].flatten()))
    values = torch.cat(parts) if parts else indices.new_empty(0, dtype=K.dtype)
    return Extremes(values.reshape(n, k), indices)


def _best_columns(tiles: Tiles, k: int, own: Tensor | None, pairs: tuple[Tensor, Tensor] | None) -> Tensor:
    """Columns of the ``k`` largest values of every row, ``(n, k)``."""
    workers, symmetric, like = tiles.workers, tiles.operands.symmetric, tiles.operands.like
    least = torch.finfo(like.dtype).min  # above -inf, which stands for "nothing yet"

    def work(worker: int, check: Callable[[], None]) -> tuple[Tensor, Tensor]:
        best = like.new_full((tiles.n, k), -torch.inf)
        where = torch.zeros(tiles.n, k, dtype=torch.long, device=like.device)
        for block, (values,) in tiles.walk(worker, workers, check):
            values.clamp_(min=least)
            if own is not None:
                rows, columns = meetings(block, pairs, like.device)
                values[rows, columns] = own[rows + block.i0]
            _merge(best[block.i0 : block.i1], where[block.i0 : block.i1], values, block.j0)
            if symmetric and block.j0 + block.square < block.j1:
                below = slice(block.j0 + block.square, block.j1)
                _merge(best[below], where[below], values[:, block.square :].mT, block.i0)
        return best, where

    (best, where), *others = parallel.run(work, workers)
    if others:
        best = torch.cat([best, *(values for values, _ in others)], 1)
        where = torch.cat([where, *(columns for _, columns in others)], 1)
        order = where.argsort(dim=1, stable=True)
        best, where = best.gather(1, order), where.gather(1, order)
        where = where.gather(1, best.argsort(dim=1, descending=True, stable=True)[:, :k])
    return where


def _merge(best: Tensor, where: Tensor, tile: Tensor, offset: int) -> None:
    """Take a tile's values into the best so far; its columns stand behind all columns seen before."""
    hopeful = (tile.amax(1) > best[:, -1]).nonzero().squeeze(1)
    if not len(hopeful):
        return
    k, tile = best.shape[1], tile.index_select(0, hopeful)
    better = tile > best[hopeful, -1:]
    counts = better.sum(1)
    width = int(counts.max())
    if 4 * width > tile.shape[1]:
        values, at = _first_largest(tile, min(k, tile.shape[1]))
    else:
        # In all tiles but the first few entries are better; torch.topk takes three times as long to find them.
        rows, at = better.nonzero(as_tuple=True)
        slot = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
        values, columns = tile.new_full((len(tile), width), -torch.inf), at.new_zeros(len(tile), width)
        values[rows, slot], columns[rows, slot] = tile[rows, at], at
        at = columns
    values, at = torch.cat([best[hopeful], values], 1), torch.cat([where[hopeful], at + offset], 1)
    order = values.argsort(dim=1, descending=True, stable=True)[:, :k]
    best[hopeful], where[hopeful] = values.gather(1, order), at.gather(1, order)


def _first_largest(tile: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest of every row in order; of equal ones those that stand first, which torch.topk leaves open."""
    values, at = tile.topk(k, 1)
    tied = (tile >= values[:, -1:]).sum(1) > k
    if bool(tied.any()):
        full, order = tile[tied].sort(dim=1, descending=True, stable=True)
        values[tied], at[tied] = full[:, :k], order[:, :k]
    at = at.sort(1).values
    values = tile.gather(1, at)
    order = values.argsort(dim=1, descending=True, stable=True)
    return values.gather(1, order), at.gather(1, order)
