"""Which grids serve a map to a tolerance: profiles along the axes say it, by one-dimensional transforms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mercer.operators.fourier.grid import DifferenceMap, FourierGrid, samples_for

__all__ = ["FINEST", "fourier_grids", "predicted_error"]

FINEST = 1 << 20  # samples of one axis when its number of modes is estimated
_STRETCH = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # lengths of the cutoff, in extents, that are tried
_ROUND_OFF = 1e-14  # of a sum of coefficients that is 1, most of them noise


def fourier_grids(function: DifferenceMap, extent: Sequence[float], *, tolerance: float) -> list[FourierGrid]:
    """Grids whose predicted error is within the tolerance, those of fewest modes first; without and with cutoffs."""
    d = len(extent)
    share = tolerance / (2.0 * d)
    profiles = [Profile(function, d, c, a) for c, a in enumerate(extent)]
    grids = []
    reaches = [profile.reach(share / 4.0) for profile in profiles]
    if all(reach is not None for reach in reaches):
        period = tuple(a + r for a, r in zip((p.extent for p in profiles), reaches, strict=True) if r is not None)
        grids.append(_grid(profiles, period, None, share))
    # erfc(s) / 2 is what the cutoff is short of 1 at the extent
    steepness = math.sqrt(-math.log(share)) * 0.96
    for stretch in _STRETCH:
        period = tuple((2.0 + stretch) * profile.extent for profile in profiles)
        grids.append(_grid(profiles, period, steepness, share))
    return sorted((grid for grid in grids if grid is not None), key=lambda grid: grid.n_modes)


def _grid(
    profiles: list[Profile], period: tuple[float, ...], steepness: float | None, share: float
) -> FourierGrid | None:
    modes = []
    for profile, P in zip(profiles, period, strict=True):
        m = profile.modes(P, steepness, share)
        if m is None:
            return None
        modes.append(m)
    extent = tuple(profile.extent for profile in profiles)
    return FourierGrid(extent, period, tuple(modes), tuple(map(samples_for, modes)), steepness)


def predicted_error(grid: FourierGrid, function: DifferenceMap) -> float:
    """What discarded modes, their aliases, images and the cutoff leave in an entry, as a share of ``k(0)``.

    The modes beyond m on one axis sum to the part of the map's restriction to that axis with frequencies beyond m, if
    none is negative; so d one-dimensional transforms say it.
    """
    error = 0.0
    for c in range(grid.d):
        profile = Profile(function, grid.d, c, grid.extent[c])
        tail = profile.tail(grid.period[c], grid.steepness, wanted=0.0)
        m, n = grid.modes[c], grid.samples[c]
        error += tail(m) + tail(n - m - 1)
        if grid.steepness is not None:
            error += math.erfc(grid.steepness)
        else:
            error += profile.largest_beyond(grid.period[c] - grid.extent[c])
    return error


class Profile:
    """A map along one axis, as a share of its value at 0."""

    def __init__(self, function: DifferenceMap, d: int, axis: int, extent: float) -> None:
        self.function, self.d, self.axis = function, d, axis
        self.origin = float(function(torch.zeros(1, d, dtype=torch.float64)))
        self.extent = float(extent) if extent > 0.0 else 1.0  # all points alike: any period does

    def __call__(self, r: Tensor) -> Tensor:
        points = r.new_zeros(len(r), self.d)
        points[:, self.axis] = r
        return self.function(points) / self.origin

    def reach(self, level: float) -> float | None:
        """From where on the map stays below ``level``; None if it does not within a million extents."""
        r = self.extent * torch.logspace(-4, 6, 4001, dtype=torch.float64)
        above = (self(r).abs() > level).nonzero()
        last = int(above.max()) if len(above) else -1
        return None if last + 1 >= len(r) else float(r[last + 1])

    def largest_beyond(self, reach: float) -> float:
        """The largest value of the map from ``reach`` on."""
        r = reach * torch.logspace(0, 3, 400, dtype=torch.float64)
        return 2.0 * float(self(r).abs().max())

    def samples(self, period: float, steepness: float | None, n: int, every_second: Tensor | None = None) -> Tensor:
        """The periodic map at n even steps, the first half of them; ``every_second`` are those of half as many."""
        step = 1 if every_second is None else 2
        r = torch.arange(step - 1, n // 2 + 1, step, dtype=torch.float64) * (period / n)
        both = torch.cat([r, r - period])  # the map and its image by one call: calls are what costs
        part = self(both)
        if steepness is not None:
            part = part * FourierGrid((self.extent,), (period,), (n // 2,), (n,), steepness).cutoff(0, both)
        values = part[: len(r)] + part[len(r) :]
        if every_second is None:
            return values
        found = values.new_empty(n // 2 + 1)
        found[::2], found[1::2] = every_second, values
        return found

    def tail(self, period: float, steepness: float | None, wanted: float) -> Callable[[int], float]:
        """m to the sum of the coefficients of all frequencies beyond m, which is what cutting there leaves out.

        Samples are doubled until the frequencies that they resolve sum up to all but a little of ``wanted``, or until
        octave after octave falls by the same factor: what is beyond then follows from that power law. Half of the
        frequencies are not looked at: aliases double them.
        """
        n, ratio = 64, 0.0
        values = self.samples(period, steepness, n)
        while True:
            size = 2.0 * torch.fft.irfft(values, n=n)[: n // 4 + 1].abs()
            last, before = float(size[n // 8 :].sum()), float(size[n // 16 : n // 8].sum())
            previous, ratio = ratio, last / before if before > 0.0 else 0.0
            settled = n >= 1024 and abs(ratio - previous) < 0.03 * ratio and ratio < 0.9
            if last <= max(0.02 * wanted, _ROUND_OFF) or settled or n >= FINEST:
                break
            n *= 2
            values = self.samples(period, steepness, n, values)
        ratio = min(ratio, 0.9)
        beyond = last * ratio / (1.0 - ratio) if last > _ROUND_OFF else 0.0
        sums = size.flip(0).cumsum(0).flip(0).numpy()

        def tail(m: int) -> float:
            if m + 1 < len(sums):
                return float(sums[m + 1]) + beyond
            return beyond * ratio ** math.log2((m + 1) / len(sums)) if beyond > 0.0 else 0.0

        return tail

    def modes(self, period: float, steepness: float | None, share: float) -> int | None:
        """The least m whose tail and aliases are within ``share``; None if it is beyond the finest sampling."""
        tail = self.tail(period, steepness, share)
        low, high = 0, 1
        while tail(high) + tail(2 * high) > share:
            low, high = high, 2 * high
            if high > FINEST:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            if tail(middle) + tail(2 * middle) > share:
                low = middle
            else:
                high = middle
        return high
