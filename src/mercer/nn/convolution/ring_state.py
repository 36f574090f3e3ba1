"""The plainest state: the last inputs, and a sum over all taps in each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mercer.nn.convolution.state import HistoryState, TapsState

__all__ = ["RingState"]


class RingState(HistoryState):
    """Exact for every kernel; L multiply-adds a step."""

    method = "ring"
    memory: ClassVar[Mapping[str, int]] = {"_buffer": 0}
    counters = (*TapsState.counters, "_end")

    def __init__(self, taps: Tensor, batch: int, *, ends: bool = True) -> None:
        super().__init__(taps, batch, ends=ends)
        # Twice as long as needed: the last inputs lie side by side, and are moved once in n_taps steps.
        self._buffer = taps.new_zeros(batch, self.channels, 2 * self.n_taps)
        self._end = self.n_taps  # the next input goes here
        self._forget()

    def _forget(self) -> None:
        self._backwards = self.taps.flip(-1).permute(1, 2, 0).contiguous()  # (H, L, C)

    @property
    def n_numbers(self) -> int:
        """Numbers a sequence and channel."""
        return self._buffer.shape[-1]

    def keep(self, u: Tensor) -> None:
        """Remember one input ``(B, H)``; :meth:`step` does so too."""
        if self._end == self._buffer.shape[-1]:
            self._buffer[..., : self.n_taps] = self._buffer[..., self.n_taps :].clone()
            self._end = self.n_taps
        self._buffer[..., self._end] = u
        self._end += 1

    def past(self) -> Tensor:
        """The last inputs, oldest first."""
        n = min(self.position, self.n_taps)
        return self._buffer[..., self._end - n : self._end]

    def _step(self, u: Tensor) -> Tensor:
        self.keep(u)
        last = self._buffer[..., self._end - self.n_taps : self._end]  # (B, H, L)
        return torch.einsum("bhl,hlc->bch", last, self._backwards)

    def _remember(self, past: Tensor) -> None:
        past = past.clone()  # it may be a part of the buffer
        self._buffer.zero_()
        self._end = self.n_taps
        self._buffer[..., self._end - past.shape[-1] : self._end] = past
