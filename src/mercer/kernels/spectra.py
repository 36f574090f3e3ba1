"""The spectra of single stationary kernels: Gaussian, Student t, Gamma mixture, Cauchy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.kernels.spectral_measure import Frequencies
from mercer.operators.maps import matern

# Frequencies beyond this many waves in a lengthscale turn every difference that float64 holds into a random phase.
FASTEST = 1e15


def one_a_column(lengthscale: Tensor, d: int) -> Tensor:
    """The lengthscales ``(d,)``.

    Raises:
        ShapeError: a number of them that is neither 1 nor d, or a batch of them.
    """
    if lengthscale.dim() > 1 or (lengthscale.dim() == 1 and lengthscale.shape[0] not in (1, d)):
        raise ShapeError(
            f"lengthscale has shape {tuple(lengthscale.shape)}, but a spectrum of points with {d} columns needs one "
            f"value, or {d}."
        )
    return lengthscale.expand(d)


@dataclass(frozen=True)
class Radial:
    """Base of the spectra of kernels of |x - y|_2 in lengthscales: normal vectors times a random radius."""

    lengthscale: Tensor
    d: int
    n_uniforms: ClassVar[int] = 0

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of the normal matrices."""
        return (self.d,)

    def radius(self, uniforms: Tensor) -> tuple[Tensor | float, Tensor]:
        """What multiplies a standard normal vector, and the weight ``(n,)``."""
        raise NotImplementedError

    def profile(self, q: Tensor) -> Tensor:
        """The density at squared norm q of frequencies per lengthscale."""
        raise NotImplementedError

    def density(self, omega: Tensor) -> Tensor:
        """The profile of the scaled norm."""
        scale = one_a_column(self.lengthscale, self.d).to(omega)
        return self.profile((omega * scale).square().sum(-1)) * scale.log().sum().exp()

    def frequencies(self, normals: Sequence[Tensor], uniforms: Tensor) -> Frequencies:
        """Normal vectors, stretched."""
        radius, weight = self.radius(uniforms)
        return Frequencies(normals[0] * radius / one_a_column(self.lengthscale, self.d).to(normals[0]), weight)


class Gaussian(Radial):
    """RBF: normal frequencies."""

    def radius(self, uniforms: Tensor) -> tuple[Tensor | float, Tensor]:
        """1."""
        return 1.0, uniforms.new_ones(len(uniforms))

    def profile(self, q: Tensor) -> Tensor:
        """The normal density."""
        return torch.exp(-0.5 * q - 0.5 * self.d * math.log(2.0 * math.pi))


@dataclass(frozen=True)
class StudentT(Radial):
    """Matern: a multivariate Student t distribution with 2 nu degrees of freedom."""

    nu: float
    n_uniforms: ClassVar[int] = 1

    def radius(self, uniforms: Tensor) -> tuple[Tensor | float, Tensor]:
        """g^(-1/2) for g of a Gamma distribution with shape and rate nu."""
        g = gamma_quantile(uniforms, self.nu) / self.nu
        return g.rsqrt().clamp(max=FASTEST), uniforms.new_ones(len(uniforms))

    def profile(self, q: Tensor) -> Tensor:
        """The density of the t distribution."""
        half = self.d / 2.0
        front = math.lgamma(self.nu + half) - math.lgamma(self.nu) - half * math.log(2.0 * math.pi * self.nu)
        return torch.exp(front - (self.nu + half) * torch.log1p(q / (2.0 * self.nu)))


@dataclass(frozen=True)
class GammaMixture(Radial):
    """Rational quadratic: normal frequencies whose variance has a Gamma distribution of shape and rate alpha."""

    alpha: Tensor
    n_uniforms: ClassVar[int] = 1

    def radius(self, uniforms: Tensor) -> tuple[Tensor | float, Tensor]:
        """Square roots of the variances; the weight carries the gradient of their log density in alpha."""
        alpha = self.alpha.to(uniforms)
        g = (gamma_quantile(uniforms, float(alpha.detach())) / float(alpha.detach())).clamp(min=1e-300)
        log_density = alpha * alpha.log() - torch.lgamma(alpha) + (alpha - 1.0) * g.log() - alpha * g
        return g.sqrt(), torch.exp(log_density - log_density.detach()).squeeze(-1)

    def profile(self, q: Tensor) -> Tensor:
        """The mixture in closed form: a Bessel function of order alpha - d / 2; infinite at 0 if that is not > 0."""
        alpha = self.alpha.to(q)
        front = alpha * alpha.log() - torch.lgamma(alpha) - 0.5 * self.d * math.log(2.0 * math.pi)
        order = alpha - 0.5 * self.d
        p = float(order.detach())
        if p == 0.0:
            return torch.exp(front) * 2.0 * bessel_0((2.0 * alpha * q).sqrt())
        # z^p K_p(z) is the Matern correlation up to a factor, finite at 0 and of full accuracy everywhere.
        correlation = matern(alpha * q / abs(p), value=abs(p))
        if p > 0.0:
            return torch.exp(front + torch.lgamma(order) - p * alpha.log()) * correlation
        return torch.exp(front + torch.lgamma(-order) - order * math.log(2.0)) * correlation * q**p


@dataclass(frozen=True)
class CauchyAxes:
    """Laplacian: an independent Cauchy distribution along every axis, a ratio of two normal numbers."""

    lengthscale: Tensor
    d: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of the normal matrices."""
        return (self.d,)

    @property
    def n_uniforms(self) -> int:
        """Columns of the uniform matrix."""
        return self.d

    def density(self, omega: Tensor) -> Tensor:
        """The product of the densities of the axes."""
        scale = one_a_column(self.lengthscale, self.d).to(omega)
        return (scale / (math.pi * (1.0 + (omega * scale).square()))).log().sum(-1).exp()

    def frequencies(self, normals: Sequence[Tensor], uniforms: Tensor) -> Frequencies:
        """Normal numbers divided by the size of others."""
        other = torch.special.ndtri(0.5 * (1.0 + uniforms))  # |normal|
        omega = (normals[0] / other).clamp(-FASTEST, FASTEST)
        scale = one_a_column(self.lengthscale, self.d).to(omega)
        return Frequencies(omega / scale, uniforms.new_ones(len(uniforms)))


def gamma_quantile(uniforms: Tensor, shape: float) -> Tensor:
    """Quantiles of the Gamma distribution with rate 1."""
    from scipy.special import gammaincinv

    values = np.asarray(gammaincinv(shape, uniforms.detach().cpu().double().numpy()))
    return torch.from_numpy(values).to(uniforms)


def bessel_0(z: Tensor) -> Tensor:
    """K_0, infinite at 0; its derivative is -K_1, of first order only."""
    from scipy.special import k0, k1

    at = z.detach().cpu().double().numpy()
    value, slope = (torch.from_numpy(np.asarray(f(at))).to(z) for f in (k0, k1))
    return value - torch.where(z > 0.0, slope * (z - z.detach()), 0.0)
