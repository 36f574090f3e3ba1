"""K @ v in one pass: a tile is computed, multiplied by its piece of v, and gone; nothing but the result is written."""

from __future__ import annotations

from mercer.operators.gpu.accumulator import Accumulator
from mercer.operators.gpu.source import Tile, kernel_source

# A column of v costs a multiply-add a pair; 16 of them as three TF32 products cost about as much as 5.
UNROLLED = 4
UNROLLED_DOUBLE = 8
LARGEST_CHUNK = 64  # of a tensor-core product, so that its sums stay in registers


def chunk_of(t: int, dtype: str) -> int:
    """How many right-hand sides one program takes."""
    if dtype == "tl.float64":
        return min(t, UNROLLED_DOUBLE)
    return t if t <= UNROLLED else min(LARGEST_CHUNK, max(16, 1 << (t - 1).bit_length()))


def forward_source(tile: Tile, chunk: int) -> str:
    """The kernel that multiplies by V ``(batch, t, m)``, ``chunk`` rows a program, into O ``(batch, t, n)``."""
    body = [f"value = {tile.printed.results[0]}"]
    if tile.dtype == "tl.float32" and chunk > UNROLLED:
        head = [f"z = b * t + c * {chunk} + tl.arange(0, {chunk})"]
        body.append("v = tl.load(V + (z * m)[None, :] + j0 + jj[:, None])")
        sums = [Accumulator("o", 'tl.dot(value, v, input_precision="tf32x3")', f"(BM, {chunk})")]
        tail = ["tl.store(O + (z * n)[None, :] + at[:, None], o_all, mask=(at < n)[:, None])"]
        return kernel_source(tile, ["V", "O"], head=head, body=body, sums=sums, tail=tail)
    rows = [f"(b * t + c * {chunk} + {q})" for q in range(chunk)]
    body += [f"v{q} = tl.load(V + {row} * m + j0 + jj)[None, :]" for q, row in enumerate(rows)]
    sums = [Accumulator(f"o{q}", f"value * v{q}") for q in range(chunk)]
    tail = [f"tl.store(O + {row} * n + at, o{q}_all, mask=at < n)" for q, row in enumerate(rows)]
    return kernel_source(tile, ["V", "O"], head=[], body=body, sums=sums, tail=tail)
