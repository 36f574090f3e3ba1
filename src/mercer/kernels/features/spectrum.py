"""Functions of one number as averages of waves: what random features of a layer are drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mercer.arrays import as_tensor, check_finite

__all__ = ["SPECTRA", "CosineSpectrum", "GaussianSpectrum", "GridSpectrum", "SincSpectrum", "SineSpectrum", "Waves"]


class Waves(NamedTuple):
    """``amplitude * cos(frequency * z + phase)``, whose mean is the function; each ``(m,)``, float64."""

    frequency: Tensor
    amplitude: Tensor
    phase: Tensor


class WaveSpectrum:
    """Base: a real function f as ``f(z) = E[a cos(w z + p)]`` of random w >= 0, a, p.

    With the transform F in ``f(z) = int F(xi) exp(2 pi i xi z) dxi`` these are ``w = 2 pi xi``, ``a = 2 |F| / density``
    and the argument of F, for xi > 0: a frequency and its negative are conjugate, and one wave stands for both.
    """

    def draw(self, m: int, source: torch.Generator) -> Waves:
        """m independent waves."""
        raise NotImplementedError

    def function(self, z: Tensor) -> Tensor:
        """f itself, elementwise."""
        raise NotImplementedError


@dataclass(frozen=True)
class CosineSpectrum(WaveSpectrum):
    """cos(z - shift): one frequency, xi = 1 / (2 pi)."""

    shift: float = 0.0

    def draw(self, m: int, source: torch.Generator) -> Waves:
        one = torch.ones(m, dtype=torch.float64)
        return Waves(one, one, -self.shift * one)

    def function(self, z: Tensor) -> Tensor:
        return torch.cos(z - self.shift)


@dataclass(frozen=True)
class SineSpectrum(WaveSpectrum):
    """sin(z)."""

    def draw(self, m: int, source: torch.Generator) -> Waves:
        return CosineSpectrum(math.pi / 2.0).draw(m, source)

    def function(self, z: Tensor) -> Tensor:
        return torch.sin(z)


@dataclass(frozen=True)
class GaussianSpectrum(WaveSpectrum):
    """exp(-z^2 / 2): xi is normal of variance 1 / (4 pi^2)."""

    def draw(self, m: int, source: torch.Generator) -> Waves:
        one = torch.ones(m, dtype=torch.float64)
        return Waves(torch.randn(m, dtype=torch.float64, generator=source).abs(), one, 0.0 * one)

    def function(self, z: Tensor) -> Tensor:
        return torch.exp(-0.5 * z.square())


@dataclass(frozen=True)
class SincSpectrum(WaveSpectrum):
    """sin(pi z) / (pi z) to the first power (xi uniform up to 1/2) or the second (a triangle up to 1)."""

    power: int = 1

    def draw(self, m: int, source: torch.Generator) -> Waves:
        one = torch.ones(m, dtype=torch.float64)
        u = torch.rand(m, dtype=torch.float64, generator=source)
        xi = 0.5 * u if self.power == 1 else 1.0 - (1.0 - u).sqrt()
        return Waves(2.0 * math.pi * xi, one, 0.0 * one)

    def function(self, z: Tensor) -> Tensor:
        return torch.sinc(z) ** self.power


class GridSpectrum(WaveSpectrum):
    r"""Any real function whose Fourier transform is known on a grid: "custom".

    .. math:: f(z) = 2 \, \mathrm{Re} \int_0^\infty F(\xi) \, e^{2 \pi i \xi z} \, d\xi

    Frequencies are drawn by the inverse of the distribution function of ``|F|``, which is constant between two points
    of the grid, as F is: the mean of F at both.

    Args:
        xi: ``(k,)``, increasing, >= 0; beyond them F is 0.
        F: ``(k,)``, real or complex; that of negative xi is its conjugate.

    Raises:
        ValueError: shapes that differ, xi that do not increase from 0 on, or an F that is 0.

    Accuracy: of the order of the squared step of the grid.

    >>> xi = torch.linspace(0.0, 1.0, 401, dtype=torch.float64)
    >>> box = GridSpectrum(xi, (xi <= 0.5).double())  # of sin(pi z) / (pi z), but for half a step of the grid
    >>> box.function(torch.tensor([0.0, 0.5], dtype=torch.float64))
    tensor([1.0025, 0.6366], dtype=torch.float64)
    """

    def __init__(self, xi: Any, F: Any) -> None:
        self.xi = as_tensor(xi, dtype=torch.float64)
        self.F = as_tensor(F).to(torch.complex128)
        check_finite(self.xi, "xi")
        check_finite(torch.view_as_real(self.F), "F")
        if self.xi.dim() != 1 or self.xi.shape != self.F.shape or len(self.xi) < 2:
            raise ValueError(
                f"GridSpectrum: xi and F must be two rows of at least 2 numbers, not {tuple(self.xi.shape)} and "
                f"{tuple(self.F.shape)}."
            )
        if float(self.xi[0]) < 0.0 or not bool((self.xi.diff() > 0.0).all()):
            raise ValueError("GridSpectrum: xi must increase, from 0 on; F at -xi is the conjugate of F at xi.")
        self.cells = 0.5 * (self.F[1:] + self.F[:-1])
        self.mass = 2.0 * self.cells.abs() * self.xi.diff()
        if not float(self.mass.sum()) > 0.0:
            raise ValueError("GridSpectrum: F is 0 everywhere, so there is nothing to draw.")

    def draw(self, m: int, source: torch.Generator) -> Waves:
        """m independent waves."""
        cell = torch.multinomial(self.mass, m, replacement=True, generator=source)
        within = torch.rand(m, dtype=torch.float64, generator=source)
        xi = self.xi[cell] + within * self.xi.diff()[cell]
        amplitude = self.mass.sum().expand(m).clone()
        return Waves(2.0 * math.pi * xi, amplitude, self.cells[cell].angle())

    def function(self, z: Tensor) -> Tensor:
        """f by the same cells: exact integrals of a piecewise constant F."""
        wide = z.to(torch.float64)[..., None]
        middle, half = 0.5 * (self.xi[1:] + self.xi[:-1]), 0.5 * self.xi.diff()
        wave = torch.cos(2.0 * math.pi * middle * wide + self.cells.angle()) * torch.sinc(2.0 * half * wide)
        return (wave @ self.mass).to(z.dtype)


SPECTRA: dict[str, Callable[[], WaveSpectrum]] = {
    "cos": CosineSpectrum,
    "sin": SineSpectrum,
    "gaussian": GaussianSpectrum,
    "sinc": SincSpectrum,
    "sinc2": lambda: SincSpectrum(2),
}
