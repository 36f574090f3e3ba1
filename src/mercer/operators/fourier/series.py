"""Fourier series of functions of a difference: coefficients by FFT, with an error that is known before it is used.

A kernel k(x - y) on data of bounded extent is wanted for differences up to that extent only. Beyond, it may be changed
into a periodic function, whose Fourier series then stands for the kernel: ``k(x - y) = sum_j c_j exp(i w_j (x - y))``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.operators.fourier.grid import DifferenceMap, FourierGrid
from mercer.operators.fourier.profile import FINEST, fourier_grids, predicted_error

__all__ = ["MAX_MODES", "FourierSeries", "NoFourierSeries", "evaluate_series", "fourier_series", "measure_error"]

MAX_MODES = 2e7  # 320 MB of complex128 a transform, and as much again inside the non-uniform FFT
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
                f"the map is so rough or decays so slowly that {FINEST} modes on an axis do not reach {tolerance:.0e}"
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
            predicted = predicted_error(grid, function) - (negative if definite else 0.0)
            return FourierSeries(grid, coefficients, predicted, measured, definite)
        grid = grid.refined()
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
