"""A long convolution with a fixed kernel, of operators that every runtime knows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from mercer.errors import ShapeError

__all__ = ["FoldedConv"]


class FoldedConv(nn.Module):
    """What :meth:`LongConv.fold` gives: one grouped convolution, and the map across channels.

    Cost: ``O(L K)`` a channel for K taps; it is made for export, and for short sequences.
    """

    weight: Tensor
    skip: Tensor

    def __init__(
        self, kernel: Tensor, skip: Tensor, output: nn.Module, *, causal: bool, only: int | None = None
    ) -> None:
        super().__init__()
        heads, channels, n = kernel.shape
        self.heads, self.channels, self.causal, self.only = heads, channels, causal, only
        # Torch's convolution is a correlation, and its groups stand channel by channel.
        self.register_buffer("weight", kernel.flip(-1).transpose(0, 1).reshape(channels * heads, 1, n).clone())
        self.register_buffer("skip", skip.detach().clone())
        # Of n taps, two-sided, the lags are -n/2 to n/2 - 1.
        self.before, self.after = (n - 1, 0) if causal else (n // 2 - 1, n // 2)
        self.output = output

    def forward(self, u: Tensor) -> Tensor:
        """``(B, L, H)`` to what the layer gives.

        Raises:
            ShapeError: another length than the only one that the taps are for.
        """
        if self.only is not None and u.shape[1] != self.only:
            raise ShapeError(f"FoldedConv: these taps are for sequences of {self.only} steps, not {u.shape[1]}.")
        x = u.mT  # (B, H, L)
        y = conv1d(pad(x, (self.before, self.after)), self.weight, groups=self.channels)
        y = y.unflatten(1, (self.channels, self.heads)).transpose(1, 2) + self.skip.unsqueeze(-1) * x.unsqueeze(1)
        found: Tensor = self.output(torch.movedim(y, -1, 1).flatten(-2))
        return found
