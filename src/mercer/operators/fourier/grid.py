"""Modes and period of a Fourier series, and the coefficients of a map on them by FFT; no tensors are kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["DifferenceMap", "FourierGrid", "even_smooth", "samples_for"]

DifferenceMap = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FourierGrid:
    """Which modes, of which period, and how the map is made periodic; no tensors.

    On each axis ``f(r) = sum over m of (map * cutoff)(r - m period)``, where the cutoff is 1 up to ``extent`` and 0
    from ``period - extent`` on. Where the map itself has decayed by then, there is no cutoff.

    Attributes:
        extent: the largest difference wanted, by axis.
        period: by axis, at least twice the extent where there is a cutoff.
        modes: m: frequencies ``-m .. m`` times ``2 pi / period``, by axis.
        samples: of one period, by axis; even.
        steepness: of the cutoff, ``erfc(steepness (2 t - 1)) / 2``; None for no cutoff.
    """

    extent: tuple[float, ...]
    period: tuple[float, ...]
    modes: tuple[int, ...]
    samples: tuple[int, ...]
    steepness: float | None

    @property
    def d(self) -> int:
        """Number of axes."""
        return len(self.period)

    @property
    def shape(self) -> tuple[int, ...]:
        """Modes on each axis, ``2 m + 1``."""
        return tuple(2 * m + 1 for m in self.modes)

    @property
    def n_modes(self) -> int:
        """Modes in all."""
        return math.prod(self.shape)

    def coefficients(self, function: DifferenceMap, odd: int | None = None) -> Tensor:
        """The coefficients of the modes with non-negative frequencies, ``(m_1 + 1, ..., m_d + 1)``; differentiable.

        The map must be even in every coordinate, or odd in the coordinate ``odd``: the coefficients are then ``i``
        times what is returned, and change their sign with that of the frequency.

        Args:
            function: differences ``(..., d)`` float64 to values ``(...)``.
            odd: see above.

        Cost: ``2^d prod(samples / 2 + 1)`` values of the map, then an FFT of as many.
        """
        values: Tensor | None = None
        for images in itertools.product((0.0, 1.0), repeat=self.d):
            axes = [self._points(c) - image * self.period[c] for c, image in enumerate(images)]
            part = function(torch.stack(torch.meshgrid(*axes, indexing="ij"), -1))
            if self.steepness is not None:
                for c, axis in enumerate(axes):
                    part = part * self.cutoff(c, axis).reshape([-1 if k == c else 1 for k in range(self.d)])
            values = part if values is None else values + part
        assert values is not None
        for c, (m, n) in enumerate(zip(self.modes, self.samples, strict=True)):
            # an even sequence is the half spectrum of a real one, whose inverse transform is what is wanted
            half = torch.complex(torch.zeros_like(values), values) if c == odd else values
            values = torch.fft.irfft(half, n=n, dim=c).narrow(c, 0, m + 1)
        return values

    def _points(self, axis: int) -> Tensor:
        """Half a period of sampling points."""
        n = self.samples[axis]
        return torch.arange(n // 2 + 1, dtype=torch.float64) * (self.period[axis] / n)

    def cutoff(self, axis: int, r: Tensor) -> Tensor:
        """What multiplies the map at differences ``r`` along an axis, where there is a cutoff."""
        assert self.steepness is not None
        a, P = self.extent[axis], self.period[axis]
        t = (r.abs() - a) / (P - 2.0 * a)
        cutoff: Tensor = torch.special.erfc(self.steepness * (2.0 * t - 1.0)) / 2.0
        return cutoff

    def frequencies(self, axis: int) -> Tensor:
        """The angular frequencies ``0 .. m`` of an axis."""
        return torch.arange(self.modes[axis] + 1, dtype=torch.float64) * (2.0 * math.pi / self.period[axis])

    def spectrum(self, coefficients: Tensor, odd: int | None = None) -> Tensor:
        """All coefficients, ``shape``, frequencies in increasing order, from those of :meth:`coefficients`."""
        for c in range(self.d):
            mirrored = coefficients.narrow(c, 1, self.modes[c]).flip(c)
            coefficients = torch.cat([-mirrored if c == odd else mirrored, coefficients], c)
        return coefficients

    def multiplicity(self) -> Tensor:
        """How many modes stand behind each coefficient: 2 for every axis with a frequency that is not 0."""
        counts = torch.ones(1, dtype=torch.float64)
        for c in range(self.d):
            axis = torch.full((self.modes[c] + 1,), 2.0, dtype=torch.float64)
            axis[0] = 1.0
            counts = counts.unsqueeze(-1) * axis
        return counts.squeeze(0)

    def refined(self) -> FourierGrid:
        """The same period with a fifth more modes."""
        modes = tuple(math.ceil(1.2 * m) + 1 for m in self.modes)
        return replace(self, modes=modes, samples=tuple(map(samples_for, modes)))


def samples_for(m: int) -> int:
    """Samples of a period for modes up to m: aliases then come from beyond 2 m."""
    return even_smooth(3 * m + 4)


@lru_cache(maxsize=1024)
def even_smooth(n: int) -> int:
    """The next even number without a prime factor beyond 5: a length that transforms quickly."""
    while True:
        n += n % 2
        rest = n
        for p in (2, 3, 5):
            while rest % p == 0:
                rest //= p
        if rest == 1:
            return n
        n += 2
