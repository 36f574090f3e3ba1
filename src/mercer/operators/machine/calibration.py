"""One second of measuring: what this machine does, kept in a file for the planner."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mercer.config import cache_bytes, data_dir
from mercer.operators.machine import parallel
from mercer.operators.machine.machine_rates import Rates
from mercer.operators.machine.tile_shape import tile_shape
from mercer.store import write_atomic

__all__ = ["calibrate", "calibration_path", "load"]

VERSION = 3
_REPEATS = 5
_INNER = (4, 68)  # inner sizes of two GEMMs, whose difference is what a multiply-add costs


def calibration_path() -> Path:
    """Where :func:`calibrate` keeps its result."""
    return data_dir() / "calibration.json"


def calibrate(*, save: bool = True) -> Rates:
    """Measure the rates of this machine, in about a second, and keep them for every later prediction.

    Leave the machine alone meanwhile: each rate is the best of several short runs on all threads at once. A file of
    another version of mercer or torch, or of another machine, is not used.

    Args:
        save: False measures only.

    Raises:
        OSError: the file cannot be written.
    """
    found = _measure()
    if save:
        kept = _kept()
        kept["rates"][str(found.threads)] = found.as_dict()
        calibration_path().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(calibration_path(), json.dumps(kept, indent=1))
        load.cache_clear()
    return found


@lru_cache(maxsize=8)
def load(threads: int) -> Rates | None:
    """The rates that were measured on this machine with so many threads; None if there are none."""
    found = _kept()["rates"].get(str(threads))
    try:
        return None if found is None else Rates(**found)
    except TypeError:
        return None


def _kept() -> dict[str, Any]:
    """What the file holds, if it is of this machine and these versions; else an empty one."""
    empty = {"version": VERSION, "machine": _machine(), "rates": {}}
    try:
        kept = json.loads(calibration_path().read_text())
        same = kept["version"] == VERSION and kept["machine"] == _machine() and isinstance(kept["rates"], dict)
    except (OSError, ValueError, KeyError, TypeError):
        return empty
    return kept if same else empty


def _machine() -> dict[str, Any]:
    return {"processor": _processor(), "cache_bytes": cache_bytes(), "torch": torch.__version__}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "model\t", "stepping"))]
    return " ".join(names[:3]) or platform.processor()


_CHOLESKY_SHARE = 0.56  # of a GEMM's rate, which our panels reach at n = 8000: 35 of 63 GFLOP/s


def _measure() -> Rates:
    threads = parallel.n_workers()
    single, double = (_tile_rates(dtype) for dtype in (torch.float32, torch.float64))
    pair = {dtype: sum(1.0 / rate for rate in rates.values()) for dtype, rates in (("s", single), ("d", double))}
    return Rates(
        **single,
        special=_bessel_rate(),
        memory=_memory_rate(),
        new_memory=_new_memory_rate(),
        cholesky_flops=_cholesky_rate(),
        fft_flops=_fft_rate(threads),
        double_cost=pair["d"] / pair["s"],
        call=_call_seconds(),
        threads=threads,
    )


def _tile_rates(dtype: torch.dtype) -> dict[str, float]:
    """The parts of a tile of a kernel product, each worker on a tile of its own."""
    shape = tile_shape(2, torch.empty(0, dtype=dtype))
    entries = math.prod(shape)

    def tile() -> Tensor:
        return torch.full(shape, -1.5, dtype=dtype)

    narrow, wide = (_seconds(partial(_gemm, tile(), inner)) for inner in _INNER)
    flop = max(1e-15, (wide - narrow) / (2.0 * (_INNER[1] - _INNER[0]) * entries))
    store = max(0.2 * narrow / entries, narrow / entries - 2.0 * _INNER[0] * flop)
    exponential = min(_seconds(partial(_map, tile(), function)) for function in (torch.exp, torch.exp2))
    elementwise = _seconds(partial(_multiply, tile()))
    matvec = _seconds(partial(_matvec, tile()))
    workers = parallel.n_workers()
    return {
        "gemm_flops": workers / flop,
        "tile_stores": workers / store,
        "exponentials": workers * entries / exponential,
        "elementwise": workers * entries / elementwise,
        "matvec": workers * entries / matvec,
    }


def _gemm(tile: Tensor, inner: int) -> Callable[[], Any]:
    rows, columns = tile.shape
    left, right = torch.ones(rows, inner, dtype=tile.dtype), torch.ones(columns, inner, dtype=tile.dtype)
    return lambda: torch.mm(left, right.mT, out=tile)


def _map(tile: Tensor, function: Callable[..., Tensor]) -> Callable[[], Any]:
    out = torch.empty_like(tile)
    return lambda: function(tile, out=out)


def _multiply(tile: Tensor) -> Callable[[], Any]:
    other, out = tile.clone(), torch.empty_like(tile)
    return lambda: torch.mul(tile, other, out=out)


def _matvec(tile: Tensor) -> Callable[[], Any]:
    rows, columns = tile.shape
    v, out = torch.ones(1, columns, dtype=tile.dtype), torch.zeros(1, rows, dtype=tile.dtype)
    return lambda: out.addmm_(v, tile.mT, beta=0.0)


def _seconds(make: Callable[[], Callable[[], Any]], *, least: float = 2e-3) -> float:
    """Seconds of one call while all workers make it at once: the median over the workers of each one's best."""

    def work(worker: int, check: Callable[[], None]) -> float:
        return best_seconds(make(), least=least)

    found = parallel.run(work, parallel.n_workers())
    return sorted(found)[len(found) // 2]


def best_seconds(call: Callable[[], Any], *, least: float = 2e-3, repeats: int = _REPEATS) -> float:
    """The least time of one call, over a few runs that take ``least`` seconds or more."""
    call()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < least:
        call()
        count += 1
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(count):
            call()
        times.append((time.perf_counter() - start) / count)
    return min(times)


def _bessel_rate() -> float:
    from scipy.special import kv

    x = torch.linspace(0.1, 5.0, 2000, dtype=torch.float64).numpy()
    return float(len(x) / best_seconds(lambda: kv(1.2, x), repeats=3))


def _new_memory_rate() -> float:
    size = 1 << 26  # bytes; malloc takes so many from the system each time
    return size / best_seconds(lambda: torch.ones(size, dtype=torch.uint8), least=1e-2, repeats=3)


def _memory_rate() -> float:
    source = torch.zeros(1 << 24)  # beyond a third-level cache
    out = torch.zeros_like(source)
    return 2.0 * source.numel() * 4 / best_seconds(lambda: out.copy_(source), least=1e-2, repeats=3)


def _cholesky_rate() -> float:
    """From a GEMM: at sizes where it decides something, a factorisation itself would take seconds."""
    n = 1024
    A = torch.ones(n, n, dtype=torch.float64)
    return _CHOLESKY_SHARE * 2.0 * n**3 / best_seconds(lambda: A @ A, least=1e-2, repeats=3)


def _fft_rate(threads: int) -> float:
    n = 1 << 14
    x = torch.ones(threads, n, dtype=torch.complex64)
    return 5.0 * threads * n * math.log2(n) / best_seconds(lambda: torch.fft.fft(x), repeats=3)


def _call_seconds() -> float:
    x = torch.zeros(1)
    return best_seconds(lambda: x.neg_())
