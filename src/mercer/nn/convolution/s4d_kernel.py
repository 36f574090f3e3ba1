"""The kernel of a diagonal state space model: a sum of damped waves."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from mercer.nn.convolution.kernel import ConvolutionKernel, stretched
from mercer.nn.precision import without_autocast
from mercer.nn.seeding import seeded

__all__ = ["S4DKernel"]


class S4DKernel(ConvolutionKernel):
    r"""Taps of N/2 damped waves a channel, and a recurrence of N numbers.

    .. math:: k_t = 2\,\mathrm{Re} \sum_n C_n \frac{e^{\Delta A_n} - 1}{A_n} e^{\Delta A_n t}

    It never ends: any number of taps can be asked for.

    Args:
        channels, heads, learning_rate: as in :class:`ConvolutionKernel`.
        length: the length it is built for, which decides nothing but how many taps ``kernel()`` gives.
        state_dim: N, even.
        init: of the imaginary parts of A: "inverse" is ``N / pi (N / (2 n + 1) - 1)``, "linear" is ``pi n``; the real
            parts start at -1/2.
        dt_min, dt_max: between which Delta is drawn, uniform in its logarithm, one a channel.
        definition: compute taps by the formula above, one exponential for each wave and tap, in the parameters' type,
            as the official code does without compiled parts. Otherwise the exponentials of ``2 sqrt(L)`` steps, in
            float64,
            and a matrix product: some tens of times fewer, and more exact.
        random_state: of the start; None draws from torch's global generator.

    Raises:
        ValueError: an odd N, steps that are not ``0 < dt_min <= dt_max``, another init.

    Cost: ``O(C H N L)`` multiply-adds.
    Source: Gu, Gupta, Goel & Re, On the Parameterization and Initialization of Diagonal State Space Models (2022).

    >>> S4DKernel(4, 100, random_state=0)().shape
    torch.Size([1, 4, 100])
    """

    def __init__(
        self,
        channels: int,
        length: int,
        *,
        heads: int = 1,
        state_dim: int = 64,
        init: Literal["inverse", "linear"] = "inverse",
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        definition: bool = False,
        learning_rate: float | None = 1e-3,
        random_state: Any = None,
    ) -> None:
        super().__init__(channels, None, heads=heads, learning_rate=learning_rate)
        if state_dim < 2 or state_dim % 2 or not 0.0 < dt_min <= dt_max or init not in ("inverse", "linear"):
            raise ValueError(
                f"S4DKernel: state_dim={state_dim} is even, 0 < dt_min={dt_min} <= dt_max={dt_max}, and init={init!r} "
                f"is "
                f"'inverse' or 'linear'."
            )
        if length < 1:
            raise ValueError(f"S4DKernel: length={length} must be 1 or more.")
        self.built_for, self.state_dim, self.definition = length, state_dim, definition
        half = state_dim // 2
        n = torch.arange(half)
        waves = state_dim / math.pi * (state_dim / (2 * n + 1) - 1) if init == "inverse" else math.pi * n
        with seeded(random_state):
            spread = torch.rand(channels) * math.log(dt_max / dt_min) + math.log(dt_min)
            self.log_dt = nn.Parameter(spread)
            self.C = nn.Parameter(torch.randn(heads, channels, half, 2) * 0.5**0.5)
        self.log_w_real = nn.Parameter(torch.full((channels, half), 0.5).log())
        self.w_imag = nn.Parameter(waves.expand(channels, half).clone())

    def forward(self, length: int | None = None) -> Tensor:
        """The first ``length`` taps, ``(heads, channels, length)``; None is the length it was built for."""
        L = self._cut(self.built_for if length is None else length)
        if self.definition:
            return self._by_definition(L)
        dtA, dtC = self.recurrence()
        # A compiled graph serves every length, and knows no root of one.
        b = _root(self.built_for if torch.compiler.is_compiling() else L)
        a = -(-L // b)
        steps = torch.arange(max(a, b), device=dtA.device, dtype=torch.float64)
        narrow = torch.complex128 if self.C.dtype == torch.float64 else torch.complex64
        inner = torch.exp(dtA.unsqueeze(-1) * steps[:b]).to(narrow)  # (H, N/2, b)
        outer = torch.exp(dtA.unsqueeze(-1) * (b * steps[:a])).to(narrow)  # (H, N/2, a)
        left = (dtC.to(narrow).unsqueeze(-1) * outer).mT  # (C, H, a, N/2)
        # The real part of a complex product is one real product of twice the width.
        left, right = torch.cat([left.real, -left.imag], -1), torch.cat([inner.real, inner.imag], -2)
        with without_autocast(self.C):
            return (2.0 * left @ right).flatten(-2)[..., :L].to(self.C.dtype)

    def at_rate(self, factor: float) -> Self:
        """The same waves for signals that are sampled ``factor`` times as often: steps that are as much shorter.

        Raises:
            ValueError: a factor that is not above 0.
        """
        made = stretched(self, factor)
        made.built_for = max(1, round(factor * self.built_for))
        with torch.no_grad():
            made.log_dt.sub_(math.log(factor))
        return made

    def recurrence(self) -> tuple[Tensor, Tensor]:
        """``Delta A`` ``(H, N/2)`` and ``C (exp(Delta A) - 1) / A`` ``(C, H, N/2)``, complex128.

        In float64 whatever the parameters' type: a phase of some thousand radians has few digits left in float32.
        """
        A = torch.complex(-self.log_w_real.double().exp(), self.w_imag.double())
        dtA = A * self.log_dt.double().exp().unsqueeze(-1)
        return dtA, torch.view_as_complex(self.C.double()) * (torch.exp(dtA) - 1.0) / A

    def _by_definition(self, L: int) -> Tensor:
        A = torch.complex(-self.log_w_real.exp(), self.w_imag)
        dtA = A * self.log_dt.exp().unsqueeze(-1)
        weight = torch.view_as_complex(self.C) * (torch.exp(dtA) - 1.0) / A
        waves = torch.exp(dtA.unsqueeze(-1) * torch.arange(L, device=A.device))  # (H, N/2, L)
        return 2.0 * torch.einsum("chn,hnl->chl", weight, waves).real


def _root(n: int) -> int:
    """The smallest power of 2 whose square is at least n >= 1."""
    return 1 << math.isqrt(n - 1).bit_length()
