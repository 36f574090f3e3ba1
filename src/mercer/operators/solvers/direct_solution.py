"""Functions of ``K + noise I`` that a plan knows without iterations over the points: a protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

__all__ = ["DirectSolution"]


class DirectSolution(Protocol):
    """``M = K + diag(noise)`` for one n x n kernel matrix whose structure gives solutions, all in float64.

    A low-rank or Fourier form gives them in weight space, a Kronecker product by the eigenvalues of its factors.

    Attributes:
        name: how results call the method, such as "weights".
        error: of K's entries, relative to the largest: what the structure left out.
        least_rows: from how many rows on one solution takes less than conjugate gradients over the rows.
    """

    name: str
    error: float

    @property
    def least_rows(self) -> int: ...

    def applies(self, noise: Tensor) -> str | None:
        """None if it can take this noise, ``()`` or ``(n,)``; else why not."""

    def solve(self, B: Tensor, noise: Tensor) -> Tensor:
        """``M^-1 B`` for B ``(n, t)``; not differentiable."""

    def inv_quad_logdet(self, Y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``y' M^-1 y`` of every column ``(t,)``, ``log det M`` ``()``, and its standard error.

        The first two are differentiable in whatever K and the noise depend on.
        """

    def sample(self, n_samples: int, draw: torch.Generator) -> Tensor:
        """``(n, n_samples)`` draws of N(0, K)."""

    def inv_quad_of(self, cross: KernelOperator, noise: Tensor) -> Tensor:
        """``c' M^-1 c`` for every row c of a cross matrix k(Z, X), ``(z,)``: what a posterior variance subtracts."""
