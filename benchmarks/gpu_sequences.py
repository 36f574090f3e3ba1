"""Long convolutions and linear attention on a GPU (targets P7 and P9, cards 33 and 06); part of ``benchmarks.gpu``.

Not measured yet, as everything there. Convolutions: gated, with skip, against torch.fft with the same gates, and
flash-fft-conv where it can be imported; the aim is twice torch.fft's speed. Attention: against torch's softmax
attention of the same shapes and fla's linear attention where it can be imported. Each forward, and forward with
backward; turns alternate, and the first peer takes two, so that its ratio to itself tells what noise makes of 1.0.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mercer.nn.convolution.gpu import why_not_fused
from mercer.nn.functional import linear_attention, long_conv

LENGTHS = (256, 1024, 2048, 4096)  # beyond, long_conv takes torch.fft itself
BATCH, CHANNELS = 64, 768  # those of flash-fft-conv's README
ROWS = (512, 2048, 8192, 32_768, 131_072)
HEADS, HEAD_SIZE = 8, 64
ROUNDS = 11

Call = Callable[..., Tensor]


def by_transform(u: Tensor, k: Tensor, skip: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The gated convolution by torch.fft, which has no bfloat16."""
    L = u.shape[-1]
    x = u.float() * before.float()
    y = torch.fft.irfft(torch.fft.rfft(x, 2 * L) * torch.fft.rfft(k, 2 * L), 2 * L)[..., :L]
    return ((y + skip[:, None] * x) * after.float()).to(u.dtype)


def by_mercer(u: Tensor, k: Tensor, skip: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The same in one kernel."""
    return long_conv(u, k, skip=skip, gate_in=before, gate_out=after, layout="bhl", plan="monarch")


def flash_convolution(length: int, dtype: torch.dtype) -> Call | None:
    """flash-fft-conv, which has no skip, for half types."""
    try:
        from flashfftconv import FlashFFTConv
    except ImportError:
        print("flash-fft-conv: not installed")
        return None
    if dtype == torch.float32:
        return None
    flash = FlashFFTConv(2 * length, dtype=dtype).cuda()
    return lambda u, k, skip, before, after: flash(u, k, before, after)


def fla_attention() -> Call | None:
    """fla's linear attention, whose time axis stands before the heads."""
    try:
        from fla.ops.linear_attn import chunk_linear_attn
    except ImportError:
        print("fla: not installed")
        return None

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, _ = chunk_linear_attn(*(x.transpose(1, 2) for x in (q, k, v)), scale=1.0, normalize=False)
        return out.transpose(1, 2)

    return call


def both_ways(call: Call, grad: Tensor, *tensors: Tensor) -> None:
    """Forward and backward."""
    leaves = [x.detach().requires_grad_() for x in tensors]
    call(*leaves).backward(grad)


def alternated(calls: dict[str, Callable[[], Any]]) -> dict[str, dict[str, float]]:
    """Median seconds, half of the spread and peak bytes beyond what was there, after one call that compiles."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    peaks = {}
    for name, call in calls.items():
        call()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        peaks[name] = torch.cuda.max_memory_allocated() - held
    for _ in range(ROUNDS):
        for name, call in calls.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            call()
            torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {
        name: {
            "seconds": statistics.median(found),
            "spread": (max(found) - min(found)) / 2.0,
            "peak_bytes": float(peaks[name]),
        }
        for name, found in times.items()
    }


def rows_of(calls: dict[str, Call], grad: Tensor, tensors: list[Tensor], **facts: Any) -> list[dict[str, Any]]:
    """A row for each pass, with all who take part."""
    found = []
    for way in ("forward", "forward and backward"):
        with torch.set_grad_enabled(way != "forward"):
            bound = {
                name: partial(call, *tensors) if way == "forward" else partial(both_ways, call, grad, *tensors)
                for name, call in calls.items()
            }
            found.append({**facts, "pass": way, "who": alternated(bound)})
        print(json.dumps(found[-1]))
    return found


def convolutions() -> list[dict[str, Any]]:
    """Every length and type; errors are those of one channel against torch.fft in float64."""
    rows = []
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        for length in LENGTHS:
            u, before, after, grad = (torch.randn(BATCH, CHANNELS, length, device="cuda").to(dtype) for _ in range(4))
            k, skip = torch.randn(CHANNELS, length, device="cuda") / length**0.5, torch.randn(CHANNELS, device="cuda")
            tensors = [u, k, skip, before, after]
            reason = why_not_fused(u, k, (before, after, skip), length=length)
            if reason is not None:
                print(f"length {length}, {dtype}: {reason}")
                continue
            calls: dict[str, Call] = {"mercer": by_mercer, "torch.fft": by_transform, "torch.fft again": by_transform}
            flash = flash_convolution(length, dtype)
            if flash is not None:
                calls["flash-fft-conv"] = flash
            one = [u[:1, :1], k[:1], skip[:1], before[:1, :1], after[:1, :1]]
            expected = definition(*one)
            error = {
                name: float((calls[name](*one).double() - expected).norm() / expected.norm())
                for name in ("mercer", "torch.fft")
            }
            facts = {"case": "convolution", "length": length, "dtype": str(dtype), "error": error}
            rows += rows_of(calls, grad, tensors, batch=BATCH, channels=CHANNELS, **facts)
    return rows


def definition(u: Tensor, k: Tensor, skip: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The gated convolution in float64."""
    L, x = u.shape[-1], u.double() * before.double()
    y = torch.fft.irfft(torch.fft.rfft(x, 2 * L) * torch.fft.rfft(k.double(), 2 * L), 2 * L)[..., :L]
    return (y + skip.double()[:, None] * x) * after.double()


def attentions() -> list[dict[str, Any]]:
    """Every length and type; the error is that of one head against the definition in float64, up to 8 192 rows."""
    rows = []
    fla = fla_attention()
    for dtype in (torch.bfloat16, torch.float32):
        for n in ROWS:
            q, k, v, grad = (torch.randn(1, HEADS, n, HEAD_SIZE, device="cuda").to(dtype) for _ in range(4))
            softmax = partial(functional.scaled_dot_product_attention, is_causal=True)
            calls: dict[str, Call] = {"mercer": linear_attention, "torch softmax": softmax}
            calls["torch softmax again"] = softmax
            if fla is not None:
                calls["fla"] = fla
            error = None
            if n <= 8192:
                one = [x[:, :1] for x in (q, k, v)]
                a, b, c = (x.double() for x in one)
                expected = (a @ b.mT).tril() @ c
                error = float((linear_attention(*one).double() - expected).norm() / expected.norm())
            facts = {"case": "linear attention", "length": n, "dtype": str(dtype), "error": error}
            rows += rows_of(calls, grad, [q, k, v], heads=HEADS, head_size=HEAD_SIZE, **facts)
    return rows


def run() -> list[dict[str, Any]]:
    """Every case as a row for JSON."""
    return [*convolutions(), *attentions()]
