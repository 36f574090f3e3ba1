"""Passes over the tiles of one kernel matrix that is never stored: product, dense copy, gradient.

A tile stays in cache from the GEMM that gives its statistics to the GEMM that uses it up. A symmetric matrix is visited
in its upper half only. Bound: the sum of the tile's GEMM, its exponentials and its product with v, all in L2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mercer import config
from mercer.operators import parallel
from mercer.operators.expression import Expression, derivatives, leaf
from mercer.operators.operands import Identity, Operands
from mercer.operators.program import Program
from mercer.operators.statistics import Panels

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
    """

    def __init__(
        self,
        operands: Operands,
        *,
        roots: tuple[Expression, ...] | None = None,
        identity: Identity | None = None,
        tile: tuple[int, int] | None = None,
    ) -> None:
        spec = operands.spec
        self.operands = operands
        self.n, self.m = operands.shape
        roots = roots or (spec.total,)
        self.program = Program(roots, spec, operands.numbers(), operands.row, operands.columns, operands.like)
        self.panels: list[Panels] = [
            spec.statistics[g].panels(
                operands.left[g],
                operands.rights[g],
                operands.parameters[g],
                self.program.scales[g],
                g in spec.singular,
            )
            for g in self.program.used
        ]
        self.rows, self.columns = tile or tile_shape(self.program.n_buffers, operands.like)
        self._coincident = identity.pairs() if identity is not None and self._exact else None

    @property
    def _exact(self) -> list[int]:
        """Buffers of statistics that vanish between a point and itself."""
        statistics = self.operands.spec.statistics
        return [b for b, g in enumerate(self.program.used) if statistics[g].centred]

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
        space = self.program.workspace(min(self.rows, self.n) * min(self.columns, self.m))
        for block in blocks(self.n, self.m, self.rows, self.columns, symmetric=self.operands.symmetric):
            if (block.i0 // self.rows) % workers != worker:
                continue
            check()
            i0, i1, j0, j1 = block.i0, block.i1, block.j0, block.j1
            *buffers, scratch = space.buffers(i1 - i0, j1 - j0)
            for panel, buffer in zip(self.panels, buffers, strict=False):
                panel.fill(i0, i1, j0, j1, buffer, scratch)
            self._mend(block, buffers)
            yield block, self.program.run(buffers, i0, i1, j0, j1)

    def _mend(self, block: Block, buffers: list[Tensor]) -> None:
        """The distance of a point to itself is 0, whatever round-off says."""
        if block.square:
            for b in self._exact:
                buffers[b][:, : block.square].diagonal().zero_()
        elif self._coincident is not None:
            rows, columns = self._coincident
            first, last = torch.searchsorted(rows, torch.tensor([block.i0, block.i1], device=rows.device)).tolist()
            near = columns[first:last]
            inside = (near >= block.j0) & (near < block.j1)
            at = rows[first:last][inside] - block.i0, near[inside] - block.j0
            for b in self._exact:
                buffers[b][at] = 0.0

    def product(self, v: Tensor) -> Tensor:
        """K @ v for v ``(m, t)``, without ``delta``."""
        workers, symmetric = self.workers, self.operands.symmetric

        def work(worker: int, check: Callable[[], None]) -> Tensor:
            out = v.new_zeros(self.n, v.shape[1])
            for block, (values,) in self.walk(worker, workers, check):
                out[block.i0 : block.i1].addmm_(values, v[block.j0 : block.j1])
                if symmetric:
                    below = slice(block.j0 + block.square, block.j1)
                    out[below].addmm_(values[:, block.square :].mT, v[block.i0 : block.i1])
            return out

        total, *others = parallel.run(work, workers)
        for other in others:
            total += other
        return total

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


class Cotangent(Protocol):
    """The derivative of a scalar with respect to the entries of K."""

    def tile(self, block: Block, *, symmetric: bool) -> Tensor:
        """Its values on a block; when symmetric, with what the mirrored block adds."""

    def contract(self, block: Block, values: Tensor, *, symmetric: bool) -> Tensor:
        """Sum of its values times ``values`` over the block, in float64."""


@dataclass(frozen=True)
class OuterCotangent:
    """u v', for a product: ``u`` is ``(n, t)``, ``v`` is ``(m, t)``."""

    u: Tensor
    v: Tensor

    def tile(self, block: Block, *, symmetric: bool) -> Tensor:
        rows, columns = slice(block.i0, block.i1), slice(block.j0, block.j1)
        G = self.u[rows] @ self.v[columns].mT
        if symmetric:
            G[:, block.square :].addmm_(self.v[rows], self.u[block.j0 + block.square : block.j1].mT)
        return G

    def contract(self, block: Block, values: Tensor, *, symmetric: bool) -> Tensor:
        rows, columns = slice(block.i0, block.i1), slice(block.j0, block.j1)
        total = ((values @ self.v[columns]) * self.u[rows]).sum(dtype=torch.float64)
        if symmetric:
            below = slice(block.j0 + block.square, block.j1)
            total = total + ((values[:, block.square :] @ self.u[below]) * self.v[rows]).sum(dtype=torch.float64)
        return total


@dataclass(frozen=True)
class DenseCotangent:
    """A full matrix ``(n, m)``, for a dense copy."""

    G: Tensor

    def tile(self, block: Block, *, symmetric: bool) -> Tensor:
        G = self.G[block.i0 : block.i1, block.j0 : block.j1].clone()
        if symmetric:
            G[:, block.square :] += self.G[block.j0 + block.square : block.j1, block.i0 : block.i1].mT
        return G

    def contract(self, block: Block, values: Tensor, *, symmetric: bool) -> Tensor:
        return (self.tile(block, symmetric=symmetric) * values).sum(dtype=torch.float64)


def pull(
    operands: Operands, cotangent: Cotangent, wanted: tuple[bool, ...], identity: Identity | None = None
) -> tuple[Tensor | None, ...]:
    """Gradient of sum(cotangent * K) in each of ``operands.flat()``, recomputed by tiles; None where unwanted."""
    kinds = _Gradients(operands, wanted)
    if not kinds.targets:
        return tuple(torch.zeros_like(t) if w else None for t, w in zip(operands.flat(), wanted, strict=True))
    tiles = Tiles(operands, roots=tuple(derivatives(operands.spec.total, kinds.targets)), identity=identity)
    workers = tiles.workers

    def work(worker: int, check: Callable[[], None]) -> tuple[Tensor | None, ...]:
        into = _Gradients(operands, wanted)
        for block, values in tiles.walk(worker, workers, check):
            into.add(block, values, cotangent)
        return into.flat

    total, *others = parallel.run(work, workers)
    for other in others:
        for mine, theirs in zip(total, other, strict=True):
            if mine is not None and theirs is not None:
                mine += theirs
    return total


class _Gradients:
    """Where one worker adds up gradients; in the symmetric case both sides share one tensor."""

    def __init__(self, operands: Operands, wanted: tuple[bool, ...]) -> None:
        self.operands = operands
        self.flat = tuple(torch.zeros_like(t) if w else None for t, w in zip(operands.flat(), wanted, strict=True))
        shell = operands.unflatten(self.flat)  # type: ignore[arg-type]
        self.left: tuple[Tensor | None, ...] = shell.left
        self.right: tuple[Tensor | None, ...] = shell.rights
        self.row, self.column, self.theta = shell.row, shell.columns, shell.theta
        self.parameters = [
            list(zip(tensors, into, strict=True))
            for tensors, into in zip(operands.parameters, shell.parameters, strict=True)
        ]
        sides = zip(self.left, self.right, self.parameters, strict=True)
        self.statistics = [
            g
            for g, (dE, dF, parameters) in enumerate(sides)
            if dE is not None or dF is not None or any(into is not None for _, into in parameters)
        ]
        self.rows = [g for g, a in enumerate(self.row) if a is not None]
        self.columns = [g for g, b in enumerate(self.column) if b is not None]
        self.thetas = [k for k, t in enumerate(self.theta) if t is not None]
        self.targets = [leaf("statistic", g) for g in self.statistics]
        self.targets += [leaf("row", g) for g in self.rows] + [leaf("column", g) for g in self.columns]
        self.targets += [leaf("theta", operands.spec.scalars[k]) for k in self.thetas]

    def add(self, block: Block, values: list[Tensor], cotangent: Cotangent) -> None:
        """Add what one block contributes; ``values`` are the derivatives by ``targets``, and are used up."""
        operands, symmetric = self.operands, self.operands.symmetric
        rows, columns = slice(block.i0, block.i1), slice(block.j0, block.j1)
        derivative = iter(values)
        if self.statistics or self.rows or self.columns:
            G = cotangent.tile(block, symmetric=symmetric)
        for g in self.statistics:
            dE, dF = self.left[g], self.right[g]
            operands.spec.statistics[g].pull(
                next(derivative).mul_(G),
                operands.left[g][rows],
                operands.rights[g][columns],
                None if dE is None else dE[rows],
                None if dF is None else dF[columns],
                self.parameters[g],
            )
        for g in self.rows:
            self.row[g][rows] += next(derivative).mul_(G).sum(1)
        for g in self.columns:
            self.column[g][columns] += next(derivative).mul_(G).sum(0)
        for k in self.thetas:
            change = cotangent.contract(block, next(derivative), symmetric=symmetric)
            self.theta[k].add_(change.to(self.theta[k].dtype))


def tile_shape(n_buffers: int, like: Tensor) -> tuple[int, int]:
    """Rows and columns of a tile, powers of two: on a CPU all its buffers fit the L2 cache of one core."""
    cache = config.cache_bytes() if like.device.type == "cpu" else 1 << 26
    elements = max(1 << 12, int(cache / (like.element_size() * max(1, n_buffers))))
    rows = 1 << ((elements.bit_length() - 3) // 2)
    return rows, 1 << ((elements // rows).bit_length() - 1)
