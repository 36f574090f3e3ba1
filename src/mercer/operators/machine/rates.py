"""What this machine does in a second: the numbers behind the planner's predictions."""

from __future__ import annotations

import time
from functools import lru_cache

import torch
from torch import Tensor

from mercer.operators.machine.calibration import load
from mercer.operators.machine.machine_rates import Rates

__all__ = ["Rates", "exp2_is_faster", "rates"]


def rates() -> Rates:
    """The rates of this machine: as :func:`calibrate` measured them, else a typical machine's, scaled by threads."""
    threads = max(1, torch.get_num_threads())
    return load(threads) or Rates().with_threads(threads)


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
