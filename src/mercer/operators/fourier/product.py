"""Products with a kernel matrix that is given as a Fourier series, and their gradients: three sums by NUFFT."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mercer.operators.fourier.nufft import NonuniformTransform
from mercer.operators.fourier.series import FourierSeries

__all__ = ["FourierProduct"]


class FourierProduct:
    """``K v = F_X (c * (F_Y* v))`` for ``K_ij = k(x_i - y_j)``; O(n + modes log modes) for each two columns of v.

    Args:
        series: of k, for all differences between left and right.
        left: ``(n, d)``, the rows' points, float32 or float64, which is also the precision of the transforms.
        right: ``(m, d)``, the columns' points; None for the same.
        tolerance: relative error of each transform.
    """

    def __init__(self, series: FourierSeries, left: Tensor, right: Tensor | None, *, tolerance: float) -> None:
        self.series = series
        both = [left] if right is None else [left, right]
        low = torch.stack([points.amin(0) for points in both if len(points)] or [left.new_zeros(left.shape[1])]).amin(0)
        high = torch.stack([points.amax(0) for points in both if len(points)] or [low]).amax(0)
        middle = (low + high) / 2.0
        grid = series.grid
        self.rows = NonuniformTransform(left - middle, grid.period, grid.modes, tolerance=tolerance)
        self.columns = (
            self.rows
            if right is None
            else NonuniformTransform(right - middle, grid.period, grid.modes, tolerance=tolerance)
        )
        self.symmetric = right is None
        self.spectrum = series.spectrum().to(self.rows.dtype)

    def product(self, v: Tensor) -> Tensor:
        """``K v`` for v ``(m, t)`` real; two columns travel as the real and the imaginary part of one."""
        modes = self.columns.adjoint(_pair(v)).mul_(self.spectrum)
        return _unpair(self.rows.forward(modes), v.shape[1]).to(v.dtype)

    def by_coefficients(self, u: Tensor, v: Tensor) -> Tensor:
        """The gradient of ``sum(u * (K v))`` by the coefficients of non-negative frequencies, float64."""
        left, right = self.rows.adjoint(_pair(u)), self.columns.adjoint(_pair(v))
        by_mode = (left.conj() * right).real.to(torch.float64).sum(0)
        # The imaginary cross terms of a pair have opposite signs at opposite frequencies: folding removes them.
        for c, m in enumerate(self.series.grid.modes):
            upper, lower = by_mode.narrow(c, m, m + 1), by_mode.narrow(c, 0, m).flip(c)
            by_mode = torch.cat([upper.narrow(c, 0, 1), upper.narrow(c, 1, m) + lower], c)
        return by_mode

    def by_points(
        self, u: Tensor, v: Tensor, slope: Callable[[Tensor], Tensor], axis: int, *, rows: bool, columns: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradient of ``sum(u * (K v))`` by one coordinate of the rows' points and of the columns'.

        Args:
            slope: the derivative of k by that coordinate, at differences ``(..., d)``.
            axis: the coordinate.
            rows, columns: which are wanted. With the same points on both sides, the answers are to be added.

        Returns:
            ``(n,)`` and ``(m,)``, None where not wanted.
        """
        with torch.no_grad():
            odd = self.series.grid.coefficients(slope, odd=axis)
            spectrum = 1j * self.series.grid.spectrum(odd, odd=axis).to(self.rows.dtype)
        U, V = _pair(u), _pair(v)
        by_row = by_column = None
        if rows:
            moved = self.rows.forward(self.columns.adjoint(V) * spectrum)
            by_row = (U.conj() * moved).real.sum(1).to(u.dtype)
        if columns:
            moved = self.columns.forward(self.rows.adjoint(U) * spectrum)
            by_column = (V.conj() * moved).real.sum(1).to(v.dtype)
        return by_row, by_column


def _pair(v: Tensor) -> Tensor:
    """Columns 0, 1 of ``(n, t)`` as one complex column, and so on; an odd last one has no imaginary part."""
    if v.shape[1] == 1:
        return torch.complex(v, torch.zeros_like(v))
    if v.shape[1] % 2:
        v = torch.cat([v, torch.zeros_like(v[:, :1])], 1)
    return torch.complex(v[:, 0::2].contiguous(), v[:, 1::2].contiguous())


def _unpair(z: Tensor, t: int) -> Tensor:
    if t == 1:
        return z.real.contiguous()
    return torch.stack([z.real, z.imag], -1).flatten(1)[:, :t]
