"""How a response depends on a latent function: classes, counts, heavy tails; one log density gives the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from mercer.learn.covariance import Array

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Gaussian",
    "Likelihood",
    "NegativeBinomial",
    "Poisson",
    "StudentT",
    "likelihood",
]


@dataclass(frozen=True)
class Likelihood:
    """``log p(y | f)``, elementwise, with positive parameters whose logarithms can be learnt.

    Attributes:
        log_parameters: natural logarithms of the parameters in the order of ``names``, ``(p,)``, float64.
    """

    log_parameters: Tensor
    name: ClassVar[str] = ""
    names: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[tuple[float, ...]] = ()
    bounds: ClassVar[tuple[tuple[float, float], ...]] = ()
    is_count: ClassVar[bool] = False
    curvature_depends_on_f: ClassVar[bool] = True

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters by name."""
        return dict(zip(self.names, self.log_parameters.detach().exp().tolist(), strict=True))

    def log_density(self, y: Tensor, f: Tensor) -> Tensor:
        """Of each row; differentiable in f and in the parameters."""
        raise NotImplementedError

    def slopes(self, y: Tensor, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """First, second and third derivative of the log density by f; with the graph of the parameters."""
        f = f.detach().requires_grad_(True)
        with torch.enable_grad():
            (first,) = torch.autograd.grad(self.log_density(y, f).sum(), f, create_graph=True)
            (second,) = torch.autograd.grad(first.sum(), f, create_graph=True)
            (third,) = torch.autograd.grad(second.sum(), f, create_graph=True)
        return first, second, third

    def curvature(self, y: Tensor, f: Tensor) -> Tensor:
        """What stands for minus the second derivative in Laplace's approximation; >= 0."""
        return -self.slopes(y, f)[1]

    def step_curvature(self, y: Tensor, f: Tensor, second: Tensor) -> Tensor:
        """What Newton's steps take for minus the second derivative: >= 0, so that every step goes uphill."""
        return (-second).clamp(min=0.0)

    def response_moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of y where f is Gaussian."""
        raise NotImplementedError

    def expected_log_density(self, y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """``E log p(y | f)`` for ``f ~ N(mean, variance)``: Gauss-Hermite quadrature unless there is a closed form."""
        nodes, weights = gauss_hermite(mean)
        return (self.log_density(y[..., None], mean[..., None] + variance.sqrt()[..., None] * nodes) * weights).sum(-1)

    def log_predictive_density(self, y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """``log E p(y | f)`` for ``f ~ N(mean, variance)``."""
        nodes, weights = gauss_hermite(mean)
        values = self.log_density(y[..., None], mean[..., None] + variance.sqrt()[..., None] * nodes)
        return torch.logsumexp(values + weights.log(), -1)

    def distribution(self, f: Array) -> Any:
        """The distribution of y given f, of scipy, frozen."""
        raise NotImplementedError

    def check(self, y: Tensor) -> None:
        """Raise where y cannot be such a response."""


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Classes -1 and 1: ``p(y | f) = 1 / (1 + exp(-y f))``."""

    name = "bernoulli"

    def log_density(self, y: Tensor, f: Tensor) -> Tensor:
        """Stable for any f."""
        return logsigmoid(y * f)

    def slopes(self, y: Tensor, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """In closed form, which keeps its digits where f is large."""
        p, q = torch.sigmoid(f), torch.sigmoid(-f)
        return y * torch.sigmoid(-y * f), -p * q, -p * q * (q - p)


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """``y = f + noise``; its parameter is the variance of the noise."""

    name = "gaussian"
    names = ("noise",)
    defaults = (0.1,)
    bounds = ((1e-6, 1e2),)
    curvature_depends_on_f = False

    def log_density(self, y: Tensor, f: Tensor) -> Tensor:
        """Of a normal distribution."""
        log_noise = self.log_parameters[0]
        return -0.5 * ((y - f).square() * (-log_noise).exp() + log_noise + math.log(2.0 * math.pi))

    def slopes(self, y: Tensor, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """In closed form."""
        precision = (-self.log_parameters[0]).exp()
        return (y - f) * precision, -precision.expand(f.shape), torch.zeros_like(f)

    def expected_log_density(self, y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """In closed form."""
        return self.log_density(y, mean) - 0.5 * variance * (-self.log_parameters[0]).exp()

    def response_moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """The noise is added."""
        return mean, variance + self.log_parameters[0].exp()

    def distribution(self, f: Array) -> Any:
        """Normal."""
        return stats.norm(f, math.exp(0.5 * float(self.log_parameters[0])))


@dataclass(frozen=True)
class StudentT(Likelihood):
    """``y = f + scale * t(df)``: robust against outliers. Not log-concave, so Laplace's approximation uses the Fisher
    information, ``(df + 1) / ((df + 3) scale^2)``, in place of the second derivative.

    Source: Hartmann & Vanhatalo, Laplace approximation and natural gradient for Gaussian process regression with
    heteroscedastic Student-t model (2019).
    """

    name = "student_t"
    names = ("scale", "df")
    defaults = (0.3, 4.0)
    bounds = ((1e-3, 1e1), (1.0, 1e2))
    curvature_depends_on_f = False

    def log_density(self, y: Tensor, f: Tensor) -> Tensor:
        """Of a t distribution."""
        log_scale, df = self.log_parameters[0], self.log_parameters[1].exp()
        constant = torch.lgamma(0.5 * (df + 1.0)) - torch.lgamma(0.5 * df) - 0.5 * (df * math.pi).log() - log_scale
        return constant - 0.5 * (df + 1.0) * torch.log1p((y - f).square() / (df * (2.0 * log_scale).exp()))

    def curvature(self, y: Tensor, f: Tensor) -> Tensor:
        """The Fisher information."""
        df = self.log_parameters[1].exp()
        return ((df + 1.0) / (df + 3.0) * (-2.0 * self.log_parameters[0]).exp()).expand(f.shape)

    def step_curvature(self, y: Tensor, f: Tensor, second: Tensor) -> Tensor:
        """Where the density is not log-concave, the weights of the EM algorithm, whose steps always go uphill."""
        scale, df = self.log_parameters.detach().exp()
        return torch.where(second < 0.0, -second, (df + 1.0) / (df * scale.square() + (y - f).square()))

    def response_moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """The variance is infinite up to 2 degrees of freedom."""
        scale, df = self.log_parameters.exp()
        return mean, variance + (scale.square() * df / (df - 2.0) if float(df) > 2.0 else math.inf)

    def distribution(self, f: Array) -> Any:
        """Student's t."""
        scale, df = self.log_parameters.exp().tolist()
        return stats.t(df, f, scale)


class _Count(Likelihood):
    """Counts whose mean is ``exp(f)``."""

    is_count = True

    def check(self, y: Tensor) -> None:
        """Whole numbers >= 0."""
        if bool((y < 0).any()):
            raise ValueError(
                f"likelihood={self.name!r} is of counts, but {int((y < 0).sum())} of {len(y)} targets are negative. "
                f"Use likelihood='student_t' or GaussianProcessRegressor for numbers of any sign."
            )
        if bool((y != y.round()).any()):
            raise ValueError(
                f"likelihood={self.name!r} is of counts, but {int((y != y.round()).sum())} of {len(y)} targets are no "
                f"whole numbers. Round them, give counts instead of rates, or use likelihood='student_t'."
            )


@dataclass(frozen=True)
class Poisson(_Count):
    """Counts of mean and variance ``exp(f)``."""

    name = "poisson"

    def log_density(self, y: Tensor, f: Tensor) -> Tensor:
        """Of a Poisson distribution."""
        return y * f - f.exp() - torch.lgamma(y + 1.0)

    def expected_log_density(self, y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """In closed form."""
        return y * mean - (mean + 0.5 * variance).exp() - torch.lgamma(y + 1.0)

    def response_moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Of a log-normal mixture."""
        rate = (mean + 0.5 * variance).exp()
        return rate, rate + rate.square() * torch.expm1(variance)

    def distribution(self, f: Array) -> Any:
        """Poisson."""
        return stats.poisson(np.exp(f))


@dataclass(frozen=True)
class NegativeBinomial(_Count):
    """Counts of mean ``m = exp(f)`` and variance ``m + m^2 / concentration``: spread wider than Poisson's."""

    name = "negative_binomial"
    names = ("concentration",)
    defaults = (5.0,)
    bounds = ((1e-2, 1e4),)

    def log_density(self, y: Tensor, f: Tensor) -> Tensor:
        """Of a negative binomial distribution."""
        log_r = self.log_parameters[0]
        r = log_r.exp()
        constant = torch.lgamma(y + r) - torch.lgamma(r) - torch.lgamma(y + 1.0)
        return constant - r * softplus(f - log_r) - y * softplus(log_r - f)

    def response_moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Of a log-normal mixture."""
        rate = (mean + 0.5 * variance).exp()
        second = rate.square() * variance.exp()
        return rate, rate + second / self.log_parameters[0].exp() + rate.square() * torch.expm1(variance)

    def distribution(self, f: Array) -> Any:
        """Negative binomial."""
        r = math.exp(float(self.log_parameters[0]))
        return stats.nbinom(r, r / (r + np.exp(f)))


LIKELIHOODS: dict[str, type[Likelihood]] = {
    kind.name: kind for kind in (Bernoulli, Gaussian, StudentT, Poisson, NegativeBinomial)
}


def likelihood(name: Any, values: Mapping[str, float] | None, *, allowed: tuple[str, ...]) -> Likelihood:
    """A likelihood by its name, with starting values of its parameters.

    Raises:
        ValueError: an unknown name, an unknown parameter, or one that is not positive.
    """
    if name not in allowed:
        raise ValueError(f"likelihood must be one of {', '.join(map(repr, allowed))}, not {name!r}.")
    kind, given = LIKELIHOODS[name], dict(values or {})
    unknown = sorted(set(given) - set(kind.names))
    if unknown:
        known = ", ".join(kind.names) or "none"
        raise ValueError(f"likelihood_params: {name!r} has no parameter {unknown[0]!r}; it has: {known}.")
    numbers = [float(given.get(key, default)) for key, default in zip(kind.names, kind.defaults, strict=True)]
    for key, value in zip(kind.names, numbers, strict=True):
        if not 0.0 < value < math.inf:
            raise ValueError(f"likelihood_params: {key} must be positive and finite, not {value}.")
    return kind(torch.tensor(numbers, dtype=torch.float64).log())


def gauss_hermite(like: Tensor, n_nodes: int = 32) -> tuple[Tensor, Tensor]:
    """Nodes and weights of a standard normal expectation, exact for polynomials of degree ``2 n_nodes - 1``."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    made = torch.from_numpy(np.stack([nodes, weights / weights.sum()])).to(like.device, like.dtype)
    return made[0], made[1]
