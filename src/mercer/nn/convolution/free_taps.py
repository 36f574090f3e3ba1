"""What kernels of free taps share: where they start, and a threshold that leaves them alive."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

__all__ = ["shrink", "start_of"]

STD = {"random": 0.002, "exp": 0.02}  # of the official code
DEAD = 3.0  # a threshold of so many deviations leaves 0.3 % of normal taps alive


def start_of(
    owner: str,
    *,
    init: str,
    init_std: float | None,
    squash: float | Literal["auto"] | None,
    smooth: int,
    averaged: int,
    dropout: float,
) -> tuple[float, float]:
    """The deviation of the taps at the start, and the threshold.

    Args:
        owner: the class, for its errors.
        init, init_std, squash, smooth, dropout: of :class:`mercer.nn.LongConvKernel`.
        averaged: how many taps a mean is made of.

    Raises:
        ValueError: an even width, a threshold above 3 deviations, another init, or a dropout outside 0 to 1.
    """
    if init not in STD:
        raise ValueError(f"{owner}: init={init!r} is not 'random' or 'exp'.")
    if smooth < 0 or (smooth and smooth % 2 == 0):
        raise ValueError(f"{owner}: smooth={smooth} is an odd width, or 0.")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"{owner}: dropout={dropout} is from 0 up to, not including, 1.")
    std = STD[init] if init_std is None else init_std
    if not std > 0.0:
        raise ValueError(f"{owner}: init_std={init_std} must be above 0.")
    # A mean of independent taps is narrower, and it is the mean that meets the threshold.
    start = std / math.sqrt(max(1, averaged))
    threshold = start / 2 if squash == "auto" else 0.0 if squash is None else float(squash)
    if not 0.0 <= threshold <= DEAD * start:
        raise ValueError(
            f"{owner}: squash={squash} lies outside 0 to {DEAD * start:.3g}, three deviations of the taps at the start "
            f"(init_std={std:g}{f', smooth={smooth}' if smooth else ''}): where |k| is below squash, value and "
            f"gradient are 0, so the kernel would not train. Use squash='auto', or a larger init_std."
        )
    return std, threshold


def shrink(k: Tensor, threshold: float) -> Tensor:
    """``sign(k) max(|k| - threshold, 0)``."""
    return torch.sign(k) * (k.abs() - threshold).clamp(min=0.0) if threshold else k
