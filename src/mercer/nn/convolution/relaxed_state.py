"""Relaxed convolution: outputs to come are filled in ahead, in blocks that double."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor

from mercer.nn.convolution.state import HistoryState, TapsState
from mercer.operators import convolve

__all__ = ["RelaxedState"]

DIRECT = 32  # up to so many inputs a matrix product is quicker than three transforms


class RelaxedState(HistoryState):
    """Exact for every kernel; O(log^2 L) operations a step on average.

    After t inputs, with 2^q the largest power of two in t, the last 2^q inputs are added to the next 2^q outputs at
    once, by one transform of 2^(q + 1). Each input meets each output in exactly one such block.

    Source: van der Hoeven, Relax, but don't be too lazy (2002); Oncescu et al., Flash Inference (arXiv 2410.12982).
    """

    method = "relaxed"
    memory: ClassVar[Mapping[str, int]] = {"_inputs": 0, "_outputs": 0}
    counters = (*TapsState.counters, "_size", "_origin", "_known")

    def __init__(self, taps: Tensor, batch: int, *, ends: bool = True) -> None:
        super().__init__(taps, batch, ends=ends)
        self._size = 1 << (self.n_taps - 1).bit_length()  # P, a power of two >= n_taps
        shape = (batch, self.channels, self._size)
        self._inputs = taps.new_zeros(shape)  # of step t at t mod P, counted from _origin
        self._outputs = taps.new_zeros(batch, self.heads, *shape[1:])
        self._origin = 0
        self._known = 0
        self._forget()

    def _forget(self) -> None:
        self._blocks: dict[int, Tensor] = {}

    @property
    def n_numbers(self) -> int:
        """Numbers a sequence and channel."""
        return self._size * (1 + self.heads)

    def _step(self, u: Tensor) -> Tensor:
        t = self.position - self._origin
        at = t % self._size
        self._inputs[..., at] = u
        y = self._outputs[..., at] + self.taps[..., 0] * u.to(self.dtype).unsqueeze(1)
        self._outputs[..., at] = 0
        self._known = min(self._known + 1, self.n_taps)
        t += 1
        m = min(t & -t, self._size)
        first = (t - m) % self._size
        block = self._inputs[..., first : first + m].unsqueeze(1)  # (B, 1, H, m)
        into = t % self._size
        self._outputs[..., into : into + m] += self._ahead(block, m)
        return y

    def _ahead(self, block: Tensor, m: int) -> Tensor:
        """What m inputs add to the m outputs after them: lags 1 to 2m - 1."""
        if m not in self._blocks:
            k = torch.nn.functional.pad(self.taps, (0, max(0, 2 * m - self.n_taps)))[..., : 2 * m]
            if m <= DIRECT:
                i = torch.arange(m, device=k.device)
                self._blocks[m] = k[..., m + i[:, None] - i[None, :]]  # (C, H, m, m)
            else:
                self._blocks[m] = torch.fft.rfft(k)
        kept = self._blocks[m]
        if m <= DIRECT:
            return (kept @ block.unsqueeze(-1)).squeeze(-1)
        # Of a cyclic product of length 2m the second half has nothing that wrapped around.
        added: Tensor = torch.fft.irfft(torch.fft.rfft(block, 2 * m) * kept, 2 * m)
        return added[..., m:]

    def past(self) -> Tensor:
        """The last inputs, oldest first."""
        t = (self.position - self._origin) % self._size
        chronological = torch.cat([self._inputs[..., t:], self._inputs[..., :t]], -1)
        return chronological[..., self._size - self._known :]

    def _remember(self, past: Tensor) -> None:
        """Begin the blocks anew: what all inputs so far add to the outputs to come is one convolution."""
        p = past.shape[-1]
        self._inputs.zero_()
        self._inputs[..., self._size - p :] = past
        self._known = p
        every = convolve(past.unsqueeze(1), self.taps, mode="full")[..., p:]
        self._outputs.zero_()
        self._outputs[..., : every.shape[-1]] = every

    def _aligned(self) -> Self:
        made = super()._aligned()
        made._origin = made.position
        return made

    def _advance(self, u: Tensor) -> Tensor:
        y = super()._advance(u)
        self._origin = self.position + u.shape[-1]
        return y
