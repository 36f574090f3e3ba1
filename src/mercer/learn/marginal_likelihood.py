"""The log marginal likelihood of a Gaussian process and its gradient by the logarithms of the hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mercer.kernels import Kernel
from mercer.learn.covariance import Array, Covariance, MercerCovariance, matrix_and_noise, with_log_prior
from mercer.learn.sklearn_covariance import SklearnCovariance
from mercer.operators import NotPositiveDefinite
from mercer.operators.fourier import FourierLikelihood, FourierModes, FourierSolution, NoFourierSeries
from mercer.operators.functions import inv_quad_logdet
from mercer.operators.kernel_operator import KernelOperator
from mercer.operators.solvers import structure_of

__all__ = ["EXACT", "FourierTerms", "MarginalLikelihood"]

# Rows up to which the likelihood is exact (Cholesky); beyond, its log-determinant is estimated from probes.
EXACT = 5000


class FourierTerms:
    """``y' M^-1 y`` and ``log det M`` by a Fourier series of the kernel; its modes and sums are kept between calls.

    Args:
        Y: ``(n, t)``.
        tolerance: of entries of the kernel matrix, as a share of k(0).
        box: points for which the series is to be right beside the data.
    """

    def __init__(self, Y: Tensor, *, tolerance: float, box: Tensor) -> None:
        self.Y, self.tolerance, self.box = Y, tolerance, box
        self._likelihood = FourierLikelihood(Y, tolerance=tolerance, box=box)
        self._modes: FourierModes | None = None

    @property
    def modes(self) -> FourierModes | None:
        """Those of the last call."""
        return self._modes or self._likelihood.modes

    def __call__(self, K: KernelOperator, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Differentiable; noise ``()`` or ``(n,)``.

        Raises:
            ValueError: too many modes, or a noise that is not positive.
        """
        if not noise.dim():
            return self._likelihood(K, noise)
        if self._modes is None or not self._modes.serves(K):
            self._modes = FourierModes(K, tolerance=self.tolerance, box=self.box)
        solution = FourierSolution(K, tolerance=self.tolerance, modes=self._modes)
        why_not = solution.applies(noise.detach())
        if why_not is not None:
            raise NoFourierSeries(why_not)
        quad, logdet, _ = solution.inv_quad_logdet(self.Y, noise)
        return quad, logdet


@dataclass(frozen=True)
class MarginalLikelihood:
    """``log N(y; 0, K(theta) + noise)``, summed over targets, which share the kernel.

    Attributes:
        points: the rows, in float32 or float64, or objects that the kernel knows.
        Y: ``(n, t)``, float64.
        noise: beside the kernel's own, ``()`` or ``(n,)``.
        random_state: of the probes, beyond 5000 rows where the matrix has no structure.
        fourier: what computes it by a Fourier series, where that is wanted.
        observed: what the rows are of: :func:`matrix_and_noise`, or the like for values and gradients.

    Source: Rasmussen & Williams (2006), eq. 2.30 and 5.9.
    """

    points: Any
    Y: Tensor
    noise: Tensor
    random_state: int = 0
    fourier: FourierTerms | None = None
    observed: Callable[[Kernel, Tensor], tuple[Any, Tensor]] = matrix_and_noise

    def __call__(self, covariance: Covariance, theta: Array, *, with_prior: bool = False) -> tuple[float, Array]:
        """Value and gradient at theta; minus infinity where the matrix is not positive definite.

        Args:
            covariance: the kernel.
            theta: logarithms of its hyperparameters.
            with_prior: add the log density of the hyperparameters under their priors.

        Raises:
            NotConverged: beyond 5000 rows, when the solver does not get there.
            ValueError: the Fourier series takes too many modes.
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
        kernel = covariance.with_tensor(log_values)
        if self.fourier is not None:
            K, own_noise = self.observed(kernel, self.points)
            quad, logdet = self.fourier(K, self.noise + own_noise)
        else:
            points = self.points.to(torch.float64) if is_exact else self.points
            K, own_noise = self.observed(kernel, points)
            K, noise = covariance.allow(K), self.noise + own_noise
            direct = None if is_exact else structure_of(K.double(), noise.detach())
            if direct is not None:
                quad, logdet, _ = direct.inv_quad_logdet(self.Y, noise)
            else:
                method: Literal["cholesky", "lanczos"] = "cholesky" if is_exact else "lanczos"
                found = inv_quad_logdet(K, self.Y, noise=noise, method=method, random_state=self.random_state)
                quad, logdet = found.inv_quad, found.logdet
        value = -0.5 * (quad.sum() + t * logdet + n * t * math.log(2.0 * math.pi))
        value = with_log_prior(value, kernel) if with_prior else value
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
