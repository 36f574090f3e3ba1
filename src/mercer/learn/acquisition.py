"""What an optimiser wants to know next: improvement, optimism, and a Gaussian process that takes pretended answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mercer.kernels import Kernel

__all__ = ["Surrogate", "log_expected_improvement"]

_FAR = -1e3  # on both sides the error is below 1e-9: 2e-16 z^2 above, 15 / z^4 of the expansion at infinity below


def log_expected_improvement(mean: Tensor, std: Tensor, best: float) -> Tensor:
    r"""The logarithm of the expected improvement below ``best``, right where the improvement itself underflows.

    .. math:: \log E\,\max(\text{best} - f, 0) = \log \sigma + \log(\varphi(z) + z \Phi(z)), \quad
        z = \frac{\text{best} - \mu}{\sigma}

    Args:
        mean: ``(...)``, float64.
        std: ``(...)``, > 0.
        best: the smallest value so far.

    Source: Ament et al., Unexpected improvements to expected improvement for Bayesian optimization (NeurIPS 2023),
    eq. 9 and 14.

    >>> log_expected_improvement(torch.tensor([100.0]).double(), torch.ones(1).double(), 0.0)
    tensor([-5010.1296], dtype=torch.float64)
    """
    z = (best - mean) / std
    near, middle = z > -1.0, (z > _FAR) & (z <= -1.0)
    half_log = 0.5 * math.log(2.0 * math.pi)
    # Every branch gets an argument that it can digest, so that no gradient is NaN.
    a = torch.where(near, z, 0.0)
    direct = torch.log(torch.exp(-0.5 * a * a - half_log) + a * torch.special.ndtr(a))
    b = torch.where(middle, z, -2.0)
    ratio = torch.special.erfcx(-b / math.sqrt(2.0)) * b.abs() * math.sqrt(0.5 * math.pi)
    tail = -0.5 * b * b - half_log + torch.log1p(-ratio)
    c = torch.where(near | middle, -1e9, z)
    farthest = -0.5 * c * c - half_log - 2.0 * torch.log(-c) + torch.log1p(-3.0 / (c * c))
    return torch.where(near, direct, torch.where(middle, tail, farthest)) + std.log()


@dataclass(frozen=True)
class Surrogate:
    """A Gaussian process with fixed hyperparameters on few points; differentiable where it is asked.

    Attributes:
        kernel: without noise.
        noise: variance of the values.
        points: ``(n, d)``, float64.
        values: ``(n,)``.
    """

    kernel: Kernel
    noise: float
    points: Tensor
    values: Tensor
    _lower: Tensor = field(init=False, repr=False)
    _weights: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        K = self.kernel(self.points).to_dense()
        K.diagonal().add_(self.noise + 1e-9 * float(K.diagonal().mean()))
        lower = torch.linalg.cholesky(K)
        object.__setattr__(self, "_lower", lower)
        object.__setattr__(self, "_weights", torch.cholesky_solve(self.values.unsqueeze(-1), lower).squeeze(-1))

    def predict(self, Z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the function, ``(m,)`` each."""
        cross = self.kernel(Z, self.points).to_dense()
        explained = torch.linalg.solve_triangular(self._lower, cross.mT, upper=False)
        own = float(self.kernel(self.points[:1]).diagonal()[0].detach())  # stationary: the same everywhere
        variance = (own - explained.square().sum(0)).clamp(min=1e-12 * own)
        return cross @ self._weights, variance.sqrt()

    def sample(self, Z: Tensor, normal: Tensor) -> Tensor:
        """One draw of the function at points Z together, ``(m,)``, from standard normal numbers ``(m,)``."""
        cross = self.kernel(Z, self.points).to_dense()
        explained = torch.linalg.solve_triangular(self._lower, cross.mT, upper=False)
        joint = self.kernel(Z).to_dense() - explained.mT @ explained
        values, vectors = torch.linalg.eigh(joint)
        result: Tensor = cross @ self._weights + vectors @ (values.clamp(min=0.0).sqrt() * normal)
        return result

    def believing(self, Z: Tensor) -> Surrogate:
        """The model after answers at Z that are what it expects: the mean stays, the deviation falls there."""
        with torch.no_grad():
            mean, _ = self.predict(Z)
        return Surrogate(self.kernel, self.noise, torch.cat([self.points, Z]), torch.cat([self.values, mean]))
