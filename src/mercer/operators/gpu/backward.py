"""The gradient of sum(u * (K @ v)) in everything that belongs to the rows, in one pass over the tiles.

G = u v' is made for each tile, multiplied by the map's derivatives, and pulled back to the row points, row values and
hyperparameters. A program owns its rows, so nothing is added atomically and results repeat to the bit; the columns'
gradient is the same kernel with both sides exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

from mercer.operators.gpu.accumulator import Accumulator
from mercer.operators.gpu.forward import LARGEST_CHUNK, UNROLLED, UNROLLED_DOUBLE
from mercer.operators.gpu.source import Tile, kernel_source


@dataclass(frozen=True)
class Targets:
    """What the derivatives of a :class:`Tile` are by, in this order.

    Attributes:
        statistics: whose row points get a gradient ``D<g>``.
        rows: row values that get one, ``DA<g>``.
        thetas: how many hyperparameters get a partial sum a program, ``DH<k>``.
    """

    statistics: tuple[int, ...]
    rows: tuple[int, ...]
    thetas: int

    @property
    def names(self) -> list[str]:
        """The arguments that receive gradients."""
        return (
            [f"D{g}" for g in self.statistics] + [f"DA{g}" for g in self.rows] + [f"DH{k}" for k in range(self.thetas)]
        )


def padded_to(t: int, dtype: str) -> int:
    """The number of which the right-hand sides have to be a multiple; zeros fill up."""
    return 1 if dtype == "tl.float64" or unrolled(t, dtype) else min(LARGEST_CHUNK, max(16, 1 << (t - 1).bit_length()))


def unrolled(t: int, dtype: str) -> bool:
    """Whether u v' is written out column by column."""
    return t <= (UNROLLED if dtype == "tl.float32" else UNROLLED_DOUBLE)


def backward_source(tile: Tile, targets: Targets, t: int) -> str:
    """The kernel for U ``(batch, t, n)`` and V ``(batch, t, m)``; t beyond :func:`padded_to` is an argument only."""
    head, body = _outer_product(tile.dtype, t)
    results = iter(tile.printed.results)
    panels = {panel.g: panel for panel in tile.panels}
    sums: list[Accumulator] = []
    tail: list[str] = []
    for g in targets.statistics:
        head += panels[g].pull_head()
        body += [f"h{g} = {next(results)} * G", *panels[g].pull_tile(f"h{g}", tile.same)]
        sums += panels[g].pull_sums(f"h{g}")
        tail += panels[g].pull_tail()
    for g in targets.rows:
        sums.append(Accumulator(f"da{g}", f"{next(results)} * G"))
        tail.append(f"tl.store(DA{g} + b * n + at, da{g}_all, mask=(at < n) & (c == 0))")
    for k in range(targets.thetas):
        sums.append(Accumulator(f"dh{k}", f"{next(results)} * G"))
        tail.append(f"tl.store(DH{k} + tl.program_id(0), tl.sum(dh{k}_all, 0), mask=c == 0)")
    return kernel_source(tile, ["U", "V", *targets.names], head=head, body=body, sums=sums, tail=tail)


def _outer_product(dtype: str, t: int) -> tuple[list[str], list[str]]:
    """Source of ``G``, 0 beyond the last row and column: what stands before the loop, and for each tile."""
    u, v = (
        "tl.load(U + (b * t + {}) * n + i, mask=at < n, other=0.0)[:, None]",
        "tl.load(V + (b * t + {}) * m + j0 + jj)[None, :]",
    )
    if unrolled(t, dtype):
        head = [f"u{q} = {u.format(q)}" for q in range(t)]
        body = [f"v{q} = {v.format(q)}" for q in range(t)]
        return head, [*body, "G = " + " + ".join(f"u{q} * v{q}" for q in range(t))]
    start = ["G = tl.zeros((BM, BN), REAL)"]
    if dtype == "tl.float64":
        return [], [*start, "for q in range(t):", f"    G += {u.format('q')} * {v.format('q')}"]
    chunk = padded_to(t, dtype)
    return [], [
        *start,
        f"for z0 in range(0, t, {chunk}):",
        f"    z = b * t + z0 + tl.arange(0, {chunk})",
        "    u = tl.load(U + (z * n)[None, :] + i[:, None], mask=(at < n)[:, None], other=0.0)",
        "    v = tl.load(V + (z * m)[:, None] + j0 + jj[None, :])",
        '    G = tl.dot(u, v, G, input_precision="tf32x3")',
    ]
