"""Which tile a length takes, and the matrices of its transform."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mercer.nn.convolution.monarch import dft_matrix

__all__ = ["DTYPES", "TilePlan", "kernel_spectrum", "matrices", "quarter", "tile_plan"]

DTYPES = (torch.bfloat16, torch.float16, torch.float32)


@dataclass(frozen=True)
class TilePlan:
    """A transform of ``length = n1 n2`` in one program of ``warps`` warps; matrices have ``n1`` and ``n2`` rows.

    Tensor cores multiply matrices from 16 on. ``entry_bytes`` of shared memory an entry are what sequences of
    bfloat16, float16 and float32 took, the larger of both kernels, when Triton 3.8 compiled them for capability 9.0.
    """

    n1: int
    n2: int
    warps: int
    entry_bytes: tuple[int, int, int]

    @property
    def length(self) -> int:
        """The longest sequence."""
        return self.n1 * self.n2

    def shared(self, dtype: torch.dtype) -> int:
        """The bytes of shared memory that sequences of ``dtype`` take."""
        return self.entry_bytes[DTYPES.index(dtype)] * self.length


PLANS = (
    TilePlan(16, 16, 4, (16, 28, 52)),
    TilePlan(32, 16, 4, (22, 44, 80)),
    TilePlan(32, 32, 4, (16, 32, 56)),
    TilePlan(64, 32, 8, (16, 44, 80)),
    TilePlan(64, 64, 8, (12, 32, 56)),
    TilePlan(128, 64, 8, (14, 44, 80)),
)


def tile_plan(length: int, dtype: torch.dtype, shared_memory: int | None = None) -> TilePlan | None:
    """The shortest plan that holds ``length``; None if there is none, or if it needs more than ``shared_memory``.

    Args:
        length: of the sequence, which is filled up with zeros.
        dtype: of the sequence.
        shared_memory: bytes that a program of the device may have; None is any number.

    >>> plan = tile_plan(1000, torch.bfloat16)
    >>> plan.n1, plan.n2
    (32, 32)
    """
    plan = next((plan for plan in PLANS if plan.length >= length), None)
    if plan is None or (shared_memory is not None and plan.shared(dtype) > shared_memory):
        return None
    return plan


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept may be saved for a backward pass later
def matrices(n1: int, n2: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """F1, F2 and T of :mod:`mercer.nn.convolution.gpu.kernels`: real planes; T is float32, the others ``dtype``."""
    F1 = _waves(n1, n1, n1)
    T = _waves(n1, n2, n1 * n2)
    F2 = dft_matrix(n2, torch.complex128, torch.device("cpu"))
    return _planes(F1).to(device, dtype), _planes(F2).to(device, dtype), _planes(T).to(device, torch.float32)


def _waves(rows: int, columns: int, period: int) -> Tensor:
    """``exp(-2 pi i (f - 1/4) t / period)`` for rows f and columns t, from angles in float64."""
    f, t = torch.arange(rows, dtype=torch.float64) - 0.25, torch.arange(columns, dtype=torch.float64)
    angle = -2.0 * torch.pi / period * f[:, None] * t
    return torch.polar(torch.ones_like(angle), angle)


def _planes(z: Tensor) -> Tensor:
    return torch.stack([z.real, z.imag], -3)


def kernel_spectrum(k: Tensor, length: int, *, causal: bool, plan: TilePlan) -> Tensor:
    """The transform of kernels ``(..., K)`` over N, ``(..., 2, n1, n2)`` float32, for sequences of ``length``.

    Taps are as :func:`mercer.nn.functional.long_conv` takes them. A negative lag -j stands at N - j, multiplied by -i:
    that is what the transform at frequencies f - 1/4 makes of it. Differentiable any number of times.
    """
    N, K = plan.length, k.shape[-1]
    k = k.float()
    ahead, behind = (min(K, length), 0) if causal else (min(K // 2, length), min(K // 2, length - 1))
    ring = torch.nn.functional.pad(k[..., :ahead], (0, N - ahead)).to(torch.complex64)
    if behind:
        ring = ring - 1j * torch.nn.functional.pad(k[..., K - behind :], (N - behind, 0))
    S = torch.fft.fft(ring * quarter(N, k.device)) / N
    return _planes(S.unflatten(-1, (plan.n2, plan.n1)).mT).contiguous()


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept may be saved for a backward pass later
def quarter(N: int, device: torch.device) -> Tensor:
    """The factors that move a transform's frequencies by 1/4."""
    angle = torch.pi / (2.0 * N) * torch.arange(N, dtype=torch.float64)
    return torch.polar(torch.ones_like(angle), angle).to(device, torch.complex64)
