"""Partial Cholesky factors with randomly drawn pivots: the low rank of a kernel matrix at the cost of a few rows."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.config import require_memory
from mercer.operators.solvers.system import Matrix, System

__all__ = ["PivotedCholesky", "pivoted_cholesky"]

_COLUMNS = 8192  # columns handled between two looks at the keyboard


@dataclass(frozen=True)
class PivotedCholesky:
    """``A = factor @ factor.T + remainder``, where the remainder is positive semidefinite and zero at the pivots.

    Attributes:
        rows: the factor transposed, ``(rank, n)``, float64.
        pivots: ``(rank,)``, the rows of A that were used, in order.
        remainder: ``(n,)``, the diagonal of what is left; its sum bounds the largest eigenvalue of the remainder.
        next_eigenvalue: an estimate of that eigenvalue: what each pivot of the last block has taken off the trace.
    """

    rows: Tensor
    pivots: Tensor
    remainder: Tensor
    next_eigenvalue: float

    @property
    def factor(self) -> Tensor:
        """``(n, rank)``, a view of ``rows``."""
        return self.rows.mT

    @property
    def rank(self) -> int:
        """Number of pivots."""
        return len(self.pivots)

    @property
    def level(self) -> float:
        """What stands for the remainder in a preconditioner: its mean diagonal."""
        return float(self.remainder.mean())


def pivoted_cholesky(
    A: Matrix | System,
    rank: int,
    *,
    tolerance: float = 0.0,
    enough: Callable[[int, float], bool] | None = None,
    random_state: Any = 0,
) -> PivotedCholesky:
    """A partial Cholesky factor of A with pivots drawn in proportion to the diagonal that is left.

    Pivots are proposed in blocks and thinned by rejection, which gives the distribution of one-by-one pivoting at the
    speed of matrix products.

    Args:
        A: symmetric positive semidefinite ``(n, n)``: tensor, operator or System (whose noise is left out).
        rank: the most pivots; fewer when the remainder has become round-off.
        tolerance: stop when the sum of the remaining diagonal is at or below this.
        enough: called after every block with the rank and ``next_eigenvalue``; True stops.
        random_state: int, generator or None; drawn on the CPU, so every device takes the same pivots.

    Raises:
        MemoryBudgetError: the factor does not fit; before anything is allocated.

    Cost: ``n * rank^2`` multiply-adds and ``n * rank`` entries of A; memory ``8 * n * rank`` bytes.
    Source: Chen, Epperly, Tropp & Webber, Randomly pivoted Cholesky (2022); with rejection: Epperly, Tropp & Webber,
    Embrace rejection (2024), algorithm 2.
    """
    system = A if isinstance(A, System) else System(A)
    draw = generator(random_state)
    n, device = system.n, system.device
    rank = min(rank, n)
    block = min(256, max(1, rank // 8))
    require_memory(
        8 * n * (rank + block), asked=f"A pivoted Cholesky factor of {n} x {rank}", instead="Give a smaller rank."
    )
    remainder = system.diagonal().clone().clamp_(min=0.0)
    # Below this a remaining diagonal entry is round-off of the entry it started from.
    floor = 4 * torch.finfo(torch.float64).eps * max(1, rank) * remainder
    rows = torch.empty(rank, n, dtype=torch.float64, device=device)
    pivots: list[int] = []
    next_eigenvalue = float(remainder.sum())
    while len(pivots) < rank:
        remainder = torch.where(remainder > floor, remainder, 0.0)
        total = float(remainder.sum())
        if total <= tolerance or total == 0.0:
            break
        k = len(pivots)
        # torch.multinomial takes at most 2^24 categories; a sorted search over the running sum takes any number.
        running = remainder.cpu().cumsum(0)
        draws = torch.rand(block, dtype=torch.float64, generator=draw) * running[-1]
        proposed = torch.searchsorted(running, draws).clamp_(max=n - 1).unique()
        proposed = proposed[torch.randperm(len(proposed), generator=draw)].to(device)
        candidates = system.rows(proposed)  # (b, n)
        schur = candidates[:, proposed] - rows[:k, proposed].mT @ rows[:k, proposed]
        kept, lower = _thin(schur.cpu(), remainder[proposed].cpu(), rank - k, draw)
        if not len(kept):
            # The running difference had drifted from the true diagonal: take the true one and draw again.
            remainder[proposed] = schur.diagonal().clamp(min=0.0)
            continue
        kept, lower = kept.to(device), lower.to(device)
        chosen, update = proposed[kept], candidates[kept]
        for j in range(0, n, _COLUMNS):
            columns = slice(j, j + _COLUMNS)
            update[:, columns] -= rows[:k, chosen].mT @ rows[:k, columns]
            rows[k : k + len(kept), columns] = torch.linalg.solve_triangular(lower, update[:, columns], upper=False)
        taken = rows[k : k + len(kept)].square().sum(0)
        remainder = (remainder - taken).clamp_(min=0.0)
        remainder[chosen] = 0.0
        pivots.extend(chosen.tolist())
        next_eigenvalue = min(float(taken.sum()) / len(kept), float(remainder.sum()))
        if enough is not None and enough(len(pivots), next_eigenvalue):
            break
    index = torch.tensor(pivots, dtype=torch.long, device=device)
    return PivotedCholesky(rows[: len(pivots)], index, remainder, next_eigenvalue)


def _thin(schur: Tensor, proposed_with: Tensor, limit: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Accept proposals in turn, with the probability that their diagonal has kept; also their Cholesky factor."""
    # NumPy: a torch call costs more than the arithmetic at this size.
    left = schur.numpy().copy()
    threshold = (torch.rand(len(left), dtype=torch.float64, generator=draw) * proposed_with).numpy()
    kept: list[int] = []
    lower = np.zeros_like(left)
    for i in range(len(left)):
        value = float(left[i, i])
        if value <= 0.0 or value < float(threshold[i]) or len(kept) == limit:
            continue
        column = left[:, i] / math.sqrt(value)
        left -= np.outer(column, column)
        lower[i:, len(kept)] = column[i:]
        kept.append(i)
    return torch.tensor(kept, dtype=torch.long), torch.from_numpy(lower[kept, : len(kept)].copy())
