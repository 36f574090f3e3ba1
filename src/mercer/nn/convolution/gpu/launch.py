"""What every launch of a convolution's kernels needs: how programs share the batch, and in what types they multiply."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer.nn.convolution.gpu.plans import TilePlan

__all__ = ["options", "over_heads", "per_program"]

PROGRAMS_A_MULTIPROCESSOR = 4  # so that the last ones to run leave few multiprocessors idle


def options(u: Tensor, plan: TilePlan) -> dict[str, Any]:
    """Types and precision of the products of sequences as u; needs triton."""
    from triton.language import bfloat16, float32

    half = u.dtype == torch.bfloat16
    return {
        "ROUNDED": bfloat16 if half else float32,
        "OPERAND": bfloat16 if half and u.device.type == "cuda" else float32,
        "PRECISION": "tf32x3" if u.dtype == torch.float32 else "tf32",
        "num_warps": plan.warps,
        "num_stages": 1,
    }


def per_program(u: Tensor, R: int, sequences: int | None) -> int:
    """Sequences ``(B, H, L)`` that a program takes one after the other, so that R kernels fill the device."""
    if sequences is not None:
        return sequences
    if u.device.type != "cuda":
        return u.shape[0]
    wanted = PROGRAMS_A_MULTIPROCESSOR * torch.cuda.get_device_properties(u.device).multi_processor_count
    return max(1, u.shape[0] * R // wanted)


def over_heads(x: Tensor | None, like: Tensor | None) -> Tensor | None:
    """A gradient ``(B, C H, L)`` summed over heads, in the shape and type of ``like``."""
    if x is None or like is None:
        return None
    H = like.shape[1]
    return (x if x.shape[1] == H else x.unflatten(1, (-1, H)).sum(1)).to(like.dtype)
