"""The recurrence of a diagonal state space model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mercer.nn.convolution.s4d_kernel import S4DKernel
from mercer.nn.convolution.state import ConvState
from mercer.operators import convolve

__all__ = ["DiagonalState"]

CHUNK = 256  # steps that are taken at once


class DiagonalState(ConvState):
    """Of an :class:`S4DKernel`: N/2 complex numbers a channel, N multiply-adds a step, at any length.

    The numbers are complex128 whatever the layer's type: waves that decay over thousands of steps would be off by 1e-4
    in complex64.
    """

    method = "structured"
    fixed = ("_log", "_decay", "_output")
    memory: ClassVar[Mapping[str, int]] = {"_state": 0}

    def __init__(self, kernel: S4DKernel, batch: int) -> None:
        super().__init__((batch, kernel.heads, kernel.channels), kernel.C.dtype, kernel.C.device)
        dtA, self._output = kernel.recurrence()  # (H, N/2), (C, H, N/2)
        self._log = dtA
        self._decay = dtA.exp()
        self._state = torch.zeros(batch, *dtA.shape, dtype=torch.complex128, device=self.device)
        self._forget()

    def _forget(self) -> None:
        self._powers: Tensor | None = None
        self._taps: Tensor | None = None

    @property
    def n_numbers(self) -> int:
        """Real numbers a sequence and channel."""
        return 2 * self._state.shape[-1]

    def _step(self, u: Tensor) -> Tensor:
        self._state = self._decay * self._state + u.double().unsqueeze(-1)
        return 2.0 * torch.einsum("bhn,chn->bch", self._state, self._output).real

    def _advance(self, u: Tensor) -> Tensor:
        if self._powers is None or self._taps is None:
            steps = torch.arange(CHUNK + 1, dtype=torch.float64, device=self.device)
            self._powers = torch.exp(self._log.unsqueeze(-1) * steps)  # (H, N/2, CHUNK + 1)
            self._taps = 2.0 * torch.einsum("chn,hnt->cht", self._output, self._powers[..., :-1]).real
        found = []
        for chunk in u.double().split(CHUNK, -1):
            n = chunk.shape[-1]
            y = convolve(chunk.unsqueeze(1), self._taps[..., :n])
            seen = self._output.unsqueeze(0) * self._state.unsqueeze(1)  # (B, C, H, N/2)
            y = y + 2.0 * torch.einsum("bchn,hnt->bcht", seen, self._powers[..., 1 : n + 1]).real
            came = torch.einsum("bht,hnt->bhn", chunk.to(torch.complex128), self._powers[..., :n].flip(-1))
            self._state = self._powers[..., n] * self._state + came
            found.append(y)
        return torch.cat(found, -1)
