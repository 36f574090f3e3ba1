"""What kernels of free taps share: where they start, and a threshold that leaves them alive."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from mercer.nn.seeding import seeded

__all__ = ["FreeTaps", "shrink"]

STD = {"random": 0.002, "exp": 0.02}  # of the official code
DEAD = 3.0  # a threshold of so many deviations leaves 0.3 % of normal taps alive


class FreeTaps(nn.Module):
    """Taps that are parameters, averaged, squashed and dropped in every forward pass; beside a kernel's own base.

    Subclasses say how their taps are averaged, and how fast those of "exp" fade.
    """

    kernel: nn.Parameter
    channels: int

    def start(
        self,
        shape: tuple[int, ...],
        *,
        init: str,
        init_std: float | None,
        squash: float | Literal["auto"] | None,
        smooth: int,
        dropout: float,
        random_state: Any,
    ) -> None:
        """Check the options of :class:`mercer.nn.LongConvKernel`, and draw taps of a shape.

        Raises:
            ValueError: an even width, a threshold above 3 deviations, another init, or a dropout outside 0 to 1.
        """
        owner = type(self).__name__
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
        start = std / math.sqrt(max(1, smooth) ** (len(shape) - 2))
        threshold = start / 2 if squash == "auto" else 0.0 if squash is None else float(squash)
        if not 0.0 <= threshold <= DEAD * start:
            raise ValueError(
                f"{owner}: squash={squash} lies outside 0 to {DEAD * start:.3g}, three deviations of the taps "
                f"at the start (init_std={std:g}{f', smooth={smooth}' if smooth else ''}): where |k| is below squash, "
                f"value and gradient are 0, so the kernel would not train. Use squash='auto', or a larger init_std."
            )
        self.init, self.init_std, self.squash = init, std, threshold
        self.smooth, self.dropout = smooth, dropout
        self.kernel = nn.Parameter(torch.empty(shape))
        with seeded(random_state):
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the taps again."""
        self.kernel.normal_(0.0, self.init_std)
        if self.init == "exp":
            self.kernel.mul_(self._fading((self.channels / 2) ** (torch.arange(self.channels) / self.channels)))

    @torch.no_grad()
    def alive_fraction(self) -> float:
        """The share of taps above the threshold, which alone have a value and a gradient."""
        return float((self._smoothed().abs() > self.squash).double().mean())

    def _finished(self, k: Tensor) -> Tensor:
        """Averaged taps, squashed and dropped."""
        return dropout(shrink(k, self.squash), self.dropout, self.training)

    def _fading(self, rates: Tensor) -> Tensor:
        """What "exp" multiplies the taps by, for a rate a channel."""
        raise NotImplementedError

    def _smoothed(self) -> Tensor:
        raise NotImplementedError


def shrink(k: Tensor, threshold: float) -> Tensor:
    """``sign(k) max(|k| - threshold, 0)``."""
    return torch.sign(k) * (k.abs() - threshold).clamp(min=0.0) if threshold else k
