"""The Gram matrix of Fourier features by FFT: sums over points are a Toeplitz matrix in the modes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mercer.operators.fourier.features import FourierBasis
from mercer.operators.fourier.grid import even_smooth

__all__ = ["ToeplitzGram"]

_BLOCK = 1 << 24  # entries of a grid transformed at a time


class ToeplitzGram:
    """``G_ab = sum_x w(x) f_a(x) f_b(x)`` for real functions f of a basis, never stored.

    In complex modes the sum knows only their difference: ``sum_x w(x) exp(-i (w_j - w_k) x)``, a Toeplitz matrix of d
    levels. Embedded in a circulant one, a product is two real FFTs.

    Args:
        basis: the functions, M of them.
        sums: ``sum_x w(x) exp(-i k x)`` on the doubled grid of modes, from :func:`mode_sums`.

    Cost: a product takes two real FFTs of about ``(4 m + 1)^d`` points for each column.
    Source: Greengard, Rachh & Barnett, arXiv 2210.10210 (2022), section 3.
    """

    def __init__(self, basis: FourierBasis, sums: Tensor) -> None:
        self.basis, self.sums = basis, sums
        self.axes = tuple(range(1, basis.grid.d + 1))
        self.sizes = tuple(even_smooth(4 * m + 1) for m in basis.grid.modes)
        wrapped = sums
        for c, (m, size) in enumerate(zip(basis.grid.modes, self.sizes, strict=True)):
            shape = list(wrapped.shape)
            shape[c] = size - (4 * m + 1)
            upper, lower = wrapped.narrow(c, 2 * m, 2 * m + 1), wrapped.narrow(c, 0, 2 * m)
            wrapped = torch.cat([upper, wrapped.new_zeros(shape), lower], c)
        # Sums over real weights: the transform is real. It is the density of points, smeared over the modes.
        self.density = torch.fft.ifftn(wrapped, norm="forward").real.contiguous()
        last = self.sizes[-1] // 2 + 1
        self.half = (*self.sizes[:-1], last)
        self._position = self._flat(basis.index)
        # Modes whose last coordinate is 0 have their opposite in the half spectrum too.
        self._flatlying = (basis.index[:, -1] == 0).nonzero().squeeze(1)
        self._opposite = self._flat(-basis.index[self._flatlying])

    def _flat(self, index: Tensor) -> Tensor:
        position = torch.zeros(len(index), dtype=torch.int64)
        for c, (size, length) in enumerate(zip(self.half, self.sizes, strict=True)):
            position = position * size + index[:, c] % length
        return position

    @property
    def total(self) -> float:
        """``sum_x w(x)``."""
        return float(self.sums[tuple(2 * m for m in self.basis.grid.modes)].real)

    def product(self, w: Tensor) -> Tensor:
        """``G w`` for w ``(M, t)``."""
        step = max(1, _BLOCK // math.prod(self.sizes))
        return torch.cat([self._product(part) for part in w.split(step, 1)], 1) if w.shape[1] else w.clone()

    def _product(self, w: Tensor) -> Tensor:
        coefficients = 0.5 * self.basis.split(w).mT  # (t, p); the function is twice the real part of their sum
        modes = coefficients.new_zeros(len(coefficients), math.prod(self.half))
        modes[:, self._position] = coefficients
        modes.index_add_(1, self._opposite, coefficients[:, self._flatlying].conj())
        values = torch.fft.irfftn(modes.reshape(-1, *self.half), self.sizes, dim=self.axes, norm="forward")
        sums = torch.fft.rfftn(values.mul_(self.density), dim=self.axes, norm="forward").flatten(1)
        return self.basis.join(sums[:, self._position].mT)

    def diagonal(self) -> Tensor:
        """``G_aa``, ``(M,)``."""
        flat, index, first = self.sums.flatten(), self.basis.index, int(self.basis.has_constant)
        double = flat[self.basis.flat(2 * index, 2)].real
        cosines, sines = self.total + double, (self.total - double)[first:]
        if first:
            cosines[0] = self.total
        return torch.cat([cosines, sines])

    def head(self, count: int) -> tuple[Tensor, Tensor]:
        """The weights of the first ``count`` modes, and the block of G that they make, stored."""
        p, first = len(self.basis.index), int(self.basis.has_constant)
        position = torch.cat([torch.arange(count), torch.arange(p, p + count - first)])
        return position, self.basis.gram(self.sums, count)
