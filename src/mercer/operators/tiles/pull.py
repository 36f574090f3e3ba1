"""The gradient of a sum over kernel entries, pulled back tile by tile to points and hyperparameters.

For each tile: G, the derivative by the entries of K; times dmap/dS, the compiled derivative of the map; then GEMMs that
take it back to the points. The map's slope in a scalar hyperparameter needs no G when G = u v': one product and one dot
do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mercer.operators.gpu import Fused, runs_fused
from mercer.operators.machine import parallel
from mercer.operators.maps import derivatives, leaf
from mercer.operators.operands import Identity, Operands
from mercer.operators.tiles.passes import Block, Tiles


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
        U, V = self.u.mT, self.v.mT  # in rows, as in Tiles.product
        total = ((V[:, columns].contiguous() @ values.mT) * U[:, rows]).sum(dtype=torch.float64)
        if symmetric:
            below = slice(block.j0 + block.square, block.j1)
            product = V[:, rows].contiguous() @ values[:, block.square :]
            total = total + (product * U[:, below]).sum(dtype=torch.float64)
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
    if isinstance(cotangent, OuterCotangent) and runs_fused(operands):
        return Fused(operands, identity).pull(cotangent.u, cotangent.v, wanted)
    kinds = Gradients(operands, wanted)
    if not kinds.targets:
        return tuple(torch.zeros_like(t) if w else None for t, w in zip(operands.flat(), wanted, strict=True))
    tiles = Tiles(operands, roots=tuple(derivatives(operands.spec.total, kinds.targets)), identity=identity)
    workers = tiles.workers

    def work(worker: int, check: Callable[[], None]) -> tuple[Tensor | None, ...]:
        into = Gradients(operands, wanted)
        for block, values in tiles.walk(worker, workers, check):
            into.add(block, values, cotangent)
        return into.flat

    total, *others = parallel.run(work, workers)
    for other in others:
        for mine, theirs in zip(total, other, strict=True):
            if mine is not None and theirs is not None:
                mine += theirs
    return total


class Gradients:
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
