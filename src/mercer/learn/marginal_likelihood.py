"""The log marginal likelihood of a Gaussian process and its gradient by the logarithms of the hyperparameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.learn.covariance import Array, Covariance, MercerCovariance, log_prior, matrix_and_noise
from mercer.learn.sklearn_covariance import SklearnCovariance
from mercer.operators import NotPositiveDefinite
from mercer.operators.inv_quad_logdet import inv_quad_logdet

__all__ = ["EXACT", "MarginalLikelihood"]

EXACT = (
    5000  # rows up to which the likelihood is exact (Cholesky); beyond, its log-determinant is estimated from probes
)


@dataclass(frozen=True)
class MarginalLikelihood:
    """``log N(y; 0, K(theta) + noise)``, summed over targets, which share the kernel.

    Attributes:
        points: the rows, in float32 or float64, or objects that the kernel knows.
        Y: ``(n, t)``, float64.
        noise: beside the kernel's own, ``()`` or ``(n,)``.
        random_state: of the probes, beyond 5000 rows.

    Source: Rasmussen & Williams (2006), eq. 2.30 and 5.9.
    """

    points: Any
    Y: Tensor
    noise: Tensor
    random_state: int = 0

    def __call__(self, covariance: Covariance, theta: Array, *, with_prior: bool = False) -> tuple[float, Array]:
        """Value and gradient at theta; minus infinity where the matrix is not positive definite.

        Args:
            covariance: the kernel.
            theta: logarithms of its hyperparameters.
            with_prior: add the log density of the hyperparameters under their priors.

        Raises:
            NotConverged: beyond 5000 rows, when the solver does not get there.
        """
        theta = np.asarray(theta, dtype=np.float64)
        try:
            if isinstance(covariance, MercerCovariance):
                return self._by_autograd(covariance, theta, with_prior)
            assert isinstance(covariance, SklearnCovariance)
            return self._by_slopes(covariance.at(theta))
        except NotPositiveDefinite:
            return -math.inf, np.zeros_like(theta)

    def _by_autograd(self, covariance: MercerCovariance, theta: Array, with_prior: bool) -> tuple[float, Array]:
        n, t = self.Y.shape
        is_exact = n <= EXACT
        log_values = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        points = self.points.to(torch.float64) if is_exact else self.points
        kernel = covariance.with_tensor(log_values)
        K, own_noise = matrix_and_noise(kernel, points)
        found = inv_quad_logdet(
            K,
            self.Y,
            noise=self.noise + own_noise,
            method="cholesky" if is_exact else "lanczos",
            random_state=self.random_state,
        )
        value = -0.5 * (found.inv_quad.sum() + t * found.logdet + n * t * math.log(2.0 * math.pi))
        prior = log_prior(kernel) if with_prior else None
        if prior is not None:
            value = value + prior.to(value.device)
        if not len(theta):
            return float(value.detach()), np.zeros(0)
        (gradient,) = torch.autograd.grad(value, log_values)
        return float(value.detach()), gradient.cpu().numpy()

    def _by_slopes(self, covariance: SklearnCovariance) -> tuple[float, Array]:
        n, t = self.Y.shape
        K, slopes = covariance.matrix_and_slopes(self.points)
        K.diagonal().add_(self.noise)
        L, failed = torch.linalg.cholesky_ex(K)
        if int(failed):
            raise NotPositiveDefinite(int(failed) - 1, n)
        x = torch.cholesky_solve(self.Y, L)
        value = -0.5 * (self.Y * x).sum() - t * L.diagonal().log().sum() - 0.5 * n * t * math.log(2.0 * math.pi)
        G = 0.5 * (x @ x.mT - t * torch.cholesky_inverse(L))
        return float(value), torch.einsum("ij,ijp->p", G, slopes).numpy()
