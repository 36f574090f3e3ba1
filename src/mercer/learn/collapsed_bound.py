"""Titsias' bound: sparse Gaussian process regression with the best distribution over inducing values inserted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mercer.kernels import Kernel
from mercer.learn.covariance import Array, MercerCovariance, with_log_prior
from mercer.learn.variational import Variational, whiten
from mercer.operators import NotPositiveDefinite

__all__ = ["CollapsedBound"]


@dataclass(frozen=True)
class CollapsedBound:
    """``log N(y; 0, Q + noise) - trace(K - Q) / (2 noise)``, ``Q = k(X, Z) k(Z, Z)^-1 k(Z, X)``: never above the exact
    log marginal likelihood, and equal to it where the inducing points are the training points.

    Attributes:
        X: ``(n, d)``, float64.
        y: ``(n,)``.
        Z: inducing points ``(M, d)``, where they are not learnt, or where they start.
        learns_inducing: whether theta ends in the coordinates of Z.
        learns_noise: whether theta has the logarithm of the noise, after those of the kernel.
        log_noise: the logarithm of the noise where it is not learnt.

    Cost: ``n M^2``; memory about ``24 n M`` bytes.
    Source: Titsias, Variational learning of inducing variables in sparse Gaussian processes (2009), eq. 9.
    """

    X: Tensor
    y: Tensor
    Z: Tensor
    learns_inducing: bool
    learns_noise: bool
    log_noise: Tensor

    def split(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """theta of the kernel, the logarithm of the noise, and the inducing points."""
        n_points = self.Z.numel() if self.learns_inducing else 0
        size = len(theta) - n_points - self.learns_noise
        log_noise = theta[size] if self.learns_noise else self.log_noise
        Z = theta[size + self.learns_noise :].reshape(self.Z.shape) if self.learns_inducing else self.Z
        return theta[:size], log_noise, Z.to(self.X.device)

    def value(self, kernel: Kernel, log_noise: Tensor, Z: Tensor) -> Tensor:
        """The bound; differentiable."""
        A, left = whiten(kernel, Z, self.X)
        noise, n = log_noise.exp().to(self.X.device), len(self.y)
        lower = torch.linalg.cholesky(torch.eye(len(A)).to(A) + A @ A.mT / noise)
        half = torch.linalg.solve_triangular(lower, (A @ self.y)[:, None], upper=False) / noise
        quadratic = self.y @ self.y / noise - half.square().sum()
        log_determinant = n * log_noise + 2.0 * lower.diagonal().log().sum()
        result: Tensor = -0.5 * (quadratic + log_determinant + n * math.log(2.0 * math.pi) + left.sum() / noise)
        return result

    def __call__(self, covariance: MercerCovariance, theta: Array) -> tuple[float, Array]:
        """Value with the priors of hyperparameters, and gradient; minus infinity where points coincide."""
        values = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        of_kernel, log_noise, Z = self.split(values)
        kernel = covariance.with_tensor(of_kernel) if len(of_kernel) else covariance.own
        try:
            total = self.value(kernel, log_noise, Z)
        except (NotPositiveDefinite, torch.linalg.LinAlgError):  # type: ignore[attr-defined]
            return -math.inf, np.zeros_like(theta)
        total = with_log_prior(total, kernel)
        (gradient,) = torch.autograd.grad(total, values)
        return float(total.detach()), gradient.numpy()

    @torch.no_grad()
    def best(self, kernel: Kernel, log_noise: Tensor, Z: Tensor) -> Variational:
        """The distribution over inducing values at which the bound is reached."""
        A, _ = whiten(kernel, Z, self.X)
        noise = float(log_noise.exp())
        return Variational((A @ self.y)[None] / noise, (torch.eye(len(A)).to(A) + A @ A.mT / noise)[None])
