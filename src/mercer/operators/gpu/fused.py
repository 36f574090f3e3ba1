"""One fused kernel for any Spec: products and gradients of a kernel matrix, or a batch of them, in one launch each."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from mercer.operators.gpu.backward import Targets, backward_source, padded_to
from mercer.operators.gpu.column_panel import FORMS
from mercer.operators.gpu.device import why_no_triton
from mercer.operators.gpu.forward import chunk_of, forward_source
from mercer.operators.gpu.module import load
from mercer.operators.gpu.panels import Panel, make_panel, unsupported
from mercer.operators.gpu.printer import print_triton, unprintable
from mercer.operators.gpu.source import BLOCK, SYMMETRIC, Tile
from mercer.operators.gpu.split_panel import SplitPanel
from mercer.operators.maps import Expression, derivatives, leaf, substitute
from mercer.operators.operands import Identity, Operands
from mercer.operators.spec import Spec, singular_statistics

DTYPES = {torch.float32: "tl.float32", torch.float64: "tl.float64"}


@lru_cache(maxsize=256)
def why_not_fused(spec: Spec, dtype: torch.dtype, device: torch.device | None = None) -> str | None:
    """None if a kernel has a fused form, and it runs on ``device`` if one is given; else the reason.

    Fused kernels run on CUDA from compute capability 8.0 on.
    """
    if device is not None and (reason := why_no_triton(device)) is not None:
        return reason
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed: pip install 'mercer[gpu]'"
    if dtype not in DTYPES:
        return f"fused kernels compute in float32 and float64, not {dtype}"
    name = unsupported(spec.statistics)
    if name is not None:
        return f"the statistic {name} has no fused form, so tiles are plain torch"
    op = unprintable((spec.total,))
    if op is not None:
        return f"the op {op!r} has no fused form, so tiles are plain torch"
    return None


def runs_fused(operands: Operands) -> bool:
    """Whether products with these operands go through a fused kernel."""
    return why_not_fused(operands.spec, operands.like.dtype, operands.like.device) is None


class Fused:
    """A kernel matrix, or a batch of them, laid out for one fused kernel.

    Args:
        operands: detached; ``left[g]`` is ``(*batch, n, r)`` and so on, all with the same batch shape, or none.
        identity: coincident pairs of a block, the same for the whole batch.
        tile: rows and columns of a tile, powers of two from 16 on (default: what suits the kernel).
    """

    def __init__(
        self, operands: Operands, identity: Identity | None = None, tile: tuple[int, int] | None = None
    ) -> None:
        like = operands.like
        self.batch = like.shape[: like.dim() - (2 if operands.left else 1)]
        flat = [t.reshape(self.batch.numel(), *t.shape[len(self.batch) :]) for t in operands.flat()]
        self.operands = operands.unflatten(flat)
        self.identity, self._tile = identity, tile
        self.dtype = DTYPES[like.dtype]

    @cached_property
    def _forward(self) -> _Prepared:
        return _Prepared.make(self.operands, self.identity, (self.operands.spec.total,), (), self._tile)

    def product(self, v: Tensor) -> Tensor:
        """K @ v for v ``(*batch, m, t)``, without ``delta``."""
        n, m = self.operands.shape
        t = v.shape[-1]
        if v.numel() == 0 or n == 0:
            return v.new_zeros(*self.batch, n, t)
        chunk, prepared = chunk_of(t, self.dtype), self._forward
        V = _in_rows(v.reshape(-1, m, t), prepared.columns, chunk)
        out = v.new_empty(*V.shape[:2], n)
        prepared.launch(forward_source(prepared.tile, chunk), [V, out], V.shape[1], V.shape[1] // chunk)
        return out[:, :t].mT.reshape(*self.batch, n, t)

    def pull(self, u: Tensor, v: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        """The gradient of sum(u * (K @ v)) in each of ``operands.flat()``, None where unwanted.

        Args:
            u, v: ``(*batch, n, t)`` and ``(*batch, m, t)``.
            wanted: one a tensor of ``operands.flat()``.
        """
        operands, (n, m) = self.operands, self.operands.shape
        grads = [torch.zeros_like(x) if want else None for x, want in zip(operands.flat(), wanted, strict=True)]
        into: Any = operands.unflatten(grads)  # type: ignore[arg-type]
        if u.numel() and v.numel():
            u, v = u.reshape(-1, n, u.shape[-1]), v.reshape(-1, m, v.shape[-1])
            if operands.symmetric:  # a point is pulled as a row and as a column; hyperparameters only once
                u, v = torch.cat([u, v], -1), torch.cat([v, u], -1)
            self._pull_rows(operands, self.identity, u, v, into.left, into.row, into.theta, operands.spec.total)
            if into.right is not None:
                identity = None if self.identity is None else self.identity.mT
                exchanged = _exchange_sides(operands.spec)
                self._pull_rows(operands.transposed(), identity, v, u, into.right, into.column, (), exchanged)
        return tuple(None if x is None else x.reshape((*self.batch, *x.shape[1:])) for x in grads)

    def _pull_rows(
        self,
        operands: Operands,
        identity: Identity | None,
        u: Tensor,
        v: Tensor,
        points: Sequence[Tensor | None],
        values: Sequence[Tensor | None],
        thetas: Sequence[Tensor | None],
        root: Expression,
    ) -> None:
        """Write the gradient in the row side's points, row values and hyperparameters into those that are not None."""
        statistics = tuple(g for g, x in enumerate(points) if x is not None and x.numel())
        rows = tuple(g for g, x in enumerate(values) if x is not None)
        chosen = [k for k, x in enumerate(thetas) if x is not None]
        wrt = [leaf("statistic", g) for g in statistics] + [leaf("row", g) for g in rows]
        wrt += [leaf("theta", operands.spec.scalars[k]) for k in chosen]
        if not wrt:
            return
        prepared = _Prepared.make(operands, identity, tuple(derivatives(root, wrt)), statistics, self._tile)
        panels = {panel.g: panel for panel in prepared.tile.panels}
        places = [panels[g].gradient(operands.left[g]) for g in statistics]
        sums = [u.new_empty(u.shape[0], prepared.blocks) for _ in chosen]
        multiple = padded_to(u.shape[-1], self.dtype)
        U, V = _in_rows(u, operands.shape[0], multiple), _in_rows(v, prepared.columns, multiple)
        arguments = [U, V, *places, *(x for g in rows if (x := values[g]) is not None), *sums]
        source = backward_source(prepared.tile, Targets(statistics, rows, len(chosen)), u.shape[-1])
        prepared.launch(source, arguments, U.shape[1], max([panels[g].chunks for g in statistics], default=1))
        for g, place in zip(statistics, places, strict=True):
            points[g].copy_(panels[g].finished(place))  # type: ignore[union-attr]
        for k, partial in zip(chosen, sums, strict=True):
            total = partial.sum(1, dtype=torch.float64) * (0.5 if operands.symmetric else 1.0)
            thetas[k].copy_(total)  # type: ignore[union-attr]


@dataclass(frozen=True)
class _Prepared:
    """A tile's source and the tensors of its arguments."""

    tile: Tile
    tensors: list[Tensor]
    rows: int
    columns: int  # a multiple of the tile's
    batch: int

    @staticmethod
    def make(
        operands: Operands,
        identity: Identity | None,
        roots: tuple[Expression, ...],
        pulled: tuple[int, ...],
        shape: tuple[int, int] | None,
    ) -> _Prepared:
        spec, like = operands.spec, operands.like
        dtype = DTYPES[like.dtype]
        printed = print_triton(roots, dtype)
        used = sorted({*printed.slots("statistic"), *pulled})
        singular = singular_statistics(roots)
        panels = tuple(
            make_panel(g, spec.statistics[g], operands.left[g].shape[-1], like.dtype, g in singular) for g in used
        )
        same = SYMMETRIC if operands.symmetric else BLOCK if identity is not None else None
        tile = Tile(panels, printed, same, shape or tile_shape(panels, dtype, pulled=bool(pulled)), dtype)
        n, m = operands.shape
        columns = -(-m // tile.shape[1]) * tile.shape[1]
        padded = torch.arange(columns, device=like.device).clamp(max=m - 1)  # the last point fills the last tile
        sides = [(panel, operands.left[panel.g], operands.rights[panel.g][:, padded]) for panel in panels]
        tensors = [t for panel, E, F in sides for t in panel.tensors(E, F)]
        tensors += [operands.row[g].contiguous() for g in printed.slots("row")]
        tensors += [operands.columns[g][:, padded] for g in printed.slots("column")]
        if same == BLOCK:
            assert identity is not None
            tensors += [identity.rows.to(like.device), identity.columns.to(like.device)[padded]]
        numbers = printed.values(dict(zip(spec.scalars, operands.theta, strict=True)))
        numbers += [x for panel, E, F in sides for x in panel.numbers(E, F)]
        batch = like.shape[0]
        table = [x.to(like.dtype).expand(batch) for x in numbers]
        tensors.append(torch.stack(table, 1) if table else like.new_empty(batch, 0))
        return _Prepared(tile, tensors, n, columns, batch)

    @property
    def blocks(self) -> int:
        """Blocks of rows of one matrix."""
        return -(-self.rows // self.tile.shape[0])

    def launch(self, source: str, tensors: Sequence[Tensor], t: int, chunks: int) -> None:
        """Run the kernel of ``source`` on all matrices of the batch."""
        split = any(isinstance(panel, SplitPanel) for panel in self.tile.panels)
        options = {"num_warps": 8, "num_stages": 3} if split else {"num_warps": 4, "num_stages": 2}
        device = self.tensors[0].device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            load(source)[(self.batch * self.blocks, chunks)](
                *self.tensors,
                *tensors,
                self.rows,
                self.columns,
                t,
                **options,
            )


def _in_rows(v: Tensor, length: int, multiple: int) -> Tensor:
    """``(batch, m, t)`` as ``(batch, t, m)``, filled up with zeros to ``length`` and a multiple of right-hand sides."""
    return torch.nn.functional.pad(v.mT, (0, length - v.shape[1], 0, -v.shape[2] % multiple)).contiguous()


def tile_shape(panels: Sequence[Panel], dtype: str, *, pulled: bool) -> tuple[int, int]:
    """Rows and columns of a tile: the largest tried with which a float32 Gaussian spills nothing on an H100."""
    if dtype == "tl.float64":
        return 32, 32
    if any(isinstance(panel, SplitPanel) for panel in panels):
        return (128, 32) if pulled else (128, 64)
    return (32, 32) if pulled else (64, 32)


def _exchange_sides(spec: Spec) -> Expression:
    """The kernel with x and y exchanged, for :meth:`Operands.transposed`, which turns the sign of ``side`` around."""
    count = range(len(spec.row_values))
    swap = {leaf("row", g): leaf("column", g) for g in count} | {leaf("column", g): leaf("row", g) for g in count}
    odd = [leaf("statistic", g) for g, statistic in enumerate(spec.statistics) if FORMS[type(statistic)].odd]
    if spec.side is not None:
        odd.append(leaf("theta", spec.side))
    return substitute((spec.total,), swap | {x: -x for x in odd})[0]
