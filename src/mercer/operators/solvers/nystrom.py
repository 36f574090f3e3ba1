"""The randomised Nystrom approximation: the low rank of a matrix of which only products are known."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.config import require_memory
from mercer.operators.solvers.system import Matrix, System

__all__ = ["Nystrom", "nystrom"]

_FIRST = 64  # columns to begin with; each further step doubles them
_BLOCK = 64  # columns of one product


@dataclass(frozen=True)
class Nystrom:
    """``A`` is near ``vectors @ diag(values) @ vectors.T``, positive semidefinite and below A.

    Attributes:
        values: ``(rank,)`` estimates of the largest eigenvalues of A from below, largest first, float64.
        vectors: ``(n, rank)``, orthonormal columns.
    """

    values: Tensor
    vectors: Tensor

    @property
    def rank(self) -> int:
        """Number of eigenvalues."""
        return len(self.values)

    @property
    def next_eigenvalue(self) -> float:
        """The smallest eigenvalue found: what is left of A is of its size."""
        return float(self.values[-1]) if self.rank else math.inf

    @property
    def level(self) -> float:
        """What stands for the rest of A in a preconditioner: a multiple of the identity."""
        return self.next_eigenvalue if self.rank else 0.0

    @property
    def rows(self) -> Tensor:
        """G with ``G.T @ G + level * I`` the preconditioner's share of A, ``(rank, n)``, a copy."""
        return (self.values - self.level).clamp(min=0.0).sqrt().unsqueeze(1) * self.vectors.mT

    @property
    def pivots(self) -> Tensor:
        """None of A's own rows are used."""
        return torch.zeros(0, dtype=torch.long, device=self.values.device)


def nystrom(
    A: Matrix | System,
    rank: int,
    *,
    enough: Callable[[int, float], bool] | None = None,
    random_state: Any = 0,
) -> Nystrom:
    """A low-rank approximation from ``rank`` products of A with random vectors.

    Where entries of A are cheap, :func:`pivoted_cholesky` gives about the same for a fraction of the work; this one
    needs products only, so it serves operators whose rows cost as much as a product.

    Args:
        A: symmetric positive semidefinite ``(n, n)``: tensor, operator or System (whose noise is left out).
        rank: the most products, and the most eigenvalues.
        enough: called at 64, 128, 256, ... products with their number and ``next_eigenvalue``; True stops.
        random_state: int, generator or None; drawn on the CPU, the same on every device.

    Raises:
        MemoryBudgetError: the vectors do not fit; before anything is allocated.

    Cost: ``rank`` products with one column, in blocks of 64, and ``4 n rank^2`` multiply-adds a step; memory
    ``32 n rank`` bytes.
    Source: Frangella, Tropp & Udell, Randomized Nystrom preconditioning, arXiv 2110.02820, algorithm 2.1 (with its
    shift, which keeps the small Cholesky factorisation stable) and section 5.4 (doubling).
    """
    system = A if isinstance(A, System) else System(A)
    n, draw = system.n, generator(random_state)
    rank = min(rank, n)
    require_memory(32 * n * rank, asked=f"A Nystrom approximation of {n} x {rank}", instead="Give a smaller rank.")
    test = torch.empty(n, 0, dtype=torch.float64, device=system.device)
    image, done = test, 0
    found = Nystrom(test[0], test)
    while done < rank:
        # The first step is as large as the whole where nobody asks on the way.
        more = (min(rank, max(_FIRST, 2 * done)) if enough else rank) - done
        white = torch.randn(more, n, dtype=torch.float64, generator=draw).mT.to(system.device)
        white = white - test @ (test.mT @ white)
        fresh = torch.linalg.qr(white - test @ (test.mT @ white)).Q
        products = [_multiply(system, fresh[:, j : j + _BLOCK]) for j in range(0, more, _BLOCK)]
        test, image = torch.cat([test, fresh], 1), torch.cat([image, *products], 1)
        done += more
        found = _from_products(test, image)
        if enough is not None and enough(done, found.next_eigenvalue):
            break
    return found


def _multiply(system: System, V: Tensor) -> Tensor:
    """A V without the noise."""
    noise = system.noise[:, None] if system.noise.ndim else system.noise
    return system.product(V.contiguous()) - noise * V


def _from_products(test: Tensor, image: Tensor) -> Nystrom:
    """The approximation from orthonormal ``test`` vectors and their images, both ``(n, rank)``."""
    shift = math.sqrt(len(test)) * torch.finfo(torch.float64).eps * float(torch.linalg.matrix_norm(image))
    shifted = image + shift * test
    core = test.mT @ shifted
    lower, failed = torch.linalg.cholesky_ex(0.5 * (core + core.mT))
    if int(failed):  # products in float32, or a matrix that is not quite semidefinite
        values, vectors = torch.linalg.eigh(0.5 * (core + core.mT))
        kept = values > 1e3 * shift
        B = shifted @ (vectors[:, kept] / values[kept].sqrt())
    else:
        B = torch.linalg.solve_triangular(lower, shifted.mT, upper=False).mT
    # Of B = U S V' only U and S are needed: from the small B' B they would lose half the digits.
    U, S, _ = torch.linalg.svd(B, full_matrices=False)
    values = (S.square() - shift).clamp(min=0.0)
    kept = values > 0.0
    return Nystrom(values[kept], U[:, kept])
