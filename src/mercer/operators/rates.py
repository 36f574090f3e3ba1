"""What this machine does in a second: the numbers behind the planner's predictions."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rates:
    """Operations a second in float32 with all threads; float64 costs ``double_cost`` times as much.

    Defaults: measured on 2 cores with AVX-512 (benchmarks/tiles.py). ``memory`` is bytes a second.
    """

    gemm_flops: float = 2.0e11
    exponentials: float = 6.0e9
    elementwise: float = 2.0e10
    special: float = 2.0e7
    memory: float = 8.0e9
    cholesky_flops: float = 8.0e10
    double_cost: float = 2.8
    call: float = 3.0e-6

    @property
    def cores(self) -> int:
        """Threads the rates were measured with."""
        return 2


def rates() -> Rates:
    """The rates of this machine, scaled by its threads."""
    table = Rates()
    factor = max(1, torch.get_num_threads()) / table.cores
    return Rates(
        gemm_flops=table.gemm_flops * factor,
        exponentials=table.exponentials * factor,
        elementwise=table.elementwise * factor,
        special=table.special,
        memory=table.memory,
        cholesky_flops=table.cholesky_flops * factor,
    )


def exp2_is_faster(like: Tensor) -> bool:
    """Whether exp2 beats exp here: torch's exp goes through MKL, 3x slower than exp2 on AMD, faster on Intel."""
    return _exp2_is_faster(like.dtype) if like.device.type == "cpu" else True


@lru_cache(maxsize=8)
def _exp2_is_faster(dtype: torch.dtype) -> bool:
    x = torch.linspace(-20.0, 0.0, 1 << 15, dtype=dtype)
    out = torch.empty_like(x)
    best = {}
    for name, function in (("exp", torch.exp), ("exp2", torch.exp2)):
        times = []
        for _ in range(6):  # the first calls warm up; the least is what the machine can do
            start = time.perf_counter()
            function(x, out=out)
            times.append(time.perf_counter() - start)
        best[name] = min(times)
    return best["exp2"] < best["exp"]
