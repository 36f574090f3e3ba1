"""What the fused kernel computes, by torch's transforms: for second derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from mercer.nn.convolution.gpu.plans import TilePlan, quarter

__all__ = ["by_spectrum"]


def by_spectrum(
    u: Tensor, S: Tensor, D: Tensor | None, gate_in: Tensor | None, gate_out: Tensor | None, *, plan: TilePlan
) -> Tensor:
    """``(B, R, L)`` of u and gates ``(B, H, L)``, spectra ``(R, outer, 2, n1, n2)`` and skips ``(R,)``."""
    L, C = u.shape[-1], S.shape[0] // u.shape[1]
    x = (u.float() if gate_in is None else u.float() * gate_in.float()).repeat(1, C, 1)
    w = quarter(plan.length, u.device)
    X = torch.fft.fft(torch.nn.functional.pad(x, (0, plan.length - L)) * w)
    spectrum = torch.complex(S[:, :, 0], S[:, :, 1]).permute(0, 3, 2, 1).flatten(1)  # by frequency
    y: Tensor = (torch.fft.ifft(X * spectrum * plan.length) * w.conj()).real[..., :L]
    if D is not None:
        y = y + D.float()[:, None] * x
    if gate_out is not None:
        y = y * gate_out.float().repeat(1, C, 1)
    return y.to(u.dtype)
