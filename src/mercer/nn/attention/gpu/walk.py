"""One walk over the chunks of causal linear attention, in two Triton kernels."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from mercer.nn.attention.chunked import Span
from mercer.operators.gpu.device import why_no_triton
from mercer.operators.watchers import why_no_kernel

__all__ = ["fused_walk", "why_not_fused"]

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
LARGEST_CHUNK = LARGEST_BLOCK = 64  # rows of a chunk, and columns of a product: of its sums, registers hold so many
SMALLEST = 16  # that a tensor core multiplies


def why_not_fused(q: Tensor, k: Tensor, v: Tensor, state: Tensor | None = None) -> str | None:
    """None if the fused form of :func:`mercer.nn.functional.linear_attention` runs on these, else the reason."""
    return why_no_triton(q.device) or why_not_these(q, k, v, state)


def why_not_these(q: Tensor, k: Tensor, v: Tensor, state: Tensor | None) -> str | None:
    """The reason that lies in the types, or in who watches; None if there is none."""
    if q.dtype not in DTYPES or not q.dtype == k.dtype == v.dtype:
        return f"q, k and v must all be float32, bfloat16 or float16, not {q.dtype}, {k.dtype} and {v.dtype}"
    if state is not None and state.dtype != torch.float32:
        return f"the state must be float32, not {state.dtype}"
    if any(x is not None and x.device != q.device for x in (k, v, state)):
        return "q, k, v and the state are on several devices"
    return why_no_kernel()


def fused_walk(span: Span, *, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """``(N, n, t)`` and ``(N, e, t)`` in float32: outputs and the last state.

    Args:
        span: the rows; of its chunk the next power of two from 16 to 64 is taken.
        kind: the type of the caller's tensors, which products keep also where a gradient comes in float32: bfloat16
            has bfloat16 operands; float16 those of TF32, which has as many digits and does not overflow; float32
            takes three products of TF32.

    States take ``n / chunk`` times ``e t`` float32 numbers while it runs; nothing is added atomically.
    """
    from triton.language import bfloat16, float32

    from mercer.nn.attention.gpu import kernels

    q, k, v, state, decay, chunk, reverse = span
    (N, n, e), t = q.shape, v.shape[-1]
    C = min(LARGEST_CHUNK, _power_of_two(chunk))
    BE, BT = (min(LARGEST_BLOCK, _power_of_two(size)) for size in (e, t))
    out = torch.empty(N, n, t, dtype=torch.float32, device=q.device)
    if out.numel() == 0 or e == 0:
        out.zero_()
        return out, q.new_zeros(N, e, t, dtype=torch.float32) if state is None else state.float().clone()
    chunks = -(-n // C)
    states = torch.empty(N, chunks, e, t, dtype=torch.float32, device=q.device)
    last = torch.empty(N, e, t, dtype=torch.float32, device=q.device)
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    start = last if state is None else state.contiguous()  # what is not there is not read
    log = last if decay is None else decay.double().log2().float().contiguous()
    half = kind == torch.bfloat16
    options = {
        "HAS_DECAY": decay is not None,
        "REVERSE": reverse,
        "C": C,
        "BE": BE,
        "BT": BT,
        "ROUNDED": bfloat16 if half else float32,
        "OPERAND": bfloat16 if half and q.device.type == "cuda" else float32,
        "PRECISION": "tf32x3" if kind == torch.float32 else "tf32",
        "num_warps": 4,
        "num_stages": 2,
    }
    with torch.cuda.device(q.device) if q.device.type == "cuda" else nullcontext():
        kernels.chunk_states[(N, -(-e // BE), -(-t // BT))](
            k, v, start, log, states, last, n, e, t, chunks, HAS_START=state is not None, **options
        )
        kernels.chunk_outputs[(N, chunks, -(-t // BT))](q, k, v, log, states, out, n, e, t, chunks, **options)
    return out, last


def _power_of_two(size: int) -> int:
    """The next one that is not smaller, 16 at least."""
    return max(SMALLEST, 1 << (max(size, 1) - 1).bit_length())
