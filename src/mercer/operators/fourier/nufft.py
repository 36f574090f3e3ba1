"""Non-uniform Fourier transforms between points and modes, by finufft: planned once, used many times."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mercer.errors import MissingExtra

__all__ = ["NonuniformTransform"]

_LEAST = {torch.float32: 1e-6, torch.float64: 1e-14}  # tolerances below which finufft warns of round-off
_MOST_COLUMNS = 8  # of one call; more at a time only take more memory
# Bytes of the fine grid up to which points in any order are quicker than sorted: it stays in cache, and values are read
# in turn. Half the time for a million points in 2-D and 54 x 54, one Zen 3 core.
_UNSORTED = 1 << 22


class NonuniformTransform:
    """Sums over points and over modes: ``F`` with ``F_pj = exp(i w_j x_p)`` and its adjoint, by non-uniform FFT.

    Modes are frequencies ``-m .. m`` times ``2 pi / period`` on each axis, in increasing order.

    Args:
        points: ``(n, d)``, d from 1 to 3, float32 or float64.
        period: by axis, in the units of the points.
        modes: m, by axis.
        tolerance: relative error of a transform; finufft reaches 1e-6 in float32 and 1e-14 in float64.

    Raises:
        MissingExtra: without finufft.

    Cost: O(n w^d + N log N) for N modes, w = -log10(tolerance) + 1; planning sorts the points, about one transform.
    Source: Barnett, Magland & af Klinteberg, A parallel non-uniform fast Fourier transform library based on an
    exponential of semicircle kernel, SIAM J. Sci. Comput. 41 (2019).

    >>> transform = NonuniformTransform(torch.zeros(3, 1), (1.0,), (2,), tolerance=1e-6)
    >>> transform.adjoint(torch.ones(3, 1)).real.round(decimals=3)
    tensor([[3., 3., 3., 3., 3.]])
    """

    def __init__(
        self, points: Tensor, period: tuple[float, ...], modes: tuple[int, ...], *, tolerance: float = 1e-6
    ) -> None:
        self.n, self.d = points.shape
        self.dtype = points.dtype if points.dtype == torch.float64 else torch.float32
        self.shape = tuple(2 * m + 1 for m in modes)
        self.tolerance = max(tolerance, _LEAST[self.dtype])
        # Turns in float64: whole ones change nothing, and finufft wants less than one and a half.
        turns = points.detach().to(torch.float64) / torch.tensor(period, dtype=torch.float64)
        angles = (turns - turns.round()) * (2.0 * math.pi)
        # Sums over points are formed in float64: in float32, a million ones lose four digits.
        self._angles = {
            1: angles.mT.contiguous().numpy(),
            2: angles.to(self.dtype).mT.contiguous().numpy(),
        }
        self._plans: dict[tuple[int, int], Any] = {}

    @property
    def complex(self) -> torch.dtype:
        """The dtype of coefficients."""
        return torch.complex128 if self.dtype == torch.float64 else torch.complex64

    def adjoint(self, v: Tensor) -> Tensor:
        """``F* v``: ``sum_p v_p exp(-i w_j x_p)`` for v ``(n, t)``, real or complex; gives ``(t, *modes)``."""
        columns = v.detach().mT.to(torch.complex128).contiguous()
        out = torch.empty(len(columns), *self.shape, dtype=torch.complex128)
        self._execute(1, columns, out)
        return out.to(self.complex)

    def forward(self, coefficients: Tensor) -> Tensor:
        """``F c``: ``sum_j c_j exp(i w_j x_p)`` for c ``(t, *modes)``, complex; gives ``(n, t)``."""
        columns = coefficients.detach().to(self.complex).contiguous()
        out = torch.empty(len(columns), self.n, dtype=self.complex)
        self._execute(2, columns, out)
        return out.mT

    def _execute(self, kind: int, source: Tensor, out: Tensor) -> None:
        if not self.n or not len(source):
            out.zero_()
            return
        for j in range(0, len(source), _MOST_COLUMNS):
            count = min(_MOST_COLUMNS, len(source) - j)
            # finufft takes one transform without its leading dimension
            index = j if count == 1 else slice(j, j + count)
            self._plan(kind, count).execute(source[index].numpy(), out[index].numpy())

    def _plan(self, kind: int, count: int) -> Any:
        key = (kind, count)
        if key not in self._plans:
            self._plans[key] = self._make(kind, count)
        return self._plans[key]

    def _make(self, kind: int, count: int) -> Any:
        finufft = _finufft()
        angles, threads = self._angles[kind], torch.get_num_threads()
        fine_bytes = 2 * angles.itemsize * math.prod(2 * m for m in self.shape)
        in_order = {"spread_sort": 0, "spread_max_sp_size": math.ceil(self.n / threads)}  # one grid a thread
        plan = finufft.Plan(
            kind,
            self.shape,
            n_trans=count,
            eps=self.tolerance,
            isign=-1 if kind == 1 else 1,
            dtype="complex128" if angles.itemsize == 8 else "complex64",
            nthreads=threads,
            upsampfac=2.0,
            showwarn=0,
            **(in_order if fine_bytes <= _UNSORTED else {}),
        )
        plan.setpts(*angles)
        return plan


def _finufft() -> Any:
    try:
        import finufft
    except ImportError as error:
        raise MissingExtra("finufft is needed for plan='fourier': pip install 'mercer[fourier]'") from error
    return finufft
