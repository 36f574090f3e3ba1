"""A kernel whose taps are all parameters, shrunk or smoothed in every forward pass."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, interpolate

from mercer.nn.convolution.free_taps import FreeTaps, shrink
from mercer.nn.convolution.kernel import ConvolutionKernel, stretched

__all__ = ["LongConvKernel"]


class LongConvKernel(FreeTaps, ConvolutionKernel):
    r"""Taps that are learnt directly, one parameter each.

    .. math:: k \leftarrow \mathrm{sign}(k) \max(|k| - \lambda, 0)

    In every forward pass taps are smoothed, then squashed as above, then some are dropped. Within the threshold a tap
    and its gradient are exactly 0, so a threshold far above the taps kills them for good: such a one is refused, and
    :meth:`alive_fraction` counts what lives.

    Args:
        channels, length, heads, learning_rate: as in :class:`ConvolutionKernel`.
        init: "random": normal taps of deviation 0.002; "exp": of 0.02, times ``exp(-(t / length) (H / 2)^(h / H))`` in
            channel h, so that channels forget at rates spread over a factor of H / 2.
        init_std: another deviation.
        squash: the threshold lambda; "auto" is half the deviation of the (smoothed) taps at the start; None is none.
        smooth: width of a moving average over time, odd; 0 is none. At both ends zeros come in.
        smooth_freq: instead, a Gaussian of unit width over the frequencies of the ``length`` taps. That is a window
            over time which is 1 at either end of the kernel and 0.007 in its middle, as it is in the official code.
        dropout: of taps, in training.
        random_state: of the start; None draws from torch's global generator.

    Raises:
        ValueError: an even width, both kinds of smoothing, a threshold above 3 deviations, another init.

    Source: Fu et al., Simple Hardware-Efficient Long Convolutions for Sequence Modeling (ICML 2023).

    >>> kernel = LongConvKernel(4, 100, random_state=0)
    >>> kernel().shape, round(kernel.alive_fraction(), 2)
    (torch.Size([2, 4, 100]), 0.61)
    """

    def __init__(
        self,
        channels: int,
        length: int,
        *,
        heads: int = 2,
        init: Literal["random", "exp"] = "random",
        init_std: float | None = None,
        squash: float | Literal["auto"] | None = "auto",
        smooth: int = 0,
        smooth_freq: bool = False,
        dropout: float = 0.2,
        learning_rate: float | None = 1e-3,
        random_state: Any = None,
    ) -> None:
        super().__init__(channels, length, heads=heads, learning_rate=learning_rate)
        if smooth and smooth_freq:
            raise ValueError(f"LongConvKernel: smooth={smooth} goes without smooth_freq=True.")
        self.smooth_freq = smooth_freq
        self.start(
            (heads, channels, length),
            init=init,
            init_std=init_std,
            squash=squash,
            smooth=smooth,
            dropout=dropout,
            random_state=random_state,
        )

    def forward(self, length: int | None = None) -> Tensor:
        """The first ``length`` taps, ``(heads, channels, length)``."""
        n = self._cut(length)
        return self._finished(self._smoothed()[..., :n])

    def at_rate(self, factor: float) -> Self:
        """Taps for signals that are sampled ``factor`` times as often: interpolated, and as much weaker.

        What is averaged and squashed is in them already, so the new kernel does neither.

        Raises:
            ValueError: a factor that is not above 0.
        """
        made = stretched(self, factor)
        with torch.no_grad():
            k = shrink(self._smoothed(), self.squash)
            made.kernel = nn.Parameter(interpolate(k, size=made.length, mode="linear") / factor)
        made.smooth, made.smooth_freq, made.squash = 0, False, 0.0
        return made

    def _fading(self, rates: Tensor) -> Tensor:
        n = self.kernel.shape[-1]
        return torch.exp(-torch.arange(n) / n * rates[:, None])

    def _smoothed(self) -> Tensor:
        k: Tensor = self.kernel
        if self.smooth:
            k = avg_pool1d(k, self.smooth, stride=1, padding=self.smooth // 2)
        if self.smooth_freq:
            # Averaging over frequencies is a product in time.
            m = torch.arange(-3, 4, dtype=torch.float64)
            g = torch.exp(-0.5 * m**2)
            t = torch.arange(k.shape[-1], dtype=torch.float64)
            window = torch.cos(2.0 * math.pi / len(t) * t[:, None] * m) @ g / g.sum()
            k = k * window.to(k)
        return k
