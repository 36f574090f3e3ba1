"""From the values of one-vs-rest regressions to probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

__all__ = ["Calibration"]


@dataclass(frozen=True)
class Calibration:
    """``softmax(slope * value + offset)`` over the classes; for two classes the logistic function of one value.

    Attributes:
        parameters: float64, ``(1 + classes,)``: the slope, > 0, and the offsets; ``(2,)`` for two classes.
    """

    parameters: Tensor

    @classmethod
    def fit(cls, values: Tensor, truth: Tensor, weights: Tensor | None) -> Self:
        """The slope and offsets of the greatest likelihood.

        Args:
            values: ``(n, classes)``, or ``(n, 1)`` for two, of models that have not seen their row.
            truth: ``(n,)`` classes as 0, 1, ...
            weights: ``(n,)`` or None.

        Source: Platt (1999) with his targets, which keep separable data finite: a class of k rows has the target
        ``(k + 1) / (k + 2)``.
        """
        n_classes = max(2, values.shape[1])
        counts = torch.bincount(truth, minlength=n_classes).to(values)
        sure = ((counts + 1) / (counts + 2))[truth]
        targets = ((1 - sure) / (n_classes - 1))[:, None].repeat(1, n_classes).scatter(1, truth[:, None], sure[:, None])
        weights = torch.ones_like(sure) if weights is None else weights

        def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
            parameters = torch.tensor(x, dtype=torch.float64, device=values.device, requires_grad=True)
            logits = _logits(values, torch.cat([parameters[:1].exp(), parameters[1:]]))
            loss = -(weights * (targets * logits.log_softmax(1)).sum(1)).sum() / weights.sum()
            loss.backward()  # type: ignore[no-untyped-call]
            assert parameters.grad is not None
            return float(loss.detach()), parameters.grad.cpu().numpy()

        found = minimize(objective, np.zeros(1 + values.shape[1]), jac=True, method="L-BFGS-B")
        x = torch.from_numpy(found.x)
        return cls(torch.cat([x[:1].exp(), x[1:]]))

    def __call__(self, values: Tensor) -> Tensor:
        """Probabilities ``(m, classes)``."""
        return _logits(values, self.parameters.to(values.device)).softmax(1)


def _logits(values: Tensor, parameters: Tensor) -> Tensor:
    logits = parameters[0] * values + parameters[1:]
    return torch.cat([torch.zeros_like(logits), logits], 1) if values.shape[1] == 1 else logits
