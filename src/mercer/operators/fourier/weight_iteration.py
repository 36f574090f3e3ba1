"""Weight space beyond what a Cholesky factorisation can hold: conjugate gradients on Toeplitz normal equations.

``A = D G D + s I`` with D the roots of the coefficients and G a :class:`ToeplitzGram`. The preconditioner P is A itself
on the largest weights, by Cholesky, and its diagonal on all others, of which the data tell little.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.errors import NotConverged
from mercer.operators.fourier.toeplitz_gram import ToeplitzGram
from mercer.operators.solvers import Features, WeightFactor, WeightSystem, block_cg, lanczos_solve, quadrature

__all__ = ["IterativeWeightSpace", "WeightIteration", "iterative_inv_quad_logdet"]

MOST_HEAD = 4000  # weights of the block factorised
_LEAST_HEAD = 500
_TOLD = 0.1  # a mode's variance over that of its estimate from the data: from here on in the block, if there is room
_MAX_ITER = 1000
_RTOL = 1e-10
_PROBE_RTOL = 1e-4  # enters a log-determinant squared and a gradient once
_VARIANCE_RTOL = 1e-6  # enters squared
_COLUMNS = 64  # right-hand sides at a time


class HeadAndDiagonal:
    """``P``: the block of A of its largest weights by Cholesky, the diagonal of A for the rest.

    Args:
        gram: G.
        root: D, ``(M,)``.
        noise: s > 0.

    Raises:
        NotPositiveDefinite: s is below the round-off of G.
    """

    def __init__(self, gram: ToeplitzGram, root: Tensor, noise: float) -> None:
        p = len(gram.basis.index)
        # Up to the last mode of which the data tell something.
        told = (root[:p].square() * gram.total > _TOLD * noise).nonzero()
        needed = int(told.max()) + 1 if len(told) else 0
        self.position, self.gram = gram.head(min(p, max(needed, _LEAST_HEAD // 2), max(1, MOST_HEAD // 2)))
        self.root = root[self.position]
        self.factor = WeightFactor(self.root[:, None] * self.gram * self.root, noise)
        self.diagonal = root.square() * gram.diagonal() + noise

    @property
    def size(self) -> int:
        """Weights in the block."""
        return len(self.position)

    def solve(self, V: Tensor) -> Tensor:
        """``P^-1 V``."""
        out = V / self.diagonal[:, None]
        out[self.position] = self.factor.solve(V[self.position])
        return out

    def sample(self, n_samples: int, draw: torch.Generator) -> Tensor:
        """``(M, n_samples)`` draws of N(0, P)."""
        white = torch.randn(len(self.diagonal), n_samples, dtype=torch.float64, generator=draw)
        out = self.diagonal.sqrt()[:, None] * white
        out[self.position] = self.factor.lower @ white[self.position]
        return out

    def _rest(self) -> Tensor:
        rest = torch.ones(len(self.diagonal), dtype=torch.bool)
        rest[self.position] = False
        return rest

    def logdet(self) -> Tensor:
        """``log det P``."""
        return self.factor.logdet() + self.diagonal[self._rest()].log().sum()

    def slopes(self, root: Tensor, diagonal: Tensor, V: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient of ``log det P - sum(weights * (V' P V))`` by D ``(M,)`` and by s ``()``.

        Args:
            root: D, ``(M,)``.
            diagonal: of G, ``(M,)``.
            V: ``(M, probes)``.
            weights: ``(probes,)``.
        """
        rest = self._rest()
        scaled = V.square() @ weights  # (M,)
        by_root = torch.zeros_like(root)
        by_root[rest] = (2.0 * root * diagonal * (1.0 / self.diagonal - scaled))[rest]
        inverse = self.factor.inverse()
        head = V[self.position]
        second = (head * weights) @ head.mT
        by_root[self.position] = 2.0 * ((inverse - second) * self.gram) @ self.root
        by_noise = (1.0 / self.diagonal[rest]).sum() + inverse.diagonal().sum() - scaled.sum()
        return by_root, by_noise


@dataclass(frozen=True, eq=False)
class Probes:
    """An estimate of ``log det A`` and the vectors that give its gradient.

    Attributes:
        logdet: ``()``.
        standard_error: ``()``, over the probes.
        solved: ``A^-1 z`` for each probe z ~ N(0, P), times its weight; ``solved' B applied`` estimates tr(A^-1 B).
        applied: ``P^-1 z``.
        weights: ``(probes,)``.
        n_iter: iterations.
    """

    logdet: Tensor
    standard_error: Tensor
    solved: Tensor
    applied: Tensor
    weights: Tensor
    n_iter: int


class WeightIteration:
    """``A^-1`` for ``A = D G D + s I`` by preconditioned conjugate gradients, float64, several columns at once.

    Args:
        gram: G.
        root: D, ``(M,)``.
        noise: s > 0.

    Cost: a product with G for each iteration and column, and a Cholesky factorisation of up to 4000 weights.
    """

    has_single = False

    def __init__(self, gram: ToeplitzGram, root: Tensor, noise: float) -> None:
        self.gram, self.root, self.noise = gram, root, noise
        self.P = HeadAndDiagonal(gram, root, noise)
        self.n_iter = 0  # of the last solution

    def product(self, V: Tensor, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """``A V``."""
        root = self.root[:, None]
        return root * self.gram.product(root * V) + self.noise * V

    def solve(self, B: Tensor, *, rtol: float = _RTOL) -> Tensor:
        """``A^-1 B`` for B ``(M, t)``; as near to ``rtol`` as round-off lets it.

        Raises:
            NotConverged: it is far from it.
        """
        return torch.cat([self._solve(part, rtol) for part in B.split(_COLUMNS, 1)], 1) if B.shape[1] else B.clone()

    def _solve(self, B: Tensor, rtol: float) -> Tensor:
        state = block_cg(self, B, rtol=rtol, max_iter=_MAX_ITER, precondition=self.P.solve, dtype=torch.float64)
        self.n_iter = state.n_iter
        reached = float(state.residual.max())
        if not reached <= max(rtol, 1e-6):
            raise NotConverged(
                f"weight space: a relative residual of {rtol:.0e} was asked for, {reached:.1e} was reached in "
                f"{state.n_iter} iterations with {len(B)} weights, {self.P.size} of them factorised. "
                "Give a larger noise.",
                state.X,
            )
        return state.X

    def probes(self, n_probes: int, draw: torch.Generator) -> Probes:
        """``log det A`` by stochastic Lanczos quadrature of ``P^-1/2 A P^-1/2``.

        Source: Ubaru, Chen & Saad, SIAM J. Matrix Anal. 38 (2017); Gardner et al., GPyTorch (2018).
        """
        Z = self.P.sample(n_probes, draw)
        M = len(Z)
        rtol = torch.full((n_probes,), _PROBE_RTOL, dtype=torch.float64)
        run = lanczos_solve(self, Z, self.P, rtol=rtol, max_iter=_MAX_ITER, dtype=torch.float64)
        if run.broke_down or run.n_iter >= _MAX_ITER:
            raise NotConverged(
                f"weight space: probes did not converge in {run.n_iter} iterations. Give a larger noise."
            )
        estimates = M * quadrature(run, torch.log)
        error = estimates.std() / math.sqrt(n_probes) if n_probes > 1 else estimates.new_tensor(math.inf)
        V = self.P.solve(Z)
        # On the sphere instead of with Gaussian lengths, as the quadrature does.
        weights = M / (n_probes * (Z * V).sum(0))
        return Probes(self.P.logdet() + estimates.mean(), error, run.X * weights, V, weights, run.n_iter)


def iterative_inv_quad_logdet(
    iteration: WeightIteration,
    root: Tensor,
    noise: Tensor,
    projection: Tensor,
    square: Tensor,
    *,
    n: int,
    log_ratios: float,
    n_probes: int,
    draw: torch.Generator,
) -> tuple[Tensor, Tensor, Probes]:
    """``y' (Z Z' + s H)^-1 y`` and ``log det (Z Z' + s H)`` from sums over the rows; no pass over n.

    Both are differentiable in ``root`` and ``noise``, once. The gradient of ``log det P``, the larger part, is exact;
    the rest comes from the same probes.

    Args:
        iteration: for the values of root and noise.
        root: D ``(M,)``.
        noise: s ``()``.
        projection: ``f(X)' H^-1 y`` without D, ``(M, t)``.
        square: ``y' H^-1 y``, ``(t,)``.
        n: rows.
        log_ratios: ``sum(log h)``.
        n_probes: the standard error falls with its square root.
        draw: of the probes.
    """
    gram, D, P = iteration.gram, root.detach()[:, None], iteration.P
    with torch.no_grad():
        w = iteration.solve(D * projection)
        moved = gram.product(D * w)
        misfit = square - 2.0 * (w * D * projection).sum(0) + (D * w * moved).sum(0)
        probes = iteration.probes(n_probes, draw)
        W, V = probes.solved, probes.applied
        by_root, by_noise = P.slopes(D[:, 0], gram.diagonal(), V, probes.weights)
        by_root += (W * gram.product(D * V) + V * gram.product(D * W)).sum(1)
        by_noise = by_noise + (W * V).sum()
    # At its minimum the form does not change with w.
    misfit = misfit + _slope(root[:, None] * (2.0 * w * (moved - projection)))
    quad = misfit / noise + w.square().sum(0)
    logdet = probes.logdet + _slope(root * by_root) + _slope((noise * by_noise)[None])
    return quad, logdet + (n - len(root)) * noise.log() + log_ratios, probes


def _slope(terms: Tensor) -> Tensor:
    """0, with the gradient of the sum of the terms over the first axis."""
    total = terms.sum(0)
    return total - total.detach()


class IterativeWeightSpace(WeightSystem):
    """:class:`WeightSpace` for more weights than can be factorised.

    Args:
        features: Z.
        noise: a number or one a row, > 0.
        iteration: ``A^-1`` for the mean of the noise, from sums weighted with its ratios.
    """

    def __init__(self, features: Features, noise: float | Tensor, *, iteration: WeightIteration) -> None:
        super().__init__(features, noise)
        self.iteration = iteration

    def invert(self, B: Tensor) -> Tensor:
        return self.iteration.solve(B)

    def sample(self, n_samples: int, draw: torch.Generator, mean: Tensor | None = None) -> Tensor:
        # A^-1 b for b of N(0, A): Z' H^-1/2 times noise of the rows, and sqrt(s) times noise of the weights
        n, M = self.features.shape
        rows = torch.randn(n, n_samples, dtype=torch.float64, generator=draw)
        rows = rows if self.ratios is None else rows / self.ratios.sqrt()[:, None]
        own = torch.randn(M, n_samples, dtype=torch.float64, generator=draw)
        drawn = self.features.transposed(rows) + self.scale**0.5 * own
        deviation: Tensor = self.scale**0.5 * self.iteration.solve(drawn)
        return deviation if mean is None else mean[:, None] + deviation

    def variance(self, Z: Callable[[slice], Tensor], n_rows: int, *, rows: int = _COLUMNS) -> Tensor:
        parts = []
        for i in range(0, n_rows, rows):
            block = Z(slice(i, min(n_rows, i + rows))).mT
            x = self.iteration.solve(block, rtol=_VARIANCE_RTOL)
            residual = block - self.iteration.product(x)
            parts.append(self.scale * (x * (block + residual)).sum(0))
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
