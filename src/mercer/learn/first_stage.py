"""Functions that are linear in their coefficients: ridge regression whose rows left out are part of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mercer.config import fits_memory
from mercer.kernels.features.exact import FeatureMap
from mercer.learn.descent import path_over_features
from mercer.learn.dual import DualPath
from mercer.learn.leave_one_out import leave_one_out
from mercer.learn.primal import FeatureRows, PrimalPath, StoredRows, row_blocks
from mercer.learn.ridge import feature_rows, fit_ridge
from mercer.learn.similarity import Similarity

__all__ = ["FirstStage", "Solution", "best_of"]

# Of the largest eigenvalue: the penalties among which left-out rows choose, a factor of 3.2 apart.
_PENALTIES = np.logspace(-8.0, 0.5, 18)
_STORED_BYTES = 256 * 2**20  # of features that are kept for a second pass


@dataclass(frozen=True)
class Solution:
    """A ridge regression.

    Attributes:
        coefficients: of the features ``(r, t)``, or of the training points ``(n, t)``.
        alpha: its penalty.
        errors: ``(n, t)``; for every row, y minus the prediction of a model made without it.
    """

    coefficients: Tensor
    alpha: float
    errors: Tensor


@dataclass(frozen=True)
class FirstStage:
    """Ridge regression of any targets at the same points, by a kernel or by explicit features.

    Attributes:
        similarity: the kernel; None where only the features are known.
        features: explicit ones; None solves over the rows.
        points: the training points ``(n, d)``, float64; of no use with features once everything is fitted.
        n_steps: of gradient descent; None is ridge regression.
    """

    similarity: Similarity | None
    features: FeatureMap | None
    points: Tensor
    n_steps: int | None = None

    def fit(self, Y: Tensor, *, alpha: float | None, weights: Tensor | None = None) -> Solution:
        """Learn targets ``(n, t)`` with one penalty for all; None takes the one of the least left-out error."""
        if self.features is None:
            assert self.similarity is not None
            if alpha is None:
                return best_of(DualPath(self.similarity.matrix(self.points), Y, weights), None, weights)
            found = fit_ridge(self.similarity, self.points, Y, alpha=alpha, weights=weights)
            dual = found.coefficients
            errors = leave_one_out(self.similarity, self.points, Y, dual, alpha=alpha, weights=weights)
            return Solution(dual, alpha, errors)
        return best_of(path_over_features(self._rows, Y, weights, self.n_steps), alpha, weights)

    def __call__(self, coefficients: Tensor, points: Tensor) -> Tensor:
        """The functions of these coefficients at points ``(m, d)``, ``(m, t)``; differentiable in the points."""
        if self.features is None:
            assert self.similarity is not None
            return self.similarity.times(points, self.points, coefficients)
        blocks = row_blocks(len(points), self.features.count)
        return torch.cat([self.features(points[block]) @ coefficients for block in blocks])

    @cached_property
    def _rows(self) -> FeatureRows:
        assert self.features is not None
        rows = feature_rows(self.features, self.points)
        size = 8 * rows.n * rows.width
        if size > _STORED_BYTES or not fits_memory(2 * size):  # joining the blocks takes as much again
            return rows
        stored = torch.cat([rows.block(block) for block in row_blocks(rows.n, rows.width)])
        return StoredRows(rows.n, rows.width, lambda rows: stored[rows])


def best_of(path: PrimalPath | DualPath, alpha: float | None, weights: Tensor | None = None) -> Solution:
    """Ridge regression of a path at one penalty; None takes that of the least (weighted) left-out error."""
    if alpha is None:
        largest = float(path.values.max())
        penalties: Sequence[float] = (_PENALTIES * largest).tolist() if largest > 0.0 else [1.0]
    else:
        penalties = [alpha]
    errors = path.leave_one_out(penalties)  # (a, n, t)
    squares = errors.square() if weights is None else errors.square() * weights[:, None]
    best = int(squares.mean((1, 2)).argmin())
    return Solution(path.coefficients(penalties[best]), penalties[best], errors[best].clone())
