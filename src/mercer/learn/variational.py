"""A Gaussian over whitened inducing values: moments anywhere, its divergence from the prior, natural-gradient steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.kernels import Kernel
from mercer.operators import NotPositiveDefinite

__all__ = ["Variational", "whiten"]

JITTER = 1e-9  # of the mean diagonal of k(Z, Z): keeps its factor positive where inducing points come close
Expected = Callable[[Tensor, Tensor], Tensor]  # means and variances (b, c) of f to the expected log density (b,)


def whiten(kernel: Kernel, Z: Tensor, X: Tensor) -> tuple[Tensor, Tensor]:
    """``A = L^-1 k(Z, X)`` with ``L L' = k(Z, Z)``, ``(M, b)``, and ``k(x, x) - |A_x|^2``, ``(b,)``; differentiable.

    Raises:
        NotPositiveDefinite: inducing points that coincide.
    """
    inner = torch.as_tensor(kernel(Z).to_dense())
    inner = inner + JITTER * inner.diagonal().mean() * torch.eye(len(Z), dtype=inner.dtype, device=inner.device)
    lower, failed = torch.linalg.cholesky_ex(inner)
    if int(failed):
        raise NotPositiveDefinite(int(failed) - 1, len(Z))
    A = torch.linalg.solve_triangular(lower, torch.as_tensor(kernel(Z, X).to_dense()), upper=False)
    left = torch.as_tensor(kernel(X).diagonal()) - A.square().sum(0)
    return A, left.clamp(min=0.0)


@dataclass(frozen=True)
class Variational:
    """``q(v) = N(precision^-1 first, precision^-1)`` for each latent function, where ``u = L v``.

    Attributes:
        first: ``(c, M)``.
        precision: ``(c, M, M)``.

    Source: Hensman, Matthews & Ghahramani, Scalable variational Gaussian process classification (2015); the steps are
    those of Salimbeni, Eleftheriadis & Hensman, Natural gradients in practice (2018), written as sites as in Khan &
    Lin, Conjugate-computation variational inference (2017).
    """

    first: Tensor
    precision: Tensor

    @classmethod
    def prior(cls, n_inducing: int, n_latent: int, like: Tensor) -> Variational:
        """A standard normal distribution."""
        eye = torch.eye(n_inducing, dtype=torch.float64, device=like.device)
        return cls(like.new_zeros(n_latent, n_inducing, dtype=torch.float64), eye.repeat(n_latent, 1, 1))

    def factor(self) -> Tensor:
        """Cholesky factors of the precisions, ``(c, M, M)``."""
        return torch.stack([torch.linalg.cholesky(P) for P in self.precision])

    def mean(self) -> Tensor:
        """``(c, M)``."""
        return torch.cholesky_solve(self.first[..., None], self.factor()).squeeze(-1)

    def moments(self, A: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        """Means and variances of the latent functions, ``(b, c)``, from :func:`whiten`; with the graph of A."""
        lower = self.factor()
        mean = torch.cholesky_solve(self.first[..., None], lower).squeeze(-1)  # (c, M)
        known = torch.stack([torch.linalg.solve_triangular(R, A, upper=False).square().sum(0) for R in lower], 1)
        return A.mT @ mean.mT, left[:, None] + known

    def divergence(self) -> Tensor:
        """Kullback-Leibler divergence from the standard normal prior, summed over latent functions."""
        lower, size = self.factor(), self.first.shape[1]
        mean = torch.cholesky_solve(self.first[..., None], lower).squeeze(-1)
        trace = torch.stack([torch.cholesky_inverse(R).diagonal().sum() for R in lower])
        log_determinant = 2.0 * lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return 0.5 * (trace + mean.square().sum(-1) - size + log_determinant).sum()

    def step(self, A: Tensor, left: Tensor, expected: Expected, *, weight: float, rate: float) -> Variational:
        """A natural-gradient step on ``weight * sum expected(mean, variance) - divergence``.

        ``rate=1`` goes to the optimum at once where the likelihood is Gaussian and all rows are given.
        """
        A, left = A.detach(), left.detach()
        mean, variance = (v.detach().requires_grad_(True) for v in self.moments(A, left))
        with torch.enable_grad():
            by_mean, by_variance = torch.autograd.grad(expected(mean, variance).sum(), (mean, variance))
        # >= 0 for log-concave likelihoods; elsewhere a negative site would not leave a distribution.
        sites = (-2.0 * by_variance).clamp(min=0.0)  # (b, c)
        pulls = by_mean + sites * mean.detach()
        eye = torch.eye(len(A), dtype=A.dtype, device=A.device)
        precision = torch.stack([eye + weight * (A * w) @ A.mT for w in sites.mT])
        first = weight * (A @ pulls).mT
        return Variational((1.0 - rate) * self.first + rate * first, (1.0 - rate) * self.precision + rate * precision)

    def parts(self) -> list[Any]:
        """As an estimator keeps it."""
        return [self.first, self.precision]
