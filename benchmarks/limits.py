"""What the machine allows: the parts of a kernel product, measured alone, in cache."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from mercer.operators.machine import exp2_is_faster, tile_shape


def best_seconds(function: Callable[[], object], *, repeats: int = 30) -> float:
    """The least of several times: what the machine does when nothing disturbs it."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def product_limit(d: int, dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """Seconds a pair of each part, and ``pairs`` a second of their sum."""
    like = torch.zeros(1, dtype=dtype)
    p, q = tile_shape(1, like)
    left, right = torch.randn(p, d + 2, dtype=dtype), torch.randn(q, d + 2, dtype=dtype)
    tile, values = torch.empty(p, q, dtype=dtype), -torch.rand(p, q, dtype=dtype)
    v, out = torch.randn(q, 1, dtype=dtype), torch.zeros(p, 1, dtype=dtype)
    exponential = torch.exp2 if exp2_is_faster(like) else torch.exp
    parts = {
        "gemm": best_seconds(lambda: torch.mm(left, right.mT, out=tile)),
        "exponential": best_seconds(lambda: exponential(values, out=tile)),
        "multiply": best_seconds(lambda: out.addmm_(values, v)),
    }
    seconds = {name: s / (p * q) for name, s in parts.items()}
    return {**seconds, "pairs": 1.0 / sum(seconds.values())}
