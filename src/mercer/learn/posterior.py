"""What a Gaussian process knows after data: mean, variance and covariance at new points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer import config
from mercer.learn.covariance import Covariance, as_dense
from mercer.learn.gaussian_process_plan import GaussianProcessPlan
from mercer.learn.marginal_likelihood import EXACT
from mercer.operators import NotPositiveDefinite, solve
from mercer.operators.solvers import CholeskyFactor, DirectSolution, System, cholesky, cholesky_bytes, structure_of
from mercer.progress import track

__all__ = ["Posterior", "Prior"]

_CHUNK = 1024  # new points handled together: their columns of k(X, X*) are held in float64
_MOST_SOLVED = 20_000  # new points whose deviations are found by conjugate gradients, one system for each


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
        joint = as_dense(self.covariance.matrix(points)[0]).clone()
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
    _direct: tuple[DirectSolution | None] | None = field(default=None, repr=False)

    @property
    def plan(self) -> GaussianProcessPlan:
        """How it is computed."""
        if len(self.weights) <= EXACT:
            return GaussianProcessPlan("cholesky", f"{len(self.weights)} rows: a Cholesky factorisation", 0.0)
        direct = self._structure()
        if direct is not None:
            reason = (
                "a Fourier series of the stationary terms, features of the others"
                if direct.error
                else "the kernel matrix has a structure that is solved directly"
            )
            return GaussianProcessPlan(direct.name, reason, direct.error)
        return GaussianProcessPlan(
            "iterative", f"{len(self.weights)} rows: solves to a residual of 1e-6, log-determinants from 10 probes", 0.0
        )

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
            made.weights = made._solve(Y)
        return made

    def extended(self, points: Any, Y: Tensor, noise: Tensor) -> Posterior:
        """With further rows: all points, targets and noises, of which the first are those known already.

        A factor that is there is extended; a solution by iterations starts from the old one.
        """
        n = len(self.weights)
        made = type(self)(self.covariance, points, noise, self.weights)
        if self._factor is not None or len(Y) <= EXACT:
            factor, cross = self.factor(), as_dense(self.covariance.cross(points[n:], points[:n]))
            corner, own = self.covariance.matrix(points[n:])
            corner = as_dense(corner).clone()
            corner.diagonal().add_(own + (noise[n:] if noise.dim() else noise))
            made._factor = factor.extended(cross, corner)
            made.weights = made._factor.solve(Y)
        else:
            made.weights = made._solve(Y, torch.cat([self.weights, torch.zeros_like(Y[n:])]))
        return made

    def factor(self) -> CholeskyFactor:
        """The Cholesky factor of K + noise; computed once."""
        if self._factor is None:
            K, own = self._matrix()
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
        return torch.as_tensor(self._cross(points) @ self.weights)

    def variance(self, points: Any, *, with_noise: bool) -> Tensor:
        """``(m,)``, never negative; with or without the kernel's own noise."""
        known = self.covariance.diagonal(points, with_noise=with_noise).clone()
        direct = self._structure()
        if direct is not None:
            return (known - direct.inv_quad_of(self._cross(points), self.total_noise())).clamp_(min=0.0)
        if not self._fits() and len(known) > _MOST_SOLVED:
            raise ValueError(
                f"Deviations at {len(known)} points take as many solutions with {len(self.weights)} rows, and no "
                f"Cholesky factor fits the memory budget. Ask for at most {_MOST_SOLVED} at a time, raise the budget "
                f"(mercer.config.set_memory_budget), or give tolerance, for a stationary kernel of up to three columns."
            )
        for start in track(range(0, len(known), _CHUNK), description="standard deviations"):
            chunk = slice(start, start + _CHUNK)
            cross = as_dense(self._cross(points[chunk])).mT  # (n, c)
            known[chunk] -= self._explained(cross)
        return known.clamp_(min=0.0)

    def joint_covariance(self, points: Any, *, with_noise: bool) -> Tensor:
        """``(m, m)``, with a diagonal that is never negative."""
        m = len(points)
        config.require_memory(
            8 * (2 * m * m + m * len(self.weights)),
            asked=f"The covariance of {m} points",
            instead="Ask for return_std, or for fewer points at a time.",
        )
        joint = as_dense(self.covariance.matrix(points)[0]).clone()
        diagonal = self.covariance.diagonal(points, with_noise=with_noise)
        cross = as_dense(self._cross(points)).mT
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

    def solve(self, B: Tensor) -> Tensor:
        """``(K + noise)^-1 B`` for B ``(n, t)``."""
        return self.factor().solve(B) if self._fits() and self._structure() is None else self._solve(B)

    def _explained(self, cross: Tensor) -> Tensor:
        """``c' (K + noise)^-1 c`` for columns c of ``(n, m)``."""
        if self._fits():
            return self.factor().solve_lower(cross).square().sum(0)
        return (cross * self._solve(cross)).sum(0)

    def _fits(self) -> bool:
        return self._factor is not None or config.fits_memory(cholesky_bytes(len(self.weights)))

    def _solve(self, B: Tensor, initial: Tensor | None = None) -> Tensor:
        K, own = self._matrix()
        return solve(K, B, noise=self.noise + own, initial=initial).x

    def _structure(self) -> DirectSolution | None:
        """What the plan of the matrix solves without iterations; kept for the factors that it holds."""
        if len(self.weights) <= EXACT:
            return None
        if self._direct is None:
            self._direct = (structure_of(self._matrix()[0], self.total_noise()),)
        return self._direct[0]

    def total_noise(self) -> Tensor:
        """Of every row, ``()`` or ``(n,)``: what is known, and the kernel's own."""
        return self.noise + self._matrix()[1]

    def _matrix(self) -> tuple[Any, Tensor]:
        """The covariance of what was observed, and the kernel's own noise there."""
        return self.covariance.matrix(self.points)

    def _cross(self, points: Any) -> Any:
        """The covariance of the function at new points with what was observed."""
        return self.covariance.cross(points, self.points)
