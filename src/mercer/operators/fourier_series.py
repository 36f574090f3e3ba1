"""Fourier series of functions of a difference: coefficients by FFT, with an error that is known before it is used.

A kernel k(x - y) on data of bounded extent is wanted for differences up to that extent only. Beyond, it may be changed
into a periodic function, whose Fourier series then stands for the kernel: ``k(x - y) = sum_j c_j exp(i w_j (x - y))``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["FourierGrid", "FourierSeries", "NoFourierSeries", "fourier_grids", "fourier_series"]

DifferenceMap = Callable[[Tensor], Tensor]

MAX_MODES = 2e7  # 320 MB of complex128 a transform, and as much again inside the non-uniform FFT
_FINEST = 1 << 20  # samples of one axis when its number of modes is estimated
_STRETCH = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # lengths of the cutoff, in extents, that are tried
_ROUND_OFF = 1e-14  # of a sum of coefficients that is 1, most of them noise
_CHECKS = 400  # random differences at which a series is compared with its map


class NoFourierSeries(ValueError):
    """A map that cannot be had as a Fourier series within the modes allowed; ``n_modes`` says how many it would take.

    Args:
        reason: in a sentence.
        n_modes: the least number of modes of any period tried; infinity if none sufficed.
    """

    def __init__(self, reason: str, n_modes: float = math.inf) -> None:
        super().__init__(reason)
        self.n_modes = n_modes


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
                    part = part * self._cutoff(c, axis).reshape([-1 if k == c else 1 for k in range(self.d)])
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

    def _cutoff(self, axis: int, r: Tensor) -> Tensor:
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

    def predicted_error(self, function: DifferenceMap) -> float:
        """What the discarded modes, their aliases, images and cutoff leave in an entry, as a share of ``k(0)``.

        The modes beyond m on one axis sum to the part of the map's restriction to that axis with frequencies beyond m,
        if none is negative; so d one-dimensional transforms say it.
        """
        error = 0.0
        for c in range(self.d):
            profile = _Profile(function, self.d, c, self.extent[c])
            tail = profile.tail(self.period[c], self.steepness, wanted=0.0)
            m, n = self.modes[c], self.samples[c]
            error += tail(m) + tail(n - m - 1) + self._period_error(profile, c)
        return error

    def _period_error(self, profile: _Profile, axis: int) -> float:
        if self.steepness is not None:
            return math.erfc(self.steepness)
        return profile.largest_beyond(self.period[axis] - self.extent[axis])


@dataclass(frozen=True, eq=False)
class FourierSeries:
    """A Fourier series that stands for a map of differences up to ``grid.extent``.

    Attributes:
        grid: its modes and period.
        coefficients: of the non-negative frequencies, see :meth:`FourierGrid.coefficients`.
        predicted_error: the largest error of an entry, as a share of ``k(0)``, from what was discarded.
        measured_error: the same at random differences, 0 and the corners among them, in float64.
        is_definite: whether no coefficient is negative, so that every matrix of the series is positive semidefinite.
    """

    grid: FourierGrid
    coefficients: Tensor
    predicted_error: float
    measured_error: float
    is_definite: bool

    @property
    def error(self) -> float:
        """The larger of the two errors."""
        return max(self.predicted_error, self.measured_error)

    def spectrum(self) -> Tensor:
        """All coefficients, ``grid.shape``, frequencies in increasing order."""
        return self.grid.spectrum(self.coefficients)

    def __call__(self, r: Tensor) -> Tensor:
        """The sum of the series at differences ``(p, d)``, by its definition."""
        return evaluate_series(self.grid, self.coefficients, r)


def evaluate_series(grid: FourierGrid, coefficients: Tensor, r: Tensor) -> Tensor:
    """``sum_j c_j cos(w_j r)`` at differences ``(p, d)``. Cost: ``p`` times the number of coefficients."""
    weighted = coefficients * grid.multiplicity()
    total = torch.cos(r[:, :1] * grid.frequencies(0)) @ weighted.reshape(grid.modes[0] + 1, -1)
    total = total.reshape(len(r), *weighted.shape[1:])
    for c in range(1, grid.d):
        waves = torch.cos(r[:, c : c + 1] * grid.frequencies(c))
        total = torch.einsum("pj,pj...->p...", waves, total)
    return total


def fourier_series(
    function: DifferenceMap,
    extent: Sequence[float],
    *,
    tolerance: float,
    max_modes: float = MAX_MODES,
    definite: bool = False,
    random_state: int = 0,
) -> FourierSeries:
    """A series of as few modes as the tolerance allows.

    Args:
        function: differences ``(..., d)`` in float64 to values ``(...)``; even in every coordinate, d at most 3.
        extent: the largest difference wanted on each axis, in the units of the argument.
        tolerance: largest error of an entry as a share of ``function(0)``; at least 1e-13.
        max_modes: how many modes are allowed.
        definite: whether no coefficient may be negative: what is negative by round-off and less than the tolerance is
            set to 0; where more is, a longer period is tried.
        random_state: of the differences at which the error is measured.

    Raises:
        NoFourierSeries: the map is not even, or it takes too many modes; the message says how many.

    Source: cutoff as in Potts & Steidl, Fast summation at nonequispaced knots by NFFTs, SIAM J. Sci. Comput. 24 (2003);
    period and modes of decaying kernels as in Barnett, Greengard & Rachh, arXiv 2305.07487 (2023), but from numbers.

    >>> series = fourier_series(lambda r: torch.exp(-r.square().sum(-1) / 2.0), [3.0], tolerance=1e-6)
    >>> series.grid.shape, series.measured_error < 1e-6
    ((15,), True)
    """
    with torch.no_grad():
        _check_map(function, len(extent), extent)
        grids = fourier_grids(function, extent, tolerance=tolerance)
        if not grids:
            raise NoFourierSeries(
                f"the map is so rough or decays so slowly that {_FINEST} modes on an axis do not reach {tolerance:.0e}"
            )
        least = grids[0].n_modes
        for grid in grids:
            if grid.n_modes > max_modes:
                break
            series = _series(function, grid, tolerance, random_state)
            if series is not None and (series.is_definite or not definite):
                return series
    if least > max_modes:
        raise NoFourierSeries(f"{least:.1e} modes are needed for {tolerance:.0e}, {max_modes:.1e} are allowed", least)
    reached = "has no series with positive coefficients" if definite else "is not reached"
    raise NoFourierSeries(f"{tolerance:.0e} {reached} within {max_modes:.1e} modes")


def _series(function: DifferenceMap, grid: FourierGrid, tolerance: float, random_state: int) -> FourierSeries | None:
    """The series on a grid, a little finer if need be; None if that is not enough."""
    for _ in range(3):
        coefficients = grid.coefficients(function)
        origin = float(function(torch.zeros(1, grid.d, dtype=torch.float64)))
        negative = float((coefficients.clamp(max=0.0) * grid.multiplicity()).sum()) / origin
        definite = -negative <= 0.5 * tolerance
        if definite:
            coefficients = coefficients.clamp(min=0.0)
        measured = measure_error(function, grid, coefficients, random_state)
        if measured <= tolerance:
            predicted = grid.predicted_error(function) - (negative if definite else 0.0)
            return FourierSeries(grid, coefficients, predicted, measured, definite)
        modes = tuple(math.ceil(1.2 * m) + 1 for m in grid.modes)
        grid = replace(grid, modes=modes, samples=tuple(map(_samples, modes)))
    return None


def measure_error(function: DifferenceMap, grid: FourierGrid, coefficients: Tensor, random_state: int = 0) -> float:
    """The largest error of the series at random differences up to the extent, as a share of ``function(0)``."""
    draw = torch.Generator().manual_seed(random_state)
    extent = torch.tensor(grid.extent, dtype=torch.float64)
    # half of them near 0, where rough maps are hardest, half anywhere; none more than the modes make worth while
    count = int(max(20.0, min(_CHECKS, 1e8 / max(1, coefficients.numel()))))
    uniform = torch.rand(count, grid.d, dtype=torch.float64, generator=draw)
    near = uniform[: count // 2] ** 4
    r = torch.cat([torch.zeros(1, grid.d, dtype=torch.float64), near, uniform[count // 2 :]]) * extent
    corners = torch.cartesian_prod(*([torch.tensor([0.0, 1.0], dtype=torch.float64)] * grid.d)).reshape(-1, grid.d)
    r = torch.cat([r, corners * extent])
    expected = function(r)
    error = (evaluate_series(grid, coefficients, r) - expected).abs().max()
    return float(error / expected[0].abs())


def fourier_grids(function: DifferenceMap, extent: Sequence[float], *, tolerance: float) -> list[FourierGrid]:
    """Grids whose predicted error is within the tolerance, those of fewest modes first; without and with cutoffs."""
    d = len(extent)
    share = tolerance / (2.0 * d)
    profiles = [_Profile(function, d, c, a) for c, a in enumerate(extent)]
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
    profiles: list[_Profile], period: tuple[float, ...], steepness: float | None, share: float
) -> FourierGrid | None:
    modes = []
    for profile, P in zip(profiles, period, strict=True):
        m = profile.modes(P, steepness, share)
        if m is None:
            return None
        modes.append(m)
    extent = tuple(profile.extent for profile in profiles)
    return FourierGrid(extent, period, tuple(modes), tuple(map(_samples, modes)), steepness)


def _samples(m: int) -> int:
    """Samples of a period for modes up to m: aliases then come from beyond 2 m."""
    return even_smooth(3 * m + 4)


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


class _Profile:
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

    def spectrum(self, period: float, steepness: float | None, n: int) -> Tensor:
        """Coefficients of the frequencies ``0 .. n / 2`` of the periodic map, from n samples."""
        grid = FourierGrid((self.extent,), (period,), (n // 2,), (n,), steepness)
        return grid.coefficients(lambda r: self(r[..., 0].reshape(-1)).reshape(r.shape[:-1]))

    def tail(self, period: float, steepness: float | None, wanted: float) -> Callable[[int], float]:
        """m to the sum of the coefficients of all frequencies beyond m, which is what cutting there leaves out.

        Samples are doubled until the frequencies that they resolve sum up to all but a little of ``wanted``, or until
        octave after octave falls by the same factor: what is beyond then follows from that power law. Half of the
        frequencies are not looked at: aliases double them.
        """
        n, ratio = 64, 0.0
        while True:
            size = 2.0 * self.spectrum(period, steepness, n)[: n // 4 + 1].abs()
            last, before = float(size[n // 8 :].sum()), float(size[n // 16 : n // 8].sum())
            previous, ratio = ratio, last / before if before > 0.0 else 0.0
            settled = n >= 1024 and abs(ratio - previous) < 0.03 * ratio and ratio < 0.9
            if last <= max(0.02 * wanted, _ROUND_OFF) or settled or n >= _FINEST:
                break
            n *= 2
        ratio = min(ratio, 0.9)
        beyond = last * ratio / (1.0 - ratio) if last > _ROUND_OFF else 0.0
        sums = size.flip(0).cumsum(0).flip(0)

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
            if high > _FINEST:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            if tail(middle) + tail(2 * middle) > share:
                low = middle
            else:
                high = middle
        return high


def _check_map(function: DifferenceMap, d: int, extent: Sequence[float]) -> None:
    """That the map is defined for d coordinates and even in each."""
    if not 1 <= d <= 3:
        raise NoFourierSeries(f"points have {d} coordinates; a Fourier series serves 1 to 3")
    draw = torch.Generator().manual_seed(0)
    r = torch.rand(32, d, dtype=torch.float64, generator=draw) * torch.tensor(list(extent), dtype=torch.float64)
    values = function(r)
    for c in range(d):
        signs = torch.ones(d, dtype=torch.float64)
        signs[c] = -1.0
        if not torch.allclose(function(r * signs), values, rtol=1e-9, atol=1e-12):
            raise NoFourierSeries("the map is not an even function of each coordinate of a difference")
