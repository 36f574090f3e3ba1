"""Passes over the tiles of one kernel matrix that is never stored: product and dense copy.

A tile stays in cache from the GEMM that gives its statistics to the GEMM that uses it up. A symmetric matrix is visited
in its upper half only. Bound: the sum of the tile's GEMM, its exponentials and its product with v, all in L2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mercer.operators.machine import parallel, tile_shape
from mercer.operators.maps import Bounds, Expression, quick_forms
from mercer.operators.operands import Identity, Operands
from mercer.operators.spec import singular_statistics
from mercer.operators.statistics import Panels
from mercer.operators.tiles.program import Program, Workspace
from mercer.operators.tiles.shortcuts import Exceptions, takes_shortcuts

SMALL = 1 << 18  # pairs below which starting workers costs more than it saves


@dataclass(frozen=True)
class Block:
    """Rows ``i0:i1`` and columns ``j0:j1``; the first ``square`` columns are the rows again (symmetric matrices)."""

    i0: int
    i1: int
    j0: int
    j1: int
    square: int


def blocks(n: int, m: int, rows: int, columns: int, *, symmetric: bool) -> Iterator[Block]:
    """Blocks that cover the matrix, or its upper half. Needs ``columns >= rows``."""
    for i0 in range(0, n, rows):
        i1 = min(i0 + rows, n)
        start = i0 if symmetric else 0
        for j0 in range(start, m, columns):
            yield Block(i0, i1, j0, min(j0 + columns, m), i1 - i0 if symmetric and j0 == start else 0)


class Tiles:
    """One kernel matrix, ready for passes over its tiles.

    Args:
        operands: unbatched and detached.
        roots: the expressions to evaluate on each tile (default: the kernel itself).
        identity: coincident pairs of a block of a symmetric matrix, which get their statistic exactly.
        tile: rows and columns of a tile (default: what fits the L2 caches).
        shortcuts: False computes every pair by the exact form of the map.
    """

    def __init__(
        self,
        operands: Operands,
        *,
        roots: tuple[Expression, ...] | None = None,
        identity: Identity | None = None,
        tile: tuple[int, int] | None = None,
        shortcuts: bool = True,
    ) -> None:
        spec = operands.spec
        self.operands, self.identity = operands, identity
        self.n, self.m = operands.shape
        self.roots = roots or (spec.total,)
        taken, bounds = self.roots, tuple[Bounds, ...]()
        if shortcuts and takes_shortcuts(operands, self.roots):
            taken, bounds = quick_forms(self.roots)
        self.program = Program(
            taken,
            spec,
            operands.numbers(),
            operands.row,
            operands.columns,
            operands.like,
            inside=[b.slot for b in bounds],
        )
        singular = singular_statistics(self.roots)
        self.panels: list[Panels] = [
            spec.statistics[g].panels(
                operands.left[g],
                operands.rights[g],
                operands.parameters[g],
                self.program.scales[g],
                g in singular,
            )
            for g in self.program.used
        ]
        beside = sum(spec.statistics[g].bytes_per_pair for g in self.program.used)
        self.rows, self.columns = tile or tile_shape(self.program.n_buffers, operands.like, beside)
        self._coincident = identity.pairs() if identity is not None and self._exact else None
        self._exceptions = (
            Exceptions(operands, self.roots[0], bounds, self.program.scales, self.program.used) if bounds else None
        )

    @property
    def _exact(self) -> list[int]:
        """Buffers of statistics that vanish between a point and itself."""
        statistics = self.operands.spec.statistics
        return [b for b, g in enumerate(self.program.used) if statistics[g].vanishes]

    @property
    def workers(self) -> int:
        """How many workers a pass is worth."""
        if self.operands.like.device.type != "cpu" or self.n * self.m < SMALL:
            return 1
        return min(parallel.n_workers(), -(-self.n // self.rows))

    def walk(
        self, worker: int = 0, workers: int = 1, check: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[Block, list[Tensor]]]:
        """The blocks of one worker (every ``workers``-th row of blocks), each with the values of the roots on it.

        The values are overwritten by the next step.
        """
        spaces: dict[Tiles, Workspace] = {}
        for block in blocks(self.n, self.m, self.rows, self.columns, symmetric=self.operands.symmetric):
            if (block.i0 // self.rows) % workers != worker:
                continue
            check()
            yield block, self._values(block, spaces)

    def _values(self, block: Block, spaces: dict[Tiles, Workspace]) -> list[Tensor]:
        """The roots on a block; ``spaces`` keep the memory of this worker."""
        space = spaces.get(self)
        if space is None:
            space = spaces[self] = self.program.workspace(min(self.rows, self.n) * min(self.columns, self.m))
        i0, i1, j0, j1 = block.i0, block.i1, block.j0, block.j1
        *buffers, scratch = space.buffers(i1 - i0, j1 - j0)
        for panel, buffer in zip(self.panels, buffers, strict=False):
            panel.fill(i0, i1, j0, j1, buffer, scratch)
        self._mend(block, buffers)
        exceptions = self._exceptions
        found = None if exceptions is None else exceptions.find(buffers)
        if exceptions is None or found is None:
            return self.program.run(buffers, i0, i1, j0, j1)
        if exceptions.are_many(found, buffers[0]):
            return self._without_shortcuts._values(block, spaces)
        values = self.program.run(buffers, i0, i1, j0, j1)
        i, j = found
        values[0][i, j] = exceptions.values(i0 + i, j0 + j)
        return values

    @cached_property
    def _without_shortcuts(self) -> Tiles:
        return Tiles(
            self.operands,
            roots=self.roots,
            identity=self.identity,
            tile=(self.rows, self.columns),
            shortcuts=False,
        )

    def _mend(self, block: Block, buffers: list[Tensor]) -> None:
        """The distance of a point to itself is 0, whatever round-off says."""
        if block.square:
            for b in self._exact:
                buffers[b][:, : block.square].diagonal().zero_()
        elif self._coincident is not None:
            at = meetings(block, self._coincident, buffers[0].device)
            for b in self._exact:
                buffers[b][at] = 0.0

    def product(self, v: Tensor) -> Tensor:
        """K @ v for v ``(m, t)``, without ``delta``."""
        workers, symmetric = self.workers, self.operands.symmetric

        # Right-hand sides lie in rows: a GEMM with 2 to 15 columns is 3 to 6 times slower than with as many rows.
        V = v.mT.contiguous()

        def work(worker: int, check: Callable[[], None]) -> Tensor:
            out = v.new_zeros(v.shape[1], self.n)
            for block, (values,) in self.walk(worker, workers, check):
                rows, columns = slice(block.i0, block.i1), slice(block.j0, block.j1)
                out[:, rows].addmm_(V[:, columns], values.mT)
                if symmetric:
                    out[:, block.j0 + block.square : block.j1].addmm_(V[:, rows], values[:, block.square :])
            return out

        total, *others = parallel.run(work, workers)
        for other in others:
            total += other
        return total.mT.contiguous()

    def dense(self, out: Tensor | None = None) -> Tensor:
        """K as a tensor ``(n, m)``, without ``delta``."""
        K = self.operands.like.new_empty(self.n, self.m) if out is None else out
        workers, symmetric = self.workers, self.operands.symmetric

        def work(worker: int, check: Callable[[], None]) -> None:
            for block, (values,) in self.walk(worker, workers, check):
                K[block.i0 : block.i1, block.j0 : block.j1] = values
                if symmetric:
                    K[block.j0 + block.square : block.j1, block.i0 : block.i1] = values[:, block.square :].mT

        parallel.run(work, workers)
        return K


def meetings(block: Block, pairs: tuple[Tensor, Tensor] | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where in a block a point meets itself, rows and columns; ``pairs`` are those of :class:`Identity`, if any."""
    if pairs is None:
        own = torch.arange(block.square, device=device)
        return own, own
    rows, columns = pairs
    first, last = torch.searchsorted(rows, torch.tensor([block.i0, block.i1], device=device)).tolist()
    near = columns[first:last]
    inside = (near >= block.j0) & (near < block.j1)
    return rows[first:last][inside] - block.i0, near[inside] - block.j0
