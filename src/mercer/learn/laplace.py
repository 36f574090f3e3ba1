"""Laplace's approximation of a Gaussian process whose response is not Gaussian: mode, evidence and its gradient."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from mercer.learn.covariance import Array, Covariance, MercerCovariance, as_dense, log_prior, matrix_and_noise
from mercer.learn.likelihoods import Likelihood
from mercer.learn.marginal_likelihood import EXACT
from mercer.learn.posterior import Posterior
from mercer.learn.sklearn_covariance import SklearnCovariance
from mercer.operators import inv_quad_logdet, solve

__all__ = ["LaplaceEvidence", "Mode", "find_mode"]

_GAIN = 1e-12  # of the objective, relative: Newton's error is then of the order of its square root
_HALVINGS = 30
_LEAST_CURVATURE = 1e-12  # of the largest: a row below it counts as one of unknown response
_RESIDUAL = 1e-9  # of Newton's equations by conjugate gradients


@dataclass(frozen=True)
class Mode:
    """The most probable latent values and what stands around them.

    Attributes:
        f: ``(n,)``, the mode of the posterior.
        weights: ``K^-1 f``, ``(n,)``; the mean at new points is ``k(x, X) @ weights``.
        curvature: ``W``, ``(n,)``, >= 0; the posterior covariance is ``(K^-1 + W)^-1``.
        objective: ``log p(y | f) - f' K^-1 f / 2``.
        n_iter: Newton steps.
        lower: Cholesky factor of ``I + W^1/2 K W^1/2``; None beyond 5000 rows.
    """

    f: Tensor
    weights: Tensor
    curvature: Tensor
    objective: float
    n_iter: int
    lower: Tensor | None = None

    def posterior(self, covariance: Covariance, points: Any) -> Posterior:
        """The Gaussian process that stands for the posterior: noise of variance ``1 / W``."""
        return Posterior(covariance, points, _as_noise(self.curvature), self.weights[:, None])


def find_mode(
    K: Any,
    noise: Tensor,
    likelihood: Likelihood,
    y: Tensor,
    *,
    offset: float = 0.0,
    start: Tensor | None = None,
    max_iter: int = 100,
) -> Mode:
    """The mode by Newton's method with step halving.

    Args:
        K: ``(n, n)``: a tensor up to 5000 rows, else an operator.
        noise: the kernel's own, added to the diagonal of K.
        likelihood: of the responses.
        y: ``(n,)``.
        offset: added to f in the likelihood.
        start: ``weights`` of a mode nearby.
        max_iter: Newton steps.

    Cost: each step a Cholesky factorisation ``n^3 / 3``; beyond 5000 rows a run of conjugate gradients that begins at
        the last one's answer.
    Source: Rasmussen & Williams (2006), algorithm 3.1.
    """
    a = torch.zeros_like(y)

    def latent(weights: Tensor) -> Tensor:
        return torch.as_tensor(K @ weights) + noise * weights

    def objective(weights: Tensor, values: Tensor) -> float:
        with torch.no_grad():
            return float(likelihood.log_density(y, values + offset).sum() - 0.5 * weights @ values)

    f = a
    best = objective(a, f)
    if start is not None:
        # The mode of another kernel may be far worse than nothing, and its density 0.
        near = latent(start)
        value = objective(start, near)
        if value > best:
            a, f, best = start, near, value
    n_iter, has_converged = 0, False
    solution: Tensor | None = None
    while n_iter < max_iter and not has_converged:
        n_iter += 1
        first, second, _ = (s.detach() for s in likelihood.slopes(y, f + offset))
        W = likelihood.step_curvature(y, f + offset, second)
        target = W * f + first
        if isinstance(K, Tensor):
            proposed = _newton_weights(K, noise, W, target)
        else:
            diagonal = _as_noise(W)
            # In the unknowns x = (K + 1/W)^-1 (target / W): those of the rows as they are, whatever W is.
            solution = solve(K, target * diagonal, noise=noise + diagonal, rtol=_RESIDUAL, initial=solution).x
            proposed = solution
        step = proposed - a
        change = latent(step)
        share, gain = 1.0, -math.inf
        for _ in range(_HALVINGS):
            gain = objective(a + share * step, f + share * change) - best
            if gain >= 0.0:
                break
            share *= 0.5
        if gain > 0.0:
            a, f, best = a + share * step, f + share * change, best + gain
        has_converged = gain <= _GAIN * (1.0 + abs(best))
    if not has_converged:
        warnings.warn(
            f"Newton's method has not converged in {max_iter} steps: predictions are less accurate. Raise "
            f"max_iter_predict.",
            ConvergenceWarning,
            stacklevel=2,
        )
    W = likelihood.curvature(y, f + offset).detach().clamp(min=0.0)
    lower = _factor(K, noise, W) if isinstance(K, Tensor) else None
    return Mode(f, a, W, best, n_iter, lower)


@dataclass
class LaplaceEvidence:
    """The approximate log marginal likelihood of kernel and likelihood parameters, and its gradient.

    Attributes:
        points: the rows.
        y: ``(n,)``, float64.
        likelihood: of the responses; its parameters come after those of the kernel in theta.
        learnt: which of its parameters stand in theta.
        max_iter: Newton steps.
        warm_start: whether Newton begins at the mode of the last call.
        offset: added to f in the likelihood.

    Source: Rasmussen & Williams (2006), eq. 3.32 and algorithm 5.1, with the sum over rows written as one matrix.
    """

    points: Any
    y: Tensor
    likelihood: Likelihood
    learnt: tuple[int, ...] = ()
    max_iter: int = 100
    warm_start: bool = False
    offset: float = 0.0
    _last: Tensor | None = field(default=None, repr=False)

    def split(self, theta: Array) -> tuple[Array, Likelihood]:
        """theta of the kernel, and the likelihood at the rest of theta."""
        size = len(theta) - len(self.learnt)
        if not self.learnt:
            return theta, self.likelihood
        values = self.likelihood.log_parameters.clone()
        values[list(self.learnt)] = torch.as_tensor(theta[size:], dtype=torch.float64)
        return theta[:size], replace(self.likelihood, log_parameters=values)

    def mode(self, covariance: Covariance, likelihood: Likelihood) -> Mode:
        """The mode for one kernel and likelihood."""
        K, noise = covariance.matrix(self.points)
        K = as_dense(K) if len(self.y) <= EXACT else K
        noise = noise.detach().to(self.y.device)
        start = self._last if self.warm_start else None
        found = find_mode(K, noise, likelihood, self.y, offset=self.offset, start=start, max_iter=self.max_iter)
        self._last = found.weights
        return found

    def value(self, covariance: Covariance, likelihood: Likelihood, mode: Mode) -> float:
        """``log p(y | f) - f' K^-1 f / 2 - log |I + W^1/2 K W^1/2| / 2``.

        Beyond 5000 rows the determinant is estimated from probes.
        """
        if mode.lower is not None:
            return mode.objective - float(mode.lower.diagonal().log().sum())
        K, noise = covariance.matrix(self.points)
        diagonal = _as_noise(mode.curvature)
        with torch.no_grad():
            found = inv_quad_logdet(K, self.y[:, None], noise=noise + diagonal, method="lanczos", random_state=0)
        return mode.objective - 0.5 * float(found.logdet - diagonal.log().sum())

    def __call__(self, covariance: Covariance, theta: Array, *, with_prior: bool = False) -> tuple[float, Array]:
        """Value and gradient at theta, up to 5000 rows; minus infinity where the matrix is not positive."""
        kernel_theta, likelihood = self.split(np.asarray(theta, dtype=np.float64))
        at = covariance.at(kernel_theta) if len(kernel_theta) else covariance
        slopes: Tensor | None = None
        if isinstance(at, SklearnCovariance):
            K, slopes = at.matrix_and_slopes(self.points)
            noise = K.new_zeros(())
        else:
            K, noise = at.matrix(self.points)
            K, noise = as_dense(K).detach(), noise.detach()
        start = self._last if self.warm_start else None
        try:
            mode = find_mode(K, noise, likelihood, self.y, offset=self.offset, start=start, max_iter=self.max_iter)
        except np.linalg.LinAlgError:
            return -math.inf, np.zeros(len(theta))  # a bad place: a search turns back
        self._last = mode.weights
        value = self.value(at, likelihood, mode)
        G, of_parameters = _slopes(K, noise, likelihood, self.y, mode, self.offset)
        of_likelihood = of_parameters.numpy()[list(self.learnt)]
        if slopes is not None:
            return value, np.concatenate([torch.einsum("ij,ijp->p", G, slopes).numpy(), of_likelihood])
        assert isinstance(covariance, MercerCovariance)
        if not len(kernel_theta):
            return value, of_likelihood
        log_values = torch.tensor(kernel_theta, dtype=torch.float64, requires_grad=True)
        kernel = covariance.with_tensor(log_values)
        matrix, own = matrix_and_noise(kernel, self.points.to(torch.float64))
        total = (G * as_dense(matrix)).sum() + own * G.diagonal().sum()
        prior = log_prior(kernel) if with_prior else None
        if prior is not None:
            value += float(prior.detach())
            total = total + prior.to(total.device)
        (gradient,) = torch.autograd.grad(total, log_values)
        return value, np.concatenate([gradient.cpu().numpy(), of_likelihood])


def _slopes(
    K: Tensor, noise: Tensor, likelihood: Likelihood, y: Tensor, mode: Mode, offset: float
) -> tuple[Tensor, Tensor]:
    """Derivatives of the evidence by every entry of K, ``(n, n)``, and by the likelihood's logarithms, ``(p,)``."""
    assert mode.lower is not None
    root, a, f = mode.curvature.sqrt(), mode.weights, mode.f + offset
    C = K.clone()
    C.diagonal().add_(noise)
    half = torch.linalg.solve_triangular(mode.lower, root[:, None] * C, upper=False)
    variance = C.diagonal() - half.square().sum(0)  # of the latent values
    R = root[:, None] * torch.cholesky_inverse(mode.lower) * root  # (K + 1/W)^-1
    G = 0.5 * (torch.outer(a, a) - R)
    third = likelihood.slopes(y, f)[2]
    moved = torch.zeros_like(a)
    if likelihood.curvature_depends_on_f:
        pull = 0.5 * variance * third.detach()  # minus the derivative of log |B| / 2 by f
        u = pull - R @ (C @ pull)
        G += 0.5 * (torch.outer(u, a) + torch.outer(a, u))
        moved = C @ u
    if not likelihood.names:
        return G, a.new_zeros(0)
    values = likelihood.log_parameters.clone().requires_grad_(True)
    there = replace(likelihood, log_parameters=values)
    first = there.slopes(y, f)[0]
    total = there.log_density(y, f).sum() - 0.5 * (variance * there.curvature(y, f)).sum() + moved @ first
    return G, torch.autograd.grad(total, values)[0]


def _newton_weights(K: Tensor, noise: Tensor, W: Tensor, target: Tensor) -> Tensor:
    """``(I + W K)^-1 target`` by a Cholesky factor of a matrix whose eigenvalues are at least 1."""
    lower, root = _factor(K, noise, W), W.sqrt()
    times = K @ target + noise * target
    return target - root * torch.cholesky_solve((root * times)[:, None], lower).squeeze(1)


def _factor(K: Tensor, noise: Tensor, W: Tensor) -> Tensor:
    root = W.sqrt()
    B = root[:, None] * K * root
    B.diagonal().add_(1.0 + noise * W)
    lower, failed = torch.linalg.cholesky_ex(B)
    if int(failed):
        raise np.linalg.LinAlgError("The kernel is not returning a positive semi-definite matrix: check its values.")
    result: Tensor = lower
    return result


def _as_noise(W: Tensor) -> Tensor:
    return 1.0 / W.clamp(min=_LEAST_CURVATURE * max(float(W.max()), 1e-30))
