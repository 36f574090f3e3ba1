"""Blocks of fixed length by transforms, for audio and other signals that come in chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mercer.nn.convolution.state import TapsState

__all__ = ["BlockState"]


class BlockState(TapsState):
    """Exact for every kernel: overlap-save with the kernel in parts of b taps.

    A block of b inputs costs one transform of 2b each way and ``L / b`` products of spectra. Chunks may have any
    length: a block that is not full yet is transformed again when more of it comes.
    """

    method = "block"
    memory: ClassVar[Mapping[str, int]] = {"_window": 0, "_older": 0, "_spectra": 1}
    counters = (*TapsState.counters, "block", "_filled")

    def __init__(self, taps: Tensor, batch: int, *, ends: bool = True, block: int = 128) -> None:
        super().__init__(taps, batch, ends=ends)
        self.block = block
        self._forget()
        self._spectra = self._parts.new_zeros(len(self._parts), batch, 1, self.channels, block + 1)  # newest first
        self._window = taps.new_zeros(batch, self.channels, 2 * block)  # the last full block, and the one begun
        self._filled = 0
        self._older = self._parts.new_zeros(batch, self.heads, self.channels, block + 1)

    def _forget(self) -> None:
        n_parts = -(-self.n_taps // self.block)
        padded = torch.nn.functional.pad(self.taps, (0, n_parts * self.block - self.n_taps))
        parts = padded.unflatten(-1, (n_parts, self.block)).movedim(-2, 0)  # (parts, C, H, b)
        self._parts = torch.fft.rfft(parts, 2 * self.block)

    @property
    def n_numbers(self) -> int:
        """Numbers a sequence and channel, complex ones counted twice."""
        return 2 * self.block + 2 * (self.block + 1) * (len(self._parts) + self.heads)

    def _step(self, u: Tensor) -> Tensor:
        return self._advance(u.unsqueeze(-1))[..., 0]

    def _advance(self, u: Tensor) -> Tensor:
        found, b = [], self.block
        for piece in self._pieces(u.to(self.dtype)):
            first, last = self._filled, self._filled + piece.shape[-1]
            self._window[..., b + first : b + last] = piece
            X = torch.fft.rfft(self._window).unsqueeze(1)  # (B, 1, H, b + 1)
            y = torch.fft.irfft(X * self._parts[0] + self._older, 2 * b)[..., b:]
            found.append(y[..., first:last])
            self._filled = last
            if last == b:
                self._begin_block(X)
        return torch.cat(found, -1)

    def _pieces(self, u: Tensor) -> list[Tensor]:
        first = min(self.block - self._filled, u.shape[-1])
        return [piece for piece in (u[..., :first], *u[..., first:].split(self.block, -1)) if piece.shape[-1]]

    def _begin_block(self, X: Tensor) -> None:
        self._spectra = torch.cat([X.unsqueeze(0), self._spectra[:-1]])
        self._older.zero_()
        for part, spectrum in zip(self._parts[1:], self._spectra, strict=False):
            self._older += part * spectrum
        self._window[..., : self.block] = self._window[..., self.block :].clone()
        self._window[..., self.block :] = 0
        self._filled = 0
