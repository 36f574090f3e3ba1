"""One iterate of a recursive feature machine: a kernel predictor in the present metric, and what is asked of it."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.config import fits_memory
from mercer.errors import ApproximationWarning
from mercer.kernels import PowerExponential
from mercer.learn.dual import Dual, inverse_diagonal, solve_dual
from mercer.learn.feature_matrix import median_distance
from mercer.learn.stored_iterate import StoredIterate, Workspace
from mercer.operators.tiles import point_gradients

__all__ = ["FeatureSettings", "Iterate", "IterateMaker", "solve"]

_QUICK_RESIDUAL = 1e-2  # an iterate gives a metric and is compared: two digits of its coefficients are enough for both
_BLOCK_PAIRS = 2**23
_LEAST_POINTS = 500
_REFINEMENTS = 5
_CONTRACTION = 0.5  # of the residual in a step of refinement, at least


@dataclass(frozen=True)
class FeatureSettings:
    """The arguments of the estimators that the iteration needs; see there."""

    alpha: float
    lengthscale: float
    relative: bool
    exponent: float
    norm: float
    diagonal: bool
    max_iter: int
    n_feature_rows: int
    rtol: float
    random_state: int

    def kernel(self, lengthscale: float) -> PowerExponential:
        """The kernel at one lengthscale."""
        return PowerExponential(lengthscale, self.exponent, self.norm)

    def lengthscale_at(self, Z: Tensor) -> float:
        """The lengthscale among transformed rows."""
        if not self.relative:
            return self.lengthscale
        return self.lengthscale * median_distance(Z, norm=self.norm, generator=generator(self.random_state))

    def noise(self, weights: Tensor | None, like: Tensor) -> Tensor:
        """What stands on the diagonal: alpha, for a row of weight s alpha / s."""
        return like.new_tensor(self.alpha) if weights is None else (self.alpha / weights).to(like.dtype)


class Iterate(ABC):
    """A kernel predictor.

    Attributes:
        dual: its coefficients, ``(n, t)``, float64.
    """

    dual: Tensor

    @abstractmethod
    def values(self, points: Tensor) -> Tensor:
        """The prediction, ``(m, t)``, float64."""

    @abstractmethod
    def left_out_errors(self) -> Tensor:
        """For each row, its target minus the prediction of a model made without it, ``(n, t)``, float64."""

    @abstractmethod
    def gradients(self) -> Tensor:
        """The gradient of each target's prediction at the first g rows, up to a common factor, ``(g, t, r)``."""

    def refined(self) -> Dual | None:
        """The coefficients to the tolerance asked for, where what is stored allows it cheaply."""
        return None

    def release(self) -> None:  # noqa: B027 - most have nothing to leave
        """Leave the memory to iterates to come."""


class IterateMaker:
    """Makes iterates on the same rows, one after the other: stored where they fit and the norm is Euclidean.

    Args:
        Y: ``(n, t)``, float64.
        weights: > 0, ``(n,)`` or None.
    """

    def __init__(self, Y: Tensor, weights: Tensor | None) -> None:
        self.Y, self.weights = Y, weights
        self._workspace: Workspace | None = None

    def __call__(self, Z: Tensor, lengthscale: float, settings: FeatureSettings) -> Iterate:
        """The iterate at Z ``(n, r)``; only of the last one are there gradients."""
        if settings.norm == 2.0 and fits_memory(Workspace.bytes(len(Z), Z.dtype)):
            if self._workspace is None:
                self._workspace = Workspace(len(Z), Z)
            stored = StoredIterate(
                Z,
                lengthscale=lengthscale,
                exponent=settings.exponent,
                noise=settings.noise(self.weights, Z),
                Y=self.Y.to(Z.dtype),
                workspace=self._workspace,
            )
            if stored.residual <= _QUICK_RESIDUAL:
                return _Stored(stored, Z, self.Y, self.weights, settings)
            stored.release()
        return _Tiled(settings.kernel(lengthscale), Z, self.Y, self.weights, settings)


class _Stored(Iterate):
    def __init__(
        self, stored: StoredIterate, Z: Tensor, Y: Tensor, weights: Tensor | None, settings: FeatureSettings
    ) -> None:
        self._stored, self._Z, self._Y = stored, Z, Y
        self._weights, self._settings = weights, settings
        self.dual = stored.dual.double()

    def values(self, points: Tensor) -> Tensor:
        return self._stored.values(points, self._stored.dual).double()

    def left_out_errors(self) -> Tensor:
        return self.dual / self._stored.inverse_diagonal().double()[:, None]

    def gradients(self) -> Tensor:
        n, r = self._Z.shape
        # Of so many points that gradients of many classes take no longer than the factor.
        n_points = max(_LEAST_POINTS, n * n // (6 * self.dual.shape[1] * (r + 1)))
        return self._stored.gradients(min(n, n_points))

    def refined(self) -> Dual | None:
        """Refinement: residuals by tiles in float64, corrections by the factor that is there."""
        if self._stored.factor is None:
            return None
        K = self._settings.kernel(self._stored.lengthscale)(self._Z.double(), plan="tiles")  # once: not worth storing
        noise = self._settings.noise(self._weights, self._Y)
        scale = torch.linalg.vector_norm(self._Y, dim=0).clamp(min=1e-300)
        dual, before = self.dual, float("inf")
        for step in range(_REFINEMENTS):
            rest = self._Y - torch.as_tensor(K @ dual) - (noise * dual.mT).mT
            residual = float((torch.linalg.vector_norm(rest, dim=0) / scale).max())
            if residual <= self._settings.rtol:
                return Dual(dual, residual, step, "a stored factor, refined")
            if not residual <= _CONTRACTION * before:
                return None
            dual, before = dual + self._stored.solve(rest.to(self._Z.dtype)).double(), residual
        return None

    def release(self) -> None:
        self._stored.release()


class _Tiled(Iterate):
    """By the solver and by tiles: other norms, more rows than fit, and systems without a factor in float32."""

    def __init__(
        self, kernel: PowerExponential, Z: Tensor, Y: Tensor, weights: Tensor | None, settings: FeatureSettings
    ) -> None:
        self._kernel, self._Z, self._weights, self._settings = kernel, Z, weights, settings
        self._factor: Tensor | None = None
        if settings.norm != 2.0 and fits_memory(2 * len(Z) ** 2 * Z.dtype.itemsize):
            A = kernel(Z).to_dense().clone()
            A.diagonal().add_(settings.noise(weights, Z))
            factor, failed = torch.linalg.cholesky_ex(A)
            targets = Y.to(A.dtype)
            dual = torch.cholesky_solve(targets, factor)
            scale = torch.linalg.vector_norm(targets, dim=0).clamp(min=1e-30)
            residual = torch.linalg.vector_norm(targets - A @ dual, dim=0) / scale
            if not int(failed) and bool((residual <= _QUICK_RESIDUAL).all()):
                self._factor, self.dual = factor, dual.double()
        if self._factor is None:
            with warnings.catch_warnings():
                # An iterate of a singular system is still an iterate: what it is worth is measured on rows left out.
                warnings.simplefilter("ignore", ApproximationWarning)
                self.dual = solve(kernel(Z), Y, weights, settings).coefficients

    def values(self, points: Tensor) -> Tensor:
        step = max(1, _BLOCK_PAIRS // len(self._Z))
        dual = self.dual.to(self._Z.dtype)
        return torch.cat([self._kernel(rows, self._Z).to_dense() @ dual for rows in points.split(step)]).double()

    def left_out_errors(self) -> Tensor:
        if self._factor is None:
            diagonal = inverse_diagonal(self._kernel(self._Z), alpha=self._settings.alpha, weights=self._weights)
        else:
            diagonal = torch.cholesky_inverse(self._factor).diagonal().double()
        return self.dual / diagonal[:, None]

    def gradients(self) -> Tensor:
        return point_gradients(self._kernel(self._Z), self.dual)


def solve(K: object, Y: Tensor, weights: Tensor | None, settings: FeatureSettings) -> Dual:
    """The coefficients to the tolerance asked for."""
    return solve_dual(
        K, Y, alpha=settings.alpha, weights=weights, rtol=settings.rtol, random_state=settings.random_state
    )
