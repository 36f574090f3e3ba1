"""What a Gaussian process knows after data: mean, variance and covariance at new points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer import config
from mercer.learn.covariance import Covariance
from mercer.learn.marginal_likelihood import EXACT
from mercer.operators import NotPositiveDefinite, solve
from mercer.operators.cholesky import CholeskyFactor, cholesky, cholesky_bytes
from mercer.operators.system import System

__all__ = ["Posterior", "Prior"]

_CHUNK = 1024  # new points handled together: their columns of k(X, X*) are held in float64


@dataclass(frozen=True)
class Prior:
    """A Gaussian process before data.

    Attributes:
        covariance: the kernel.
        n_targets: how many targets a prediction has.
    """

    covariance: Covariance
    n_targets: int

    def mean(self, points: Any) -> Tensor:
        """Zeros, ``(m, t)``."""
        return torch.zeros(len(points), self.n_targets, dtype=torch.float64)

    def variance(self, points: Any, *, with_noise: bool) -> Tensor:
        """``(m,)``."""
        return self.covariance.diagonal(points, with_noise=with_noise)

    def joint_covariance(self, points: Any, *, with_noise: bool) -> Tensor:
        """``(m, m)``."""
        joint = _dense(self.covariance.matrix(points)[0]).clone()
        joint.diagonal().copy_(self.variance(points, with_noise=with_noise))
        return joint


@dataclass
class Posterior:
    """A Gaussian process conditioned on data; everything in float64, in units of the normalised targets.

    Attributes:
        covariance: the kernel.
        points: the training points.
        noise: beside the kernel's own, ``()`` or ``(n,)``.
        weights: ``(K + noise)^-1 y``, ``(n, t)``.
    """

    covariance: Covariance
    points: Any
    noise: Tensor
    weights: Tensor
    _factor: CholeskyFactor | None = field(default=None, repr=False)

    @classmethod
    def of(cls, covariance: Covariance, points: Any, Y: Tensor, noise: Tensor) -> Posterior:
        """Condition on targets ``(n, t)``.

        Raises:
            numpy.linalg.LinAlgError: the matrix is not positive definite.
            NotConverged: beyond 5000 rows, the solver did not reach its residual.
        """
        made = cls(covariance, points, noise, Y)
        if len(Y) <= EXACT:
            made.weights = made.factor().solve(Y)
        else:
            K, own = covariance.matrix(points)
            made.weights = solve(K, Y, noise=noise + own).x
        return made

    def factor(self) -> CholeskyFactor:
        """The Cholesky factor of K + noise; computed once."""
        if self._factor is None:
            K, own = self.covariance.matrix(self.points)
            try:
                self._factor = cholesky(System(K, self.noise + own))
            except NotPositiveDefinite as error:
                raise np.linalg.LinAlgError(
                    f"The kernel, {self.covariance.kernel}, is not returning a positive definite matrix. Try gradually "
                    f"increasing the 'alpha' parameter of your GaussianProcessRegressor estimator."
                ) from error
        return self._factor

    def mean(self, points: Any) -> Tensor:
        """``(m, t)``."""
        return torch.as_tensor(self.covariance.cross(points, self.points) @ self.weights)

    def variance(self, points: Any, *, with_noise: bool) -> Tensor:
        """``(m,)``, never negative; with or without the kernel's own noise."""
        known = self.covariance.diagonal(points, with_noise=with_noise).clone()
        for start in range(0, len(known), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            cross = _dense(self.covariance.cross(self.points, points[chunk]))  # (n, c)
            if self._fits():
                known[chunk] -= self.factor().solve_lower(cross).square().sum(0)
            else:
                known[chunk] -= (cross * self._solve(cross)).sum(0)
        return known.clamp_(min=0.0)

    def joint_covariance(self, points: Any, *, with_noise: bool) -> Tensor:
        """``(m, m)``, with a diagonal that is never negative."""
        m = len(points)
        config.require_memory(
            8 * (2 * m * m + m * len(self.weights)),
            asked=f"The covariance of {m} points",
            instead="Ask for return_std, or for fewer points at a time.",
        )
        joint = _dense(self.covariance.matrix(points)[0]).clone()
        diagonal = self.covariance.diagonal(points, with_noise=with_noise)
        cross = _dense(self.covariance.cross(self.points, points))
        if self._fits():
            half = self.factor().solve_lower(cross)
            joint -= half.mT @ half
            diagonal = diagonal - half.square().sum(0)
        else:
            solved = self._solve(cross)
            joint -= cross.mT @ solved
            diagonal = diagonal - (cross * solved).sum(0)
        joint.diagonal().copy_(diagonal.clamp(min=0.0))
        return joint

    def _fits(self) -> bool:
        return self._factor is not None or cholesky_bytes(len(self.weights)) <= config.memory_budget()

    def _solve(self, cross: Tensor) -> Tensor:
        K, own = self.covariance.matrix(self.points)
        return solve(K, cross, noise=self.noise + own).x


def _dense(matrix: Any) -> Tensor:
    return matrix if isinstance(matrix, Tensor) else torch.as_tensor(matrix.to_dense())
