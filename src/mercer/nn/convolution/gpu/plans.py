"""Which tile a length takes, and the matrices of its transform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from mercer.nn.convolution.monarch import dft_matrix

__all__ = ["DTYPES", "TilePlan", "device_plan", "kernel_spectrum", "matrices", "outer_matrix", "quarter", "tile_plan"]

DTYPES = (torch.bfloat16, torch.float16, torch.float32)


@dataclass(frozen=True)
class TilePlan:
    """A transform of ``length = outer n1 n2``; one program of ``warps`` warps takes a tile of ``n1 x n2`` on chip.

    With ``outer = 1`` the tile is the sequence; else it is a row of the outer product
    (:mod:`mercer.nn.convolution.gpu.row_kernels`). Tensor cores multiply matrices from 16 on. ``entry_bytes`` of shared
    memory an entry of the tile are what sequences of bfloat16, float16 and float32 took, the largest of all kernels,
    when Triton 3.8 compiled them for capability 9.0; ``row_bytes`` the same of the kernels of rows, whose entries are
    complex, so that the largest tile is none.
    """

    n1: int
    n2: int
    warps: int
    entry_bytes: tuple[int, int, int]
    row_bytes: tuple[int, int, int] | None = None
    outer: int = 1

    @property
    def tile(self) -> int:
        """Entries of a tile."""
        return self.n1 * self.n2

    @property
    def length(self) -> int:
        """The longest sequence."""
        return self.outer * self.tile

    def shared(self, dtype: torch.dtype) -> int:
        """The bytes of shared memory that sequences of ``dtype`` take."""
        found = self.entry_bytes if self.outer == 1 else self.row_bytes
        assert found is not None, "tile_plan makes no rows of such a tile"
        return found[DTYPES.index(dtype)] * self.tile


PLANS = (
    TilePlan(16, 16, 4, (16, 28, 52), (16, 40, 52)),
    TilePlan(32, 16, 4, (22, 44, 80), (22, 60, 80)),
    TilePlan(32, 32, 4, (16, 32, 56), (16, 40, 56)),
    TilePlan(64, 32, 8, (16, 44, 80), (16, 46, 90)),
    TilePlan(64, 64, 8, (12, 32, 56), (13, 33, 65)),
    TilePlan(128, 64, 8, (14, 44, 80)),
)
OUTER = (16, 1024)  # what tensor cores multiply; and where outer products take more time than moving what they read


def tile_plan(length: int, dtype: torch.dtype, shared_memory: int | None = None) -> TilePlan | None:
    """The plan of a sequence of ``length``: one tile where that fits, else the fewest and longest rows; None beyond.

    Args:
        length: of the sequence, which is filled up with zeros.
        dtype: of the sequence.
        shared_memory: bytes that a program of the device may have; None is any number.

    >>> plan = tile_plan(1000, torch.bfloat16)
    >>> plan.n1, plan.n2, plan.outer
    (32, 32, 1)
    >>> plan = tile_plan(100_000, torch.bfloat16)
    >>> plan.n1, plan.n2, plan.outer, plan.length
    (64, 64, 32, 131072)
    """

    def fits(plan: TilePlan) -> bool:
        return shared_memory is None or plan.shared(dtype) <= shared_memory

    whole = next((plan for plan in PLANS if plan.length >= length), None)
    if whole is not None and fits(whole):
        return whole
    smallest, largest = OUTER
    split = [
        replace(tile, outer=max(smallest, 1 << (-(-length // tile.tile) - 1).bit_length()))
        for tile in PLANS
        if tile.row_bytes is not None
    ]
    fitting = [plan for plan in split if plan.outer <= largest and fits(plan)]
    return min(fitting, key=lambda plan: (plan.length, plan.outer), default=None)


def device_plan(length: int, dtype: torch.dtype, device: torch.device) -> TilePlan | None:
    """:func:`tile_plan` with the shared memory of a CUDA device, or with any number elsewhere."""
    if device.type != "cuda":
        return tile_plan(length, dtype)
    chip = torch.cuda.get_device_properties(device)
    # What a program may ask for; torch does not declare it, and had not always.
    shared = int(getattr(chip, "shared_memory_per_block_optin", chip.shared_memory_per_block))
    return tile_plan(length, dtype, shared)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept may be saved for a backward pass later
def matrices(plan: TilePlan, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """F1 ``(outer, 2, n1, n1)``, F2 ``(2, n2, n2)`` and T ``(outer, 2, n1, n2)`` of the kernels, in real planes.

    Row g's transform is taken at the frequencies f + (g - 1/4) / outer. T is float32, the others ``dtype``.
    """
    shift = (torch.arange(plan.outer, dtype=torch.float64) - 0.25) / plan.outer
    F1 = _waves(plan.n1, plan.n1, plan.n1, shift)
    T = _waves(plan.n1, plan.n2, plan.tile, shift)
    F2 = dft_matrix(plan.n2, torch.complex128, torch.device("cpu"))
    return _planes(F1).to(device, dtype), _planes(F2).to(device, dtype), _planes(T).to(device, torch.float32)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept may be saved for a backward pass later
def outer_matrix(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """F of :mod:`mercer.nn.convolution.gpu.row_kernels`, ``(2, size, size)``."""
    return _planes(_waves(size, size, size, torch.tensor(-0.25, dtype=torch.float64))).to(device, dtype)


def _waves(rows: int, columns: int, period: int, shift: Tensor) -> Tensor:
    """``exp(-2 pi i (f + shift) t / period)`` for rows f and columns t, from angles in float64; a matrix a shift."""
    f, t = torch.arange(rows, dtype=torch.float64), torch.arange(columns, dtype=torch.float64)
    angle = -2.0 * torch.pi / period * (f + shift.unsqueeze(-1)).unsqueeze(-1) * t
    return torch.polar(torch.ones_like(angle), angle)


def _planes(z: Tensor) -> Tensor:
    return torch.stack([z.real, z.imag], -3)


def kernel_spectrum(k: Tensor, length: int, *, causal: bool, plan: TilePlan) -> Tensor:
    """The transform of kernels ``(..., K)`` over N, ``(..., outer, 2, n1, n2)`` float32, for sequences of ``length``.

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
    # The frequency g + outer (f1 + n1 f2) stands in row g at (f1, f2).
    return _planes(S.unflatten(-1, (plan.n2, plan.n1, plan.outer)).transpose(-1, -3)).contiguous()


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept may be saved for a backward pass later
def quarter(N: int, device: torch.device) -> Tensor:
    """The factors that move a transform's frequencies by 1/4."""
    angle = torch.pi / (2.0 * N) * torch.arange(N, dtype=torch.float64)
    return torch.polar(torch.ones_like(angle), angle).to(device, torch.complex64)
