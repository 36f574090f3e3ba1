"""Systems ``Z Z' + noise`` solved in the space of the features' weights: the cost of a step does not know n.

For n rows, M features and ``noise = s h`` (a number s, known ratios h, by default 1), with ``G = Z' H^-1 Z`` and
``A = G + s I``:

    (Z Z' + s H)^-1 y = H^-1 (y - Z w) / s,   w = A^-1 Z' H^-1 y
    log det (Z Z' + s H) = log det A + (n - M) log s + sum(log h)
    y' (Z Z' + s H)^-1 y = |y - Z w|^2_(1/h) / s + |w|^2

The last has its minimum at w, so that an error of w enters squared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mercer.errors import NotConverged, ShapeError
from mercer.operators.solvers.cholesky import NotPositiveDefinite
from mercer.operators.solvers.exact import dense_inv_quad_logdet

__all__ = [
    "DenseFeatures",
    "Features",
    "JoinedFeatures",
    "WeightFactor",
    "WeightSpace",
    "WeightSystem",
    "joined_gram",
    "weight_inv_quad_logdet",
]

_REFINEMENTS = 20


class Features(Protocol):
    """A matrix Z ``(n, M)`` with ``K = Z Z'``, all in float64; it may never be stored."""

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, M)``."""

    def times(self, w: Tensor) -> Tensor:
        """``Z w`` for w ``(M, t)``."""

    def transposed(self, v: Tensor) -> Tensor:
        """``Z' v`` for v ``(n, t)``."""

    def gram(self, weights: Tensor | None = None) -> Tensor:
        """``Z' diag(weights) Z``, ``(M, M)``; weights ``(n,)``, by default 1."""


@dataclass(frozen=True, eq=False)
class DenseFeatures:
    """A stored Z ``(n, M)``."""

    Z: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        n, M = self.Z.shape
        return n, M

    def times(self, w: Tensor) -> Tensor:
        return self.Z.to(torch.float64) @ w

    def transposed(self, v: Tensor) -> Tensor:
        return self.Z.to(torch.float64).mT @ v

    def gram(self, weights: Tensor | None = None) -> Tensor:
        Z = self.Z.to(torch.float64)
        return Z.mT @ (Z if weights is None else Z * weights[:, None])


@dataclass(frozen=True, eq=False)
class JoinedFeatures:
    """``Z = [A B]``: the features of a sum of two matrices, side by side."""

    A: Features
    B: Features

    @property
    def shape(self) -> tuple[int, int]:
        n, M = self.A.shape
        return n, M + self.B.shape[1]

    def times(self, w: Tensor) -> Tensor:
        M = self.A.shape[1]
        return self.A.times(w[:M]) + self.B.times(w[M:])

    def transposed(self, v: Tensor) -> Tensor:
        return torch.cat([self.A.transposed(v), self.B.transposed(v)])

    def gram(self, weights: Tensor | None = None) -> Tensor:
        M = self.B.shape[1]
        Z = self.B.times(torch.eye(M, dtype=torch.float64))
        mixed = self.A.transposed(Z if weights is None else Z * weights[:, None])
        return joined_gram(self.A.gram(weights), mixed, self.B.gram(weights))


def joined_gram(A: Tensor, mixed: Tensor, B: Tensor) -> Tensor:
    """``[A B]' [A B]`` of two matrices of features from ``A' A``, ``A' B`` and ``B' B``."""
    return torch.cat([torch.cat([A, mixed], 1), torch.cat([mixed.mT, B], 1)])


class WeightFactor:
    """The Cholesky factor of ``A = G + s I``, float64.

    Args:
        gram: G ``(M, M)``.
        noise: s > 0, the units of K.

    Raises:
        NotPositiveDefinite: s is below the round-off of G.
    """

    def __init__(self, gram: Tensor, noise: float) -> None:
        self.gram, self.noise = gram, noise
        shifted = gram.clone()
        shifted.diagonal().add_(noise)
        self.lower, failed = torch.linalg.cholesky_ex(shifted)
        if int(failed):
            raise NotPositiveDefinite(int(failed) - 1, len(gram))

    def solve(self, B: Tensor) -> Tensor:
        """``A^-1 B`` for B ``(M, t)``."""
        return torch.cholesky_solve(B, self.lower)

    def solve_lower(self, B: Tensor) -> Tensor:
        """``L^-1 B``, whose squared norm is ``B' A^-1 B``."""
        X: Tensor = torch.linalg.solve_triangular(self.lower, B, upper=False)
        return X

    def solve_upper(self, B: Tensor) -> Tensor:
        """``L^-T B``: draws of N(0, A^-1) from white noise B."""
        X: Tensor = torch.linalg.solve_triangular(self.lower.mT, B, upper=True)
        return X

    def inverse(self) -> Tensor:
        """``A^-1``."""
        return torch.cholesky_inverse(self.lower)

    def logdet(self) -> Tensor:
        """``log det A``."""
        logdet: Tensor = 2.0 * self.lower.diagonal().log().sum()
        return logdet


def weight_inv_quad_logdet(
    gram: Tensor, projection: Tensor, square: Tensor, noise: Tensor, *, n: int, log_ratios: float | Tensor = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """``y' (Z Z' + s H)^-1 y`` and ``log det (Z Z' + s H)`` from sums over the rows; differentiable, no pass over n.

    Args:
        gram: ``G = Z' H^-1 Z``, ``(M, M)``.
        projection: ``Z' H^-1 y``, ``(M, t)``.
        square: ``y' H^-1 y`` of each column, ``(t,)``.
        noise: s, ``()``.
        n: the number of rows.
        log_ratios: ``sum(log h)``.

    Returns:
        ``(t,)``, ``()`` and the weights ``w``, ``(M, t)``, not differentiable. Gradients are exact; once.

    Raises:
        NotPositiveDefinite: s is below the round-off of G.

    Cost: ``M^3`` operations with the gradient.
    """
    M = len(gram)
    A = gram + noise * torch.eye(M, dtype=gram.dtype, device=gram.device)
    _, logdet, w = dense_inv_quad_logdet(A, projection.detach(), torch.zeros((), dtype=torch.float64))
    w = w.detach()  # at its minimum the form does not change with w
    misfit = square - 2.0 * (w * projection).sum(0) + (w * (gram @ w)).sum(0)
    quad = misfit / noise + w.square().sum(0)
    return quad, logdet + (n - M) * noise.log() + log_ratios, w


class WeightSystem(ABC):
    """What every way to have ``A^-1`` shares.

    Args:
        features: Z, whatever holds it.
        noise: a number or one a row ``(n,)``, > 0.

    Raises:
        ValueError: a noise that is not positive.
    """

    def __init__(self, features: Features, noise: float | Tensor) -> None:
        self.features = features
        self.scale, self.ratios = split_noise(noise, features.shape[0])

    @abstractmethod
    def invert(self, B: Tensor) -> Tensor:
        """``A^-1 B`` for B ``(M, t)``."""

    @abstractmethod
    def sample(self, n_samples: int, draw: torch.Generator, mean: Tensor | None = None) -> Tensor:
        """Draws of the weights given the data, ``(M, n_samples)``, about the posterior mean ``(M,)`` (default 0)."""

    @abstractmethod
    def variance(self, Z: Callable[[slice], Tensor], n_rows: int, *, rows: int = 4096) -> Tensor:
        """``z' (I - G A^-1) z = s z' A^-1 z`` for each of ``n_rows`` features z, given by slices ``(rows, M)``.

        That is the posterior variance of the function at a point with these features.
        """

    def weights(self, y: Tensor) -> Tensor:
        """``A^-1 Z' H^-1 y``: the posterior mean of the weights given y ``(n, t)``."""
        return self.invert(self.features.transposed(self._divided(y)))

    def solve(self, y: Tensor, *, rtol: float = 1e-8) -> Tensor:
        """``(Z Z' + noise)^-1 y`` for y ``(n, t)``, refined until its true residual is ``rtol`` of y in every column.

        Raises:
            NotConverged: refinement stopped above ``rtol``; the error carries the best answer.
        """
        n = self.features.shape[0]
        if y.ndim != 2 or len(y) != n:
            raise ShapeError(f"solve: there are {n} rows, so y must be ({n}, t), but has shape {tuple(y.shape)}.")
        norms = torch.linalg.vector_norm(y, dim=0)
        x, residual = torch.zeros_like(y), y
        if not y.shape[1]:  # a log-determinant alone
            return x
        best, previous = x, torch.inf
        for _ in range(_REFINEMENTS):
            x = x + self._divided(residual - self.features.times(self.weights(residual))) / self.scale
            residual = y - self.product(x)
            reached = float((torch.linalg.vector_norm(residual, dim=0) / norms.clamp(min=1e-300)).max())
            if reached <= rtol:
                return x
            if not reached < 0.5 * previous:
                break
            best, previous = x, reached
        raise NotConverged(
            f"solve: a relative residual of {rtol:.0e} was asked for, {min(reached, previous):.1e} was reached in "
            f"weight space ({self.features.shape[1]} weights). Give a larger noise or rtol.",
            best,
        )

    def product(self, x: Tensor) -> Tensor:
        """``(Z Z' + noise) x``."""
        noise = self.scale if self.ratios is None else self.scale * self.ratios[:, None]
        return self.features.times(self.features.transposed(x)) + noise * x

    def inv_quad(self, y: Tensor) -> Tensor:
        """``y' (Z Z' + noise)^-1 y`` of every column of y ``(n, t)``."""
        w = self.weights(y)
        misfit = y - self.features.times(w)
        return (misfit * self._divided(misfit)).sum(0) / self.scale + w.square().sum(0)

    def _divided(self, v: Tensor) -> Tensor:
        return v if self.ratios is None else v / self.ratios[:, None]


class WeightSpace(WeightSystem):
    """``(Z Z' + noise)^-1`` by one M x M Cholesky factorisation.

    Args:
        features: Z, whatever holds it.
        noise: a number or one a row ``(n,)``, > 0.
        gram: ``Z' diag(mean(noise) / noise) Z`` where it is known already.

    Raises:
        ValueError: a noise that is not positive.
        NotPositiveDefinite: the noise is below the round-off of ``Z' Z``.

    Cost: ``n M^2`` for stored features, then ``M^3 / 3`` operations and ``16 M^2`` bytes.

    >>> space = WeightSpace(DenseFeatures(torch.ones(3, 1, dtype=torch.float64)), noise=1.0)
    >>> space.solve(torch.tensor([[4.0], [4.0], [8.0]], dtype=torch.float64)).squeeze(), space.logdet()
    (tensor([0., 0., 4.], dtype=torch.float64), tensor(1.3863, dtype=torch.float64))
    """

    def __init__(self, features: Features, noise: float | Tensor, *, gram: Tensor | None = None) -> None:
        super().__init__(features, noise)
        if gram is None:
            gram = features.gram(None if self.ratios is None else 1.0 / self.ratios)
        self.factor = WeightFactor(gram, self.scale)

    def invert(self, B: Tensor) -> Tensor:
        return self.factor.solve(B)

    def logdet(self) -> Tensor:
        """``log det (Z Z' + noise)``."""
        n, M = self.features.shape
        ratios = 0.0 if self.ratios is None else float(self.ratios.log().sum())
        return self.factor.logdet() + (n - M) * torch.tensor(self.scale, dtype=torch.float64).log() + ratios

    def sample(self, n_samples: int, draw: torch.Generator, mean: Tensor | None = None) -> Tensor:
        M = self.features.shape[1]
        white = torch.randn(M, n_samples, dtype=torch.float64, generator=draw)
        deviation: Tensor = self.scale**0.5 * self.factor.solve_upper(white)
        return deviation if mean is None else mean[:, None] + deviation

    def variance(self, Z: Callable[[slice], Tensor], n_rows: int, *, rows: int = 4096) -> Tensor:
        parts = []
        for i in range(0, n_rows, rows):
            block = Z(slice(i, min(n_rows, i + rows)))
            parts.append(self.scale * self.factor.solve_lower(block.mT).square().sum(0))
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def split_noise(noise: float | Tensor, n: int) -> tuple[float, Tensor | None]:
    """``noise = s h``: its mean s, and h ``(n,)`` or None where it is one number.

    Raises:
        ValueError: not positive or not finite.
        ShapeError: another number of values.
    """
    values = torch.as_tensor(noise, dtype=torch.float64).detach()
    if not bool((torch.isfinite(values) & (values > 0.0)).all()):
        raise ValueError("noise must be positive and finite: weight space divides by it.")
    if values.numel() == 1:
        return float(values), None
    if values.shape != (n,):
        raise ShapeError(f"noise must be one number or one a row: ({n},), but has shape {tuple(values.shape)}.")
    scale = float(values.mean())
    return scale, values / scale
