"""Solves and log-determinants of a Kronecker product plus constant noise, by the eigenvalues of the factors."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mercer.operators.kronecker import multiply_modes

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

__all__ = ["KroneckerSolution"]

BLOCK = 64  # rows of a cross matrix at a time


class KroneckerSolution:
    """``M = P (number A_1 x ... x A_d) P' + noise I`` for symmetric factors; P puts points into grid order.

    Args:
        factors: ``(n_a, n_a)``; with their graph.
        number: a scalar in front, with its graph.
        places: where in the grid each row is, ``(n,)``, every place once.

    Cost: ``sum n_a^3`` once, then ``n sum n_a`` multiply-adds a column.
    Source: Saatci, Scalable inference for structured Gaussian process models (2011), chapter 5.
    """

    name = "kronecker"
    least_rows = 0
    error = 0.0

    def __init__(self, factors: tuple[Tensor, ...], number: Tensor, places: Tensor) -> None:
        self._factors = tuple(f.to(torch.float64) for f in factors)
        self._number = number.to(torch.float64)
        self._places = places
        with torch.no_grad():
            eigen = [torch.linalg.eigh(f.detach()) for f in self._factors]
            self._values = [e.eigenvalues for e in eigen]
            self._vectors = tuple(e.eigenvectors for e in eigen)
            self.eigenvalues = self._number.detach() * reduce(_flat_outer, self._values)  # (n,), in grid order

    def applies(self, noise: Tensor) -> str | None:
        """One noise for all rows."""
        return None if noise.dim() == 0 else "the eigenvalues of a Kronecker product take one noise for all rows"

    @torch.no_grad()
    def solve(self, B: Tensor, noise: Tensor) -> Tensor:
        """``M^-1 B``."""
        return self._spectral(B, 1.0 / (self.eigenvalues + noise))

    def inv_quad_logdet(self, Y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Exact; gradients from ``-x' dM x`` and ``tr(M^-1 dM)``, which need no derivative of an eigenvector."""
        shifted = self.eigenvalues + noise.detach()
        x = self.solve(Y, noise.detach())
        logdet, error = shifted.log().sum(), shifted.new_zeros(())
        quad = (Y * x).sum(0)
        if torch.is_grad_enabled():
            spread = self._to_grid(x)
            product = self._number * multiply_modes(self._factors, spread)
            slope = 2.0 * (Y * x).sum(0) - (spread * product).sum(0) - noise * x.square().sum(0)
            quad = quad + slope - slope.detach()
            trace = (
                noise * (1.0 / shifted).sum()
                + self._number * (self.eigenvalues / shifted).sum() / self._number.detach()
            )
            weights = (self._number.detach() / shifted).reshape([len(v) for v in self._values])
            for a, (factor, Q) in enumerate(zip(self._factors, self._vectors, strict=True)):
                w = weights
                for b, values in enumerate(self._values):
                    if b != a:
                        w = (w.movedim(b, -1) * values).sum(-1, keepdim=True).movedim(-1, b)
                trace = trace + (factor * ((Q * w.reshape(-1)) @ Q.mT)).sum()
            logdet = logdet + trace - trace.detach()
        return quad, logdet, error

    @torch.no_grad()
    def sample(self, n_samples: int, draw: torch.Generator) -> Tensor:
        """``K^1/2`` times white noise."""
        white = torch.randn(len(self._places), n_samples, dtype=torch.float64, generator=draw)
        return self._spectral(white.to(self._places.device), self.eigenvalues.clamp(min=0.0).sqrt())

    @torch.no_grad()
    def inv_quad_of(self, cross: KernelOperator, noise: Tensor) -> Tensor:
        """Some rows of the cross matrix at a time."""
        parts = []
        for i in range(0, cross.shape[-2], BLOCK):
            C = cross[i : i + BLOCK, :].to_dense().to(torch.float64)
            parts.append((C * self.solve(C.mT, noise).mT).sum(1))
        return torch.cat(parts)

    def _to_grid(self, B: Tensor) -> Tensor:
        return torch.empty_like(B).index_copy(0, self._places, B)

    def _spectral(self, B: Tensor, values: Tensor) -> Tensor:
        transposed = tuple(Q.mT for Q in self._vectors)
        inside = multiply_modes(transposed, self._to_grid(B)) * values.unsqueeze(1)
        return multiply_modes(self._vectors, inside)[self._places]


def _flat_outer(a: Tensor, b: Tensor) -> Tensor:
    return (a.unsqueeze(1) * b).flatten()
