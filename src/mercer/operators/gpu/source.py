"""The frame that every fused kernel shares: a program owns rows, walks over the tiles to their right, and adds up.

The column side is padded to whole tiles, with points that are there and with zeros in v: the loop masks nothing.

Sums have two levels: a partial sum takes 64 tiles, and the total takes partial sums, so that a million float32 terms
lose about as much as a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent

from mercer.operators.gpu.accumulator import Accumulator
from mercer.operators.gpu.panels import Panel
from mercer.operators.gpu.printer import Printed
from mercer.operators.gpu.split_panel import SplitPanel

TILES_A_SUM = 64


@dataclass(frozen=True)
class Tile:
    """What computes a tile.

    Attributes:
        panels: of the statistics that ``printed`` uses, and of those that are pulled.
        printed: the map or its derivatives.
        same: source that is true for coincident pairs, or None.
        shape: rows and columns of a tile, powers of two.
        dtype: of the arithmetic, ``"tl.float32"`` or ``"tl.float64"``.
    """

    panels: tuple[Panel, ...]
    printed: Printed
    same: str | None
    shape: tuple[int, int]
    dtype: str

    @property
    def first_numbers(self) -> dict[int, int]:
        """The place of each panel's own numbers, by statistic; they follow those of the map."""
        at, places = len(self.printed.numbers), {}
        for panel in self.panels:
            places[panel.g] = at
            at += panel.n_numbers
        return places

    @property
    def n_numbers(self) -> int:
        """Numbers a matrix, in all."""
        return len(self.printed.numbers) + sum(panel.n_numbers for panel in self.panels)

    @property
    def arguments(self) -> list[str]:
        """The kernel's arguments that a tile needs: panels, row values, column values, identities, numbers."""
        names = [name for panel in self.panels for name in panel.names]
        names += [f"A{g}" for g in self.printed.slots("row")] + [f"B{g}" for g in self.printed.slots("column")]
        return [*names, *(["RI", "CJ"] if self.same == BLOCK else []), "P"]


SYMMETRIC = "at[:, None] == (j0 + jj)[None, :]"  # ``Tile.same`` of a symmetric matrix
BLOCK = "ri[:, None] == cj[None, :]"  # of a block that has an identity


def kernel_source(
    tile: Tile,
    arguments: Sequence[str],
    *,
    head: Sequence[str],
    body: Sequence[str],
    sums: Sequence[Accumulator],
    tail: Sequence[str],
) -> str:
    """A whole kernel: ``head`` before the loop, ``body`` and ``sums`` for each tile, ``tail`` after it.

    In ``tail``, the sum of accumulator ``x`` is ``x_all``.
    """
    bm, bn = tile.shape
    # Elementwise code spreads a row over a warp: its sum takes five shuffles, so values a pair are kept until a partial
    # sum is full (a third of the instructions at d = 3). A tensor core leaves a row to four threads.
    late = not any(isinstance(panel, SplitPanel) for panel in tile.panels)

    def addend(s: Accumulator) -> str:
        return s.addend if s.shape or late else f"tl.sum({s.addend}, 1)"

    def partial(s: Accumulator) -> str:
        return f"tl.sum({s.name}, 1)" if late and s.shape is None else s.name

    start = [
        "BM: tl.constexpr = " + str(bm),
        "BN: tl.constexpr = " + str(bn),
        "REAL: tl.constexpr = " + tile.dtype,
        "blocks = tl.cdiv(n, BM)",
        "b = (tl.program_id(0) // blocks).to(tl.int64)",
        "i0 = tl.program_id(0) % blocks * BM",
        "c = tl.program_id(1)",
        "at = i0 + tl.arange(0, BM)",
        "i = tl.minimum(at, n - 1)",
        "jj = tl.arange(0, BN)",
        *(f"p{k} = tl.load(P + b * {tile.n_numbers} + {k})" for k in range(tile.n_numbers)),
        *(f"a{g} = tl.load(A{g} + b * n + i)[:, None]" for g in tile.printed.slots("row")),
        *(["ri = tl.load(RI + i)"] if tile.same == BLOCK else []),
        *(line for panel in tile.panels for line in panel.head()),
        *head,
        *(f"{s.name}_all = tl.zeros({s.shape or '(BM,)'}, REAL)" for s in sums),
    ]
    inner = [
        *(f"b{g} = tl.load(B{g} + b * m + j0 + jj)[None, :]" for g in tile.printed.slots("column")),
        *(["cj = tl.load(CJ + j0 + jj)"] if tile.same == BLOCK else []),
        *(line for panel in tile.panels for line in panel.tile(tile.first_numbers[panel.g], tile.same)),
        *tile.printed.lines,
        *body,
        *(f"{s.name} += {addend(s)}" for s in sums),
    ]
    outer = [
        *(f"{s.name} = tl.zeros({s.shape or ('(BM, BN)' if late else '(BM,)')}, REAL)" for s in sums),
        f"for j0 in range(j1, tl.minimum(j1 + {TILES_A_SUM * bn}, m), BN):",
        _indented(inner),
        *(f"{s.name}_all += {partial(s)}" for s in sums),
    ]
    lines = [*start, f"for j1 in range(0, m, {TILES_A_SUM * bn}):", _indented(outer), *tail]
    signature = ", ".join([*tile.arguments, *arguments, "n", "m", "t"])
    decorator = '@triton.jit(do_not_specialize=["n", "t"])'
    return f"{decorator}\ndef kernel({signature}):\n{_indented(lines)}\n"


def _indented(lines: Sequence[str]) -> str:
    return indent("\n".join(lines), "    ")
