"""The spectra of waves: an envelope's spectrum moved to the wave's frequency, along each column."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mercer.kernels.spectral_measure import Derived, Frequencies

__all__ = ["Harmonics", "Modulated", "PlaneWave"]


@dataclass(frozen=True)
class Modulated(Derived):
    """A kernel times ``prod_j cos(2 pi mu_j (x_j - y_j))``: its spectrum, moved by plus or minus mu along each column.

    Args:
        inner: the spectrum of the kernel.
        moves: mu, ``(d,)``, in cycles per unit of the columns.
    """

    moves: Tensor

    @property
    def n_uniforms(self) -> int:
        """Columns of the uniform matrix."""
        return self.inner.n_uniforms + self.d

    def density(self, omega: Tensor) -> Tensor:
        """The mean over all signs; those of columns without a wave are one."""
        shift = 2.0 * math.pi * self.moves.to(omega)
        signs = [(1.0, -1.0) if float(s) else (1.0,) for s in shift.detach()]
        moved = [self.inner.density(omega + shift * omega.new_tensor(sign)) for sign in itertools.product(*signs)]
        return torch.stack(moved).mean(0)

    def frequencies(self, normals: Sequence[Tensor], uniforms: Tensor) -> Frequencies:
        """Frequencies of the envelope, moved by random signs of mu."""
        omega, weight = self.inner.frequencies(normals, uniforms[:, self.d :])
        sign = torch.where(uniforms[:, : self.d] < 0.5, -1.0, 1.0).to(omega)
        return Frequencies(omega + 2.0 * math.pi * sign * self.moves.to(omega), weight)


@dataclass(frozen=True)
class PlaneWave:
    """The two frequencies ``2 pi / p`` and ``-2 pi / p`` of a cosine of periods p ``(d,)``."""

    period: Tensor
    widths: ClassVar[tuple[int, ...]] = ()
    n_uniforms: ClassVar[int] = 0

    @property
    def d(self) -> int:
        """Columns of the points."""
        return len(self.period)

    def density(self, omega: Tensor) -> Tensor:
        """There is none."""
        raise TypeError("A cosine has all its energy at two frequencies, so it has no spectral density.")

    def frequencies(self, normals: Sequence[Tensor], uniforms: Tensor) -> Frequencies:
        """One of the two; a cosine of a difference does not see the sign."""
        n = len(uniforms)
        return Frequencies((2.0 * math.pi / self.period.to(uniforms)).expand(n, -1), uniforms.new_ones(n))


@dataclass(frozen=True)
class Harmonics:
    """A periodic kernel: whole multiples of ``2 pi / p`` along each column, with weights ``e^-a I_k(a)``, a = 1 / l^2.

    ``lengthscale`` and ``period`` are ``(d,)``. Source: Abramowitz & Stegun (1964), eq. 9.6.34.
    """

    lengthscale: Tensor
    period: Tensor
    widths: ClassVar[tuple[int, ...]] = ()

    @property
    def d(self) -> int:
        """Columns of the points."""
        return len(self.period)

    @property
    def n_uniforms(self) -> int:
        """One a column: which multiple."""
        return self.d

    def density(self, omega: Tensor) -> Tensor:
        """There is none."""
        raise TypeError("A periodic kernel has all its energy at multiples of 2 pi / period: it has no density.")

    def frequencies(self, normals: Sequence[Tensor], uniforms: Tensor) -> Frequencies:
        """Multiples drawn by their weights; the sign of one along a column matters where there are others."""
        from scipy.special import ive

        columns = []
        for j, scale in enumerate(self.lengthscale.detach().tolist()):
            a = scale**-2
            most = int(10.0 + 10.0 * math.sqrt(a) + 2.0 * a / (1.0 + a))  # beyond, the weights are below 1e-16
            order = torch.arange(-most, most + 1)
            weights = torch.from_numpy(ive(order.abs().numpy(), a)).to(uniforms)
            drawn = torch.searchsorted(weights.cumsum(0) / weights.sum(), uniforms[:, j].contiguous())
            columns.append(order.to(uniforms)[drawn.clamp(max=2 * most)])
        omega = 2.0 * math.pi * torch.stack(columns, 1) / self.period.to(uniforms)
        return Frequencies(omega, uniforms.new_ones(len(uniforms)))
