"""Ridge regression in feature space: normal equations from one pass over rows that need never be together in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mercer.config import require_memory
from mercer.learn.eigenvalues import inverse_or_zero
from mercer.progress import Progress, track

__all__ = ["FeatureRows", "Normal", "PrimalPath", "StoredRows", "normal_equations", "row_blocks"]

_BLOCK_BYTES = 64 * 2**20  # of the float64 features held at a time
_LEAST_PANEL, _PANELS = 256, 8  # columns of the normal matrix computed at a time: at least, and in how many parts


class FeatureRows(Protocol):
    """Features of n points, given a block of rows at a time."""

    @property
    def n(self) -> int:
        """Number of points."""

    @property
    def width(self) -> int:
        """Number of features."""

    def block(self, rows: slice) -> Tensor:
        """The features of some rows, float64 ``(rows, width)``."""


@dataclass(frozen=True)
class StoredRows:
    """Features computed from stored points: ``compute`` maps ``points[rows]`` to float64 features."""

    n: int
    width: int
    compute: Callable[[slice], Tensor]

    def block(self, rows: slice) -> Tensor:
        """The features of some rows."""
        return self.compute(rows)


def row_blocks(n: int, width: int) -> Iterator[slice]:
    """Slices of rows whose features take at most 64 MB."""
    step = max(1, _BLOCK_BYTES // (8 * max(1, width)))
    return (slice(i, min(i + step, n)) for i in range(0, n, step))


@dataclass(frozen=True)
class Normal:
    """``H = F' S F`` ``(r, r)`` and ``B = F' S Y`` ``(r, t)`` for features F, weights S and targets Y."""

    H: Tensor
    B: Tensor

    def residual(self, solution: Tensor, alpha: float) -> float:
        """The largest relative residual of ``(H + alpha) solution = B`` over the targets."""
        error = torch.linalg.vector_norm(self.H @ solution + alpha * solution - self.B, dim=0)
        return float((error / torch.linalg.vector_norm(self.B, dim=0).clamp(min=1e-300)).max())

    def solve(self, alpha: float) -> tuple[Tensor, bool]:
        """``(H + alpha)^-1 B``, and whether it is singular (then the solution of least norm)."""
        shifted = self.H.clone()
        shifted.diagonal().add_(alpha)
        lower, failed = torch.linalg.cholesky_ex(shifted)
        diagonal = lower.diagonal()
        # Below this ratio the factor has no correct digit left.
        worst = len(diagonal) * torch.finfo(torch.float64).eps
        if not int(failed) and float(diagonal.min()) ** 2 > worst * float(diagonal.max()) ** 2:
            return torch.cholesky_solve(self.B, lower), False
        values, vectors = torch.linalg.eigh(shifted)
        inverse = inverse_or_zero(values, values)
        return vectors @ (inverse[:, None] * (vectors.mT @ self.B)), True


def normal_equations(
    rows: FeatureRows, Y: Tensor, weights: Tensor | None, *, description: str, n_matrices: int = 3
) -> Normal:
    """H and B in one pass over the rows.

    Args:
        rows: the features.
        Y: ``(n, t)`` targets, float64.
        weights: of the rows, ``(n,)``, or None.
        description: in front of the progress bar.
        n_matrices: how many of the size of H there will be at a time, with what is done to it afterwards.

    Raises:
        MemoryBudgetError: H does not fit; before anything is allocated.

    Cost: ``n r^2 / 2`` multiply-adds in float64 (the half below the diagonal, in panels; all of it up to 256 features).
    """
    r = rows.width
    instead = "Use fewer features or fewer centres."
    require_memory(8 * n_matrices * r * r, asked=f"A ridge with {r} features", instead=instead)
    H = Y.new_zeros(r, r)
    B = Y.new_zeros(r, Y.shape[1])
    progress: Progress[int] = track(None, description=description, total=rows.n)
    with progress:
        for block in row_blocks(rows.n, r):
            F = rows.block(block)
            weighted = F if weights is None else F * weights[block, None]
            for panel in _panels(r):
                H[panel, : panel.stop].addmm_(weighted[:, panel].mT, F[:, : panel.stop])
            B.addmm_(weighted.mT, Y[block])
            progress.advance(len(F))
    for panel in _panels(r):
        H[panel, panel.stop :] = H[panel.stop :, panel].mT
    return Normal(H, B)


def _panels(r: int) -> Iterator[slice]:
    """Ranges of the rows of a symmetric matrix; each is computed up to its diagonal block and mirrored."""
    step = max(_LEAST_PANEL, -(-r // _PANELS))
    return (slice(i, min(i + step, r)) for i in range(0, r, step))


class PrimalPath:
    """Ridge for every alpha, from one eigendecomposition ``H = V diag(values) V'`` of the normal matrix.

    Args:
        rows: the features.
        Y: ``(n, t)`` targets, float64.
        weights: of the rows, ``(n,)``, or None.
    """

    is_primal = True

    def __init__(self, rows: FeatureRows, Y: Tensor, weights: Tensor | None) -> None:
        self.rows, self.Y, self.weights = rows, Y, weights
        # Measured: H, which becomes the eigenvectors, and three times as much that LAPACK works in.
        normal = normal_equations(rows, Y, weights, description="ridge: normal equations", n_matrices=4)
        # H is symmetric: as its own transpose it lies in the order of LAPACK, which then works in it without a copy.
        self.values, self.vectors = Y.new_empty(rows.width), normal.H.mT
        torch.linalg.eigh(normal.H.mT, out=(self.values, self.vectors))
        self.values.clamp_(min=0.0)
        self.rotated = self.vectors.mT @ normal.B  # (r, t)

    def coefficients(self, alpha: float) -> Tensor:
        """Weights of the features, ``(r, t)``."""
        weights: Tensor = self.vectors @ (self._inverse(alpha)[:, None] * self.rotated)
        return weights

    def leave_one_out(self, alphas: Sequence[float]) -> Tensor:
        """For every row, y minus the prediction of a model made without it, ``(alphas, n, t)``; a second pass."""
        inverses = torch.stack([self._inverse(a) for a in alphas], 1)  # (r, a)
        columns = (inverses[:, :, None] * self.rotated[:, None]).flatten(1)  # (r, a t)
        errors = self.Y.new_empty(len(alphas), *self.Y.shape)
        progress: Progress[int] = track(None, description="ridge: rows left out", total=self.rows.n)
        with progress:
            for block in row_blocks(self.rows.n, self.rows.width + columns.shape[1]):
                Z = self.rows.block(block) @ self.vectors
                fitted = (Z @ columns).unflatten(1, (len(alphas), -1))  # (rows, a, t)
                leverage = Z.square_() @ inverses  # (rows, a)
                if self.weights is not None:
                    leverage *= self.weights[block, None]
                # A leverage of 1 is a row with a feature of its own: without it nothing is known there.
                left_out = (self.Y[block, None] - fitted) / (1.0 - leverage[:, :, None]).clamp(min=1e-15)
                errors[:, block] = left_out.transpose(0, 1)
                progress.advance(len(Z))
        return errors

    def _inverse(self, alpha: float) -> Tensor:
        shifted = self.values + alpha
        return inverse_or_zero(shifted, shifted)
