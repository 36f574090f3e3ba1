"""A kernel of two axes whose taps are all parameters, shrunk or smoothed in every forward pass."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mercer.nn.convolution.free_taps import FreeTaps
from mercer.nn.convolution.kernel_2d import ConvolutionKernel2d

__all__ = ["LongConvKernel2d"]


class LongConvKernel2d(FreeTaps, ConvolutionKernel2d):
    r"""Taps of all lags between two pixels, learnt directly: :class:`LongConvKernel` in two dimensions.

    In every forward pass taps are averaged, then squashed, ``sign(k) max(|k| - lambda, 0)``, then some are dropped.

    Args:
        channels, size, heads, learning_rate: as in :class:`ConvolutionKernel2d`.
        init: "random": normal taps of deviation 0.002; "exp": of 0.02, times
            ``exp(-(|i| / height + |j| / width) (C / 2)^(c / C))`` at lag (i, j) of channel c.
        init_std: another deviation.
        squash: the threshold lambda; "auto" is half the deviation of the (averaged) taps at the start; None is none.
        smooth: side of the square that taps are averaged over, odd; 0 is none. Beyond the last lag zeros come in.
        dropout: of taps, in training.
        random_state: of the start; None draws from torch's global generator.

    Raises:
        ValueError: an even side, a threshold above 3 deviations, another init.

    Source: the squash, the average and the starts of Fu et al., Simple Hardware-Efficient Long Convolutions for
    Sequence Modeling (ICML 2023), whose code has one axis; here they act on two.

    >>> kernel = LongConvKernel2d(4, (8, 10), random_state=0)
    >>> kernel().shape, kernel((3, 5)).shape
    (torch.Size([1, 4, 15, 19]), torch.Size([1, 4, 5, 9]))
    """

    def __init__(
        self,
        channels: int,
        size: int | tuple[int, int],
        *,
        heads: int = 1,
        init: Literal["random", "exp"] = "random",
        init_std: float | None = None,
        squash: float | Literal["auto"] | None = "auto",
        smooth: int = 0,
        dropout: float = 0.2,
        learning_rate: float | None = 1e-3,
        random_state: Any = None,
    ) -> None:
        super().__init__(channels, size, heads=heads, learning_rate=learning_rate)
        height, width = self.size
        self.start(
            (heads, channels, 2 * height - 1, 2 * width - 1),
            init=init,
            init_std=init_std,
            squash=squash,
            smooth=smooth,
            dropout=dropout,
            random_state=random_state,
        )

    def forward(self, size: tuple[int, int] | None = None) -> Tensor:
        """The taps of images of ``size``, ``(heads, channels, 2 height - 1, 2 width - 1)``, lag 0 in the centre."""
        height, width = self._cut(size)
        # Those whose lags two pixels of the image can have.
        above, left = self.size[0] - height, self.size[1] - width
        k = self._smoothed()[..., above : above + 2 * height - 1, left : left + 2 * width - 1]
        return self._finished(k)

    def _fading(self, rates: Tensor) -> Tensor:
        rows, columns = (torch.arange(1 - n, n).abs() / n for n in self.size)
        return torch.exp(-(rows[:, None] + columns) * rates[:, None, None])

    def _smoothed(self) -> Tensor:
        k: Tensor = self.kernel
        return avg_pool2d(k, self.smooth, stride=1, padding=self.smooth // 2) if self.smooth else k
