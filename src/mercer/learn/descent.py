"""Where gradient descent from zero stands after so many steps, in place of the ridge regression that it tends to."""

from __future__ import annotations

import torch
from torch import Tensor

from mercer.learn.primal import FeatureRows, PrimalPath

__all__ = ["DescentPath", "path_over_features"]


class DescentPath(PrimalPath):
    r"""Full-batch gradient descent on ``sum_i s_i (y_i - <w, phi(x_i)>)^2 + alpha |w|^2`` from w = 0.

    The step is one over the largest eigenvalue of ``F' S F + alpha``, so that after T steps an
    eigenvector of eigenvalue v has the share :math:`1 - (1 - (v + \alpha) / (v_1 + \alpha))^T` of its ridge solution:
    no step is made one by one. Left-out errors are those of ridge regression with the leverages of this filter, which
    is exact once it has converged.

    Args:
        rows: the features.
        Y: ``(n, t)`` targets, float64.
        weights: of the rows, ``(n,)``, or None.
        n_steps: T, >= 1.
    """

    def __init__(self, rows: FeatureRows, Y: Tensor, weights: Tensor | None, *, n_steps: int) -> None:
        super().__init__(rows, Y, weights)
        self.n_steps = n_steps

    def _inverse(self, alpha: float) -> Tensor:
        shifted = self.values + alpha
        left = torch.log1p(-shifted / shifted.max().clamp(min=1e-300))
        return super()._inverse(alpha) * -torch.expm1(self.n_steps * left)


def path_over_features(rows: FeatureRows, Y: Tensor, weights: Tensor | None, n_steps: int | None) -> PrimalPath:
    """Ridge regression for every penalty, or with ``n_steps`` what so many steps of descent give of it."""
    return PrimalPath(rows, Y, weights) if n_steps is None else DescentPath(rows, Y, weights, n_steps=n_steps)
