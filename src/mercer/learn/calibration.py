"""From the values of one-vs-rest regressions to probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

__all__ = ["Calibration"]


@dataclass(frozen=True)
class Calibration:
    """``softmax(slope * value)`` over the classes; for two classes the logistic function of ``slope * value``.

    Without offsets, so that the most probable class is the predicted one: a regression on +1 and -1 is 0 where both are
    as likely.

    Attributes:
        slope: > 0.
    """

    slope: float

    @classmethod
    def fit(cls, values: Tensor, truth: Tensor, weights: Tensor | None) -> Self:
        """The slope of the greatest likelihood.

        Args:
            values: ``(n, classes)``, or ``(n, 1)`` for two, of models that have not seen their row.
            truth: ``(n,)`` classes as 0, 1, ...
            weights: ``(n,)`` or None.

        Source: Platt (1999) with his targets, which keep separable data finite: a class of k rows has the target
        ``(k + 1) / (k + 2)``.
        """
        n_classes = max(2, values.shape[1])
        weights = torch.ones(len(values)).to(values) if weights is None else weights
        counts = values.new_zeros(n_classes).index_add_(0, truth, weights)
        sure = ((counts + 1) / (counts + 2))[truth]
        targets = ((1 - sure) / (n_classes - 1))[:, None].repeat(1, n_classes).scatter(1, truth[:, None], sure[:, None])

        def loss(log_slope: float) -> float:
            logits = _logits(values, math.exp(log_slope))
            return float(-(weights * (targets * logits.log_softmax(1)).sum(1)).sum() / weights.sum())

        found = minimize_scalar(loss, bounds=(-7.0, 7.0), method="bounded")  # convex in the slope: one minimum
        return cls(math.exp(found.x))

    def __call__(self, values: Tensor) -> Tensor:
        """Probabilities ``(m, classes)``."""
        return _logits(values, self.slope).softmax(1)


def _logits(values: Tensor, slope: float) -> Tensor:
    logits = slope * values
    return torch.cat([torch.zeros_like(logits), 2.0 * logits], 1) if values.shape[1] == 1 else logits
