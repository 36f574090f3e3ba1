"""The ridge that fits a matrix on top of features, from sums over batches."""

from __future__ import annotations

import torch
from torch import Tensor

from mercer.errors import ShapeError

__all__ = ["RidgeSums"]


class RidgeSums:
    r"""Sums over rows from which the best matrix V on top of features Z follows, with an intercept c.

    .. math:: \min_{V, c} \; |Z V^T + c - Y|^2 + \alpha |V|^2

    In float64: squares of features have twice their digits.

    Args:
        n_features: columns of Z.
        n_outputs: columns of Y.
    """

    def __init__(self, n_features: int, n_outputs: int) -> None:
        self.n = 0
        # A constant column stands first, for the intercept.
        self.H = torch.zeros(n_features + 1, n_features + 1, dtype=torch.float64)
        self.B = torch.zeros(n_features + 1, n_outputs, dtype=torch.float64)

    def add(self, Z: Tensor, Y: Tensor) -> None:
        """Count rows ``(n, n_features)`` with targets ``(n, n_outputs)``."""
        if Z.shape != (len(Y), len(self.H) - 1) or Y.shape[1:] != self.B.shape[1:]:
            raise ShapeError(
                f"features {tuple(Z.shape)} and targets {tuple(Y.shape)} are not (n, {len(self.H) - 1}) and "
                f"(n, {self.B.shape[1]})."
            )
        F = torch.cat([Z.new_ones(len(Z), 1), Z], 1).to("cpu", torch.float64)
        self.H.addmm_(F.mT, F)
        self.B.addmm_(F.mT, Y.to("cpu", torch.float64))
        self.n += len(Z)

    def solve(self, alpha: float) -> tuple[Tensor, Tensor]:
        """V ``(n_outputs, n_features)`` and c ``(n_outputs,)``, float64; the intercept has no penalty.

        Raises:
            ValueError: no rows, a negative alpha, or an alpha too small for features that depend on each other.
        """
        if not self.n:
            raise ValueError("There are no rows to fit: the data were empty.")
        if not alpha >= 0.0:
            raise ValueError(f"alpha={alpha!r}: it must be >= 0.")
        mean = self.H[0, 1:] / self.n
        target = self.B[0] / self.n
        H = self.H[1:, 1:] - self.n * torch.outer(mean, mean)
        H.diagonal().add_(alpha)
        lower, failed = torch.linalg.cholesky_ex(H)
        if int(failed) or not bool(lower.isfinite().all()):
            raise ValueError(f"alpha={alpha!r}: the features depend on each other, so a larger alpha is needed.")
        V = torch.cholesky_solve(self.B[1:] - self.n * torch.outer(mean, target), lower).mT
        return V, target - V @ mean
