"""The Fourier side of stationary kernels: spectral densities, and frequencies drawn from them.

One convention throughout: angular frequencies, in radians per unit of x, and no factor in front of the integral,

    k(x, y) = integral of S(w) cos(w . (x - y)) dw,   k(x, x) = integral of S,   S(w) = (2 pi)^-d integral of k cos.

A frequency is a fixed function of standard normal and uniform numbers. Whoever calls decides where those come from
(``draws.py``): independent ones, orthogonal blocks, or a quasi-random sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor


class Frequencies(NamedTuple):
    """Frequencies ``omega`` ``(n, d)``, each with its ``weight`` ``(n,)``; the mean of weight cos(omega . r) is k(r).

    Every weight is k(x, x); what is not a number about them is their graph, through which the gradient of the mean in
    hyperparameters that only the distribution knows (a scale within a sum, ``alpha``) is unbiased.
    """

    omega: Tensor
    weight: Tensor


class SpectralMeasure(Protocol):
    """The spectral measure of a stationary kernel of points with ``d`` columns; all numbers are float64."""

    @property
    def d(self) -> int:
        """Columns of the points."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of the standard normal matrices that :meth:`frequencies` needs."""

    @property
    def n_uniforms(self) -> int:
        """Columns of the uniform matrix that it needs."""

    def density(self, omega: Tensor) -> Tensor:
        """S(omega), ``(..., d) -> (...)``; infinite where it is. It integrates to k(x, x).

        Raises:
            TypeError: it has no density, or none in closed form.
        """

    def frequencies(self, normals: Sequence[Tensor], uniforms: Tensor) -> Frequencies:
        """Frequencies from standard normal matrices ``(n, width)`` and numbers in (0, 1), ``(n, n_uniforms)``."""


@dataclass(frozen=True)
class Atom:
    """All energy at frequency 0: a constant kernel."""

    mass: Tensor
    d: int
    widths: ClassVar[tuple[int, ...]] = ()
    n_uniforms: ClassVar[int] = 0

    def density(self, omega: Tensor) -> Tensor:
        """There is none."""
        raise TypeError("A constant kernel has all its energy at frequency 0, so it has no spectral density.")

    def frequencies(self, normals: Sequence[Tensor], uniforms: Tensor) -> Frequencies:
        """Zeros."""
        n = len(uniforms)
        return Frequencies(uniforms.new_zeros(n, self.d), self.mass.to(uniforms).expand(n))


@dataclass(frozen=True)
class Derived:
    """Base of the spectra that are made of one other, and draw with the numbers that it needs."""

    inner: SpectralMeasure

    @property
    def d(self) -> int:
        """Columns of the points."""
        return self.inner.d

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of the normal matrices."""
        return self.inner.widths

    @property
    def n_uniforms(self) -> int:
        """Columns of the uniform matrix."""
        return self.inner.n_uniforms


@dataclass(frozen=True)
class Multiple(Derived):
    """The spectrum of scale * kernel."""

    scale: Tensor

    def density(self, omega: Tensor) -> Tensor:
        """The scaled density."""
        return self.scale.to(omega) * self.inner.density(omega)

    def frequencies(self, normals: Sequence[Tensor], uniforms: Tensor) -> Frequencies:
        """The same frequencies, weighted."""
        omega, weight = self.inner.frequencies(normals, uniforms)
        return Frequencies(omega, weight * self.scale.to(weight))


@dataclass(frozen=True)
class Mixture:
    """The spectrum of a sum: each frequency is drawn from one part, in proportion to the parts' energy.

    The parts share the normal and uniform numbers, since each row is used by one of them; one uniform chooses.
    """

    parts: tuple[SpectralMeasure, ...]

    @property
    def d(self) -> int:
        """Columns of the points."""
        return self.parts[0].d

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of the normal matrices."""
        return tuple(max(group) for group in zip_longest(*(p.widths for p in self.parts), fillvalue=0))

    @property
    def n_uniforms(self) -> int:
        """Columns of the uniform matrix."""
        return 1 + max(p.n_uniforms for p in self.parts)

    def density(self, omega: Tensor) -> Tensor:
        """The sum of the densities."""
        return torch.stack([p.density(omega) for p in self.parts]).sum(0)

    def frequencies(self, normals: Sequence[Tensor], uniforms: Tensor) -> Frequencies:
        """Each row from one of the parts."""
        found = []
        for p in self.parts:
            own = [Z[:, :w] for Z, w in zip(normals, p.widths, strict=False)]
            found.append(p.frequencies(own, uniforms[:, 1 : 1 + p.n_uniforms]))
        mass = torch.stack([f.weight.mean() for f in found])
        share = (mass / mass.sum()).detach()
        chosen = torch.searchsorted(share.cumsum(0), uniforms[:, 0].contiguous()).clamp(max=len(found) - 1)
        rows = torch.arange(len(uniforms), device=uniforms.device)
        omega = torch.stack([f.omega for f in found])[chosen, rows]
        weight = torch.stack([f.weight for f in found])[chosen, rows] / share[chosen]
        return Frequencies(omega, weight)


@dataclass(frozen=True)
class Convolution:
    """The spectrum of a product of kernels: frequencies are sums of independent ones."""

    parts: tuple[SpectralMeasure, ...]

    @property
    def d(self) -> int:
        """Columns of the points."""
        return self.parts[0].d

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of the normal matrices."""
        return tuple(w for p in self.parts for w in p.widths)

    @property
    def n_uniforms(self) -> int:
        """Columns of the uniform matrix."""
        return sum(p.n_uniforms for p in self.parts)

    def density(self, omega: Tensor) -> Tensor:
        """Not in closed form."""
        raise TypeError(
            "The spectral density of a product of kernels is a convolution, which has no closed form here. "
            "sample_frequencies draws from it."
        )

    def frequencies(self, normals: Sequence[Tensor], uniforms: Tensor) -> Frequencies:
        """Sums of frequencies, products of weights."""
        omega, weight = uniforms.new_zeros(len(uniforms), self.d), uniforms.new_ones(len(uniforms))
        group = column = 0
        for p in self.parts:
            own = normals[group : group + len(p.widths)]
            found = p.frequencies(own, uniforms[:, column : column + p.n_uniforms])
            group, column = group + len(p.widths), column + p.n_uniforms
            omega, weight = omega + found.omega, weight * found.weight
        return Frequencies(omega, weight)


@dataclass(frozen=True)
class OfColumns(Derived):
    """The spectrum of a kernel of some columns only: frequency 0 along the others."""

    columns: tuple[int, ...]
    n_columns: int

    @property
    def d(self) -> int:
        """Columns of the points."""
        return self.n_columns

    def density(self, omega: Tensor) -> Tensor:
        """That of the inner kernel, where it sees every column once."""
        if sorted(self.columns) != list(range(self.d)):
            raise TypeError(
                f"A kernel of the columns {list(self.columns)} of {self.d} does not vary along the others, so it has "
                f"no spectral density. sample_frequencies draws from its spectrum."
            )
        return self.inner.density(omega[..., list(self.columns)])

    def frequencies(self, normals: Sequence[Tensor], uniforms: Tensor) -> Frequencies:
        """The inner frequencies in their columns; those of a column seen twice add up."""
        omega, weight = self.inner.frequencies(normals, uniforms)
        columns = torch.tensor(self.columns, device=omega.device)
        return Frequencies(omega.new_zeros(len(omega), self.d).index_add(1, columns, omega), weight)
