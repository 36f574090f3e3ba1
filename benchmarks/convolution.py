"""Causal convolutions of 128 channels with kernels as long as the signal, against torch.fft (target P7).

The kernel's spectrum is kept and the output is new on both sides. torch takes two turns, so that its ratio to itself
tells what the machine's noise makes of 1.0. Each turn has a spectrum of its own, as each layer has: one that two turns
share is in cache for the second, and its ratio to the third is 6 % off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mercer.operators import KernelSpectrum, convolve
from mercer.timing import compare

SIZES = (1024, 4096, 16_384, 65_536)
BATCHES = (1, 8, 16)
LARGEST = 1 << 26  # entries of u: beyond, 31 rounds take ten minutes and say what half of them said
CHANNELS = 128
ROUNDS = 31


def torch_convolution(u: Tensor, spectrum: Tensor) -> Tensor:
    """By torch.fft: pad, transform, multiply, transform back, cut."""
    n = 2 * u.shape[-1]
    return torch.fft.irfft(torch.fft.rfft(u, n) * spectrum, n)[..., : u.shape[-1]]


def error_of(u: Tensor, kernel: Tensor) -> Callable[[Tensor], float]:
    """Relative error of one channel in float64."""
    n = 2 * u.shape[-1]
    spectrum = torch.fft.rfft(kernel[-1].double(), n)
    expected = torch.fft.irfft(torch.fft.rfft(u[-1, -1].double(), n) * spectrum, n)[: u.shape[-1]]
    return lambda out: float((out[-1, -1].double() - expected).norm() / expected.norm())


@torch.no_grad()
def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case as a row for JSON; prints as it goes."""
    rows: list[dict[str, Any]] = []
    for batch in BATCHES:
        for length in sizes:
            if batch * CHANNELS * length > LARGEST:
                continue
            u, kernel = torch.randn(batch, CHANNELS, length), torch.randn(CHANNELS, length)
            ours = KernelSpectrum(kernel, length)
            theirs, again = (torch.fft.rfft(kernel, 2 * length) for _ in range(2))
            comparison = compare(
                {
                    "mercer": lambda u=u, ours=ours: convolve(u, ours),
                    "torch.fft": lambda u=u, theirs=theirs: torch_convolution(u, theirs),
                    "torch.fft again": lambda u=u, again=again: torch_convolution(u, again),
                },
                rounds=ROUNDS,
                error=error_of(u, kernel),
                work=float(u.numel()),
            )
            control = comparison.ratio("torch.fft", "torch.fft again")[1]
            verdict = "" if 0.95 <= control <= 1.05 else " (not measured: torch against itself is outside 0.95 to 1.05)"
            print(f"\nB = {batch}, H = {CHANNELS}, L = {length}{verdict}\n{comparison}\ntorch by itself {control:.3f}")
            case = {"case": "convolution", "batch": batch, "channels": CHANNELS, "length": length, "control": control}
            rows.append({**case, **comparison.as_dict()})
    return rows
