"""A fitted kernel function as what it is: coefficients on points, or weights on features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.learn.centers import CenterFeatures
from mercer.learn.dual import DualPath
from mercer.learn.inputs import densify
from mercer.learn.primal import PrimalPath, row_blocks
from mercer.learn.ridge import feature_rows, make_path, primal_features
from mercer.learn.similarity import Similarity

__all__ = ["Expansion", "ExpansionPath"]


@dataclass(frozen=True)
class Expansion:
    """``f(x) = sum_i dual_i k(x, points_i)``; the same by features where there are few.

    Attributes:
        similarity: the kernel; None for a precomputed one.
        points: the training points or the centres; unused for a precomputed kernel.
        dual: ``(n, t)``.
        feature_weights: ``(r, t)`` or None.
    """

    similarity: Similarity | None
    points: Any
    dual: Tensor
    feature_weights: Tensor | None = None

    def __call__(self, points: Any) -> Tensor:
        """The function at some points (or from rows of kernel values), ``(m, t)`` in float64."""
        if self.similarity is None:
            return densify(points, why="kernel='precomputed'").to(torch.float64) @ self.dual
        if self.feature_weights is None:
            return self.similarity.times(points, self.points, self.dual)
        features = primal_features(self.similarity, self.points)
        assert features is not None
        rows = feature_rows(features, points)
        return torch.cat([rows.block(block) @ self.feature_weights for block in row_blocks(rows.n, rows.width)])


@dataclass(frozen=True)
class ExpansionPath:
    """Kernel ridge for every alpha as expansions; exact, or on centres."""

    similarity: Similarity | None
    points: Any
    path: PrimalPath | DualPath
    centers: CenterFeatures | None

    @classmethod
    def exact(cls, similarity: Similarity | None, points: Any, Y: Tensor, weights: Tensor | None) -> ExpansionPath:
        """From all rows."""
        return cls(similarity, points, make_path(similarity, points, Y, weights), None)

    @classmethod
    def on_centers(cls, features: CenterFeatures, Y: Tensor, weights: Tensor | None) -> ExpansionPath:
        """From centres."""
        return cls(features.similarity, features.centers, PrimalPath(features, Y, weights), features)

    def at(self, alpha: float) -> Expansion:
        """The function for one alpha."""
        return self.expansion(self.path.coefficients(alpha))

    def expansion(self, found: Tensor) -> Expansion:
        """The function of some coefficients of the path: of rows, of features, or of the features of centres."""
        if self.centers is not None:
            return Expansion(self.similarity, self.points, self.centers.to_coefficients(found))
        if self.path.is_primal:
            return Expansion(self.similarity, self.points, found.new_empty(0, found.shape[1]), found)
        return Expansion(self.similarity, self.points, found)
