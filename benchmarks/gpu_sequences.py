"""Long convolutions and linear attention on a GPU (P7, P9, P12): ``PYTHONPATH=src python -m benchmarks.gpu_sequences``.

Not measured yet: mercer's own machine has no GPU, and no number of this script stands anywhere in the docs. It takes
minutes there, begins with what matters most, starts nothing after ``--minutes``, and writes after every row, so that
what a lent GPU has measured is kept. ``--tiny`` runs every line on a CPU, with the plans of a CPU: to see that the
script works.

Convolutions: gated, with skip, against torch.fft with the same gates, and flash-fft-conv where it can be imported; the
aim is twice torch.fft's speed. Attention: against torch's softmax attention of the same shapes, and fla's linear
attention where it can be imported. Each forward, and forward with backward. Turns alternate, and the first peer takes
two, so that its ratio to itself tells what noise makes of 1.0. The limit is the larger of two times: the bytes that
have to move over the rate of a large copy, and the operations of our plan over the rate of a large matrix product, both
measured first. Errors are those of one channel or head against float64.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mercer.nn.convolution.gpu import device_plan, why_not_fused
from mercer.nn.functional import linear_attention, long_conv
from mercer.store import write_atomic

RESULTS = Path(__file__).parent / "results" / "gpu_sequences.json"
SECONDS_A_CASE = 2.0  # of timing; at least three rounds
CHUNK = 64

Call = Callable[..., Tensor]
Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """What is measured. Batch and channels are those of flash-fft-conv's README, up to ``largest_signal`` entries."""

    device: str = "cuda"
    dtypes: tuple[torch.dtype, ...] = (torch.bfloat16, torch.float32, torch.float16)
    lengths: tuple[int, ...] = (4096, 1024, 16_384, 131_072, 8192, 32_768, 1_048_576, 256, 2048, 65_536)
    batch: int = 64
    channels: int = 768
    rows: tuple[int, ...] = (8192, 2048, 512, 32_768, 131_072)
    heads: int = 8
    head_size: int = 64
    rounds: int = 11
    largest: int = 8192  # of copy and matrix product, by side
    largest_signal: int = 1 << 28  # entries: half a gigabyte in bfloat16, where spectra in float32 take two a batch


TINY = Sizes("cpu", lengths=(20, 8200), batch=2, channels=2, rows=(70,), heads=2, head_size=4, rounds=3, largest=64)


def main() -> None:
    """Measure and write, or say why not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_sequences", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="after which no case is started")
    parser.add_argument("--tiny", action="store_true", help="the script alone, on a CPU; nothing is written")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file that is written")
    arguments = parser.parse_args()
    if not (arguments.tiny or torch.cuda.is_available()):
        print("benchmarks.gpu_sequences: this machine has no CUDA device, so there is nothing to measure.")
        return
    torch.manual_seed(0)
    run(TINY if arguments.tiny else Sizes(), minutes=arguments.minutes, out=None if arguments.tiny else arguments.out)


def run(sizes: Sizes | None = None, *, minutes: float = 8.0, out: Path | None = None) -> list[Row]:
    """Every case as a row for JSON, written to ``out`` after each."""
    sizes = Sizes() if sizes is None else sizes
    until = time.monotonic() + 60.0 * minutes
    rows = [ceilings(sizes)]
    for case in [*convolutions(sizes, rows[0]), *attentions(sizes, rows[0])]:
        if time.monotonic() > until:
            print("the minutes are over: what comes after was not measured")
            break
        for row in case():
            print(json.dumps(row))
            rows.append(row)
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(out, json.dumps(rows, indent=1))
        if sizes.device == "cuda":
            torch.cuda.empty_cache()
    return rows


def ceilings(sizes: Sizes) -> Row:
    """Bytes a second of a copy, counted both ways, and operations a second of matrix products by type."""
    n, found = sizes.largest, {}
    for dtype in (torch.bfloat16, torch.float32):
        torch.backends.cuda.matmul.allow_tf32 = True  # float32 and float16 take TF32 products of ours
        a, b = (torch.randn(n, n, device=sizes.device).to(dtype) for _ in range(2))
        found[str(dtype)] = 2.0 * n**3 / alternated({"product": partial(torch.mm, a, b)}, sizes)["product"]["seconds"]
        torch.backends.cuda.matmul.allow_tf32 = False
    source = torch.randn(4 * n, n, device=sizes.device)
    seconds = alternated({"copy": partial(torch.empty_like(source).copy_, source)}, sizes)["copy"]["seconds"]
    versions: Row = {"torch": torch.__version__, "device": "cpu"}
    if sizes.device == "cuda":
        import triton

        versions |= {"triton": triton.__version__, "device": torch.cuda.get_device_name(0)}
    copied = 2.0 * source.numel() * source.element_size() / seconds
    return {"case": "ceilings", "bytes_per_second": copied, "flops_per_second": found, "versions": versions}


def limit(top: Row, dtype: torch.dtype, *, moved: float, flops: float) -> float:
    """The least seconds for bytes and operations; float32 takes three TF32 products for one."""
    rate = top["flops_per_second"][str(torch.bfloat16 if dtype == torch.bfloat16 else torch.float32)]
    products = 3.0 if dtype == torch.float32 else 1.0
    return max(moved * dtype.itemsize / top["bytes_per_second"], products * flops / rate)


def convolutions(sizes: Sizes, top: Row) -> Iterator[Callable[[], list[Row]]]:
    """A case for every type and length."""
    for dtype in sizes.dtypes:
        for length in sizes.lengths:
            yield partial(convolution, sizes, top, dtype, length)


def convolution(sizes: Sizes, top: Row, dtype: torch.dtype, length: int) -> list[Row]:
    """Both passes of a gated convolution."""
    channels = min(sizes.channels, max(1, sizes.largest_signal // length))
    batch = min(sizes.batch, max(1, sizes.largest_signal // (length * channels)))
    shape = batch, channels, length
    u, before, after, grad = (torch.randn(shape, device=sizes.device).to(dtype) for _ in range(4))
    k = torch.randn(channels, length, device=sizes.device) / length**0.5
    skip = torch.randn(channels, device=sizes.device)
    reason = why_not_fused(u, k, (before, after, skip), length=length)
    if reason is not None and sizes.device == "cuda":
        return [{"case": "convolution", "length": length, "dtype": str(dtype), "not_fused": reason}]
    calls: dict[str, Call] = {"mercer": by_mercer, "torch.fft": by_transform, "torch.fft again": by_transform}
    if (flash := flash_convolution(length, dtype)) is not None:
        calls["flash-fft-conv"] = flash
    one = [u[:1, :1], k[:1], skip[:1], before[:1, :1], after[:1, :1]]
    expected = by_transform(*(x.double() for x in one))
    error = {name: relative(calls[name](*one), expected) for name in ("mercer", "torch.fft")}
    plan = device_plan(length, dtype, u.device)
    assert plan is not None
    # Twelve real products forwards, twice as many backwards, which form the spectrum and the result again. Rows are
    # complex and take sixteen, and four outer ones.
    sides = 4 * plan.n1 + 8 * plan.n2 if plan.outer == 1 else 8 * (plan.n1 + plan.n2) + 4 * plan.outer
    flops = 2.0 * batch * channels * plan.length * sides
    planes = 0.0 if plan.outer == 1 else 4.0 * u.numel()  # complex: written and read by the outer passes and the rows
    least = {
        "forward": limit(top, dtype, moved=4.0 * u.numel() + 2.0 * planes, flops=flops),
        "forward and backward": limit(top, dtype, moved=11.0 * u.numel() + 8.0 * planes, flops=3.0 * flops),
    }
    facts = {"case": "convolution", "length": length, "dtype": str(dtype), "error": error}
    facts |= {"batch": batch, "channels": channels, "rows": plan.outer, "tile": [plan.n1, plan.n2]}
    return both_passes(calls, grad, [u, k, skip, before, after], least, sizes, facts)


def by_transform(u: Tensor, k: Tensor, skip: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The gated convolution by torch.fft, which has no bfloat16."""
    L, wide = u.shape[-1], torch.promote_types(u.dtype, torch.float32)
    x = u.to(wide) * before.to(wide)
    y = torch.fft.irfft(torch.fft.rfft(x, 2 * L) * torch.fft.rfft(k.to(wide), 2 * L), 2 * L)[..., :L]
    return ((y + skip.to(wide)[:, None] * x) * after.to(wide)).to(u.dtype)


def by_mercer(u: Tensor, k: Tensor, skip: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The same in one kernel, or in three passes."""
    y: Tensor = long_conv(u, k, skip=skip, gate_in=before, gate_out=after, layout="bhl")
    return y


def flash_convolution(length: int, dtype: torch.dtype) -> Call | None:
    """flash-fft-conv, which has no skip, for half types."""
    if dtype == torch.float32:
        return None
    try:
        from flashfftconv import FlashFFTConv
    except ImportError:
        return None
    flash = FlashFFTConv(2 * length, dtype=dtype).cuda()
    return lambda u, k, skip, before, after: flash(u, k, before, after)


def attentions(sizes: Sizes, top: Row) -> Iterator[Callable[[], list[Row]]]:
    """A case for every type and length."""
    for dtype in sizes.dtypes[:2]:
        for n in sizes.rows:
            yield partial(attention, sizes, top, dtype, n)


def attention(sizes: Sizes, top: Row, dtype: torch.dtype, n: int) -> list[Row]:
    """Both passes of causal linear attention."""
    e = sizes.head_size
    q, k, v, grad = (torch.randn(1, sizes.heads, n, e, device=sizes.device).to(dtype) for _ in range(4))
    softmax = partial(functional.scaled_dot_product_attention, is_causal=True)
    calls: dict[str, Call] = {"mercer": linear_attention, "torch softmax": softmax, "torch softmax again": softmax}
    if (fla := fla_attention()) is not None:
        calls["fla"] = fla
    error = None
    if n <= 8192:  # the definition stores n x n scores
        a, b, c = (x[:, :1].double() for x in (q, k, v))
        error = relative(linear_attention(q[:, :1], k[:, :1], v[:, :1]), (a @ b.mT).tril() @ c)
    flops = 2.0 * sizes.heads * n * (2 * e * e + 2 * CHUNK * e)
    least = {
        "forward": limit(top, dtype, moved=4.0 * q.numel(), flops=flops),
        "forward and backward": limit(top, dtype, moved=11.0 * q.numel(), flops=4.0 * flops),
    }
    facts = {"case": "linear attention", "length": n, "dtype": str(dtype), "error": error}
    return both_passes(calls, grad, [q, k, v], least, sizes, facts | {"heads": sizes.heads, "head_size": e})


def fla_attention() -> Call | None:
    """fla's linear attention, whose time axis stands before the heads."""
    try:
        from fla.ops.linear_attn import chunk_linear_attn
    except ImportError:
        return None

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, _ = chunk_linear_attn(*(x.transpose(1, 2) for x in (q, k, v)), scale=1.0, normalize=False)
        turned: Tensor = out.transpose(1, 2)
        return turned

    return call


def relative(found: Tensor, expected: Tensor) -> float:
    """The normwise error."""
    return float((found.double() - expected).norm() / expected.norm())


def both_passes(
    calls: dict[str, Call], grad: Tensor, tensors: list[Tensor], least: dict[str, float], sizes: Sizes, facts: Row
) -> list[Row]:
    """A row for each pass: who took how long, and how far from the limit and how many times a peer's speed we are."""
    rows = []
    for way in least:
        with torch.set_grad_enabled(way != "forward"):
            bound = {
                name: partial(call, *tensors) if way == "forward" else partial(pulled, call, grad, *tensors)
                for name, call in calls.items()
            }
            who = alternated(bound, sizes)
        own = who["mercer"]["seconds"]
        ratios = {name: found["seconds"] / own for name, found in who.items()}
        rows.append(facts | {"pass": way, "fraction_of_limit": least[way] / own, "ratios": ratios, "who": who})
    return rows


def pulled(call: Call, grad: Tensor, *tensors: Tensor) -> None:
    """Forward and backward."""
    call(*(x.detach().requires_grad_() for x in tensors)).backward(grad)


def alternated(calls: dict[str, Callable[[], Any]], sizes: Sizes) -> dict[str, dict[str, float]]:
    """Median seconds, half of the spread and peak bytes beyond what was there, after one call that compiles."""
    slowest, peaks = 0.0, {}
    for name, call in calls.items():
        call()
        if sizes.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
        slowest = max(slowest, timed(call, sizes.device))
        peaks[name] = float(torch.cuda.max_memory_allocated() - held) if sizes.device == "cuda" else 0.0
    rounds = max(3, min(sizes.rounds, int(SECONDS_A_CASE / (slowest * len(calls)))))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(timed(call, sizes.device))
    return {
        name: {
            "seconds": statistics.median(found),
            "spread": (max(found) - min(found)) / 2.0,
            "peak_bytes": peaks[name],
        }
        for name, found in times.items()
    }


def timed(call: Callable[[], Any], device: str) -> float:
    """Seconds of one call, of the device where it has events."""
    if device != "cuda":
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) * 1e-3


if __name__ == "__main__":
    main()
