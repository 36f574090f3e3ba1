"""Classification by regression: +1 for the class of a row and -1 for the others, and the largest value wins."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.base import ClassifierMixin
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.calibration import Calibration
from mercer.learn.classes import Array
from mercer.learn.inputs import Given

__all__ = ["OneVsRest", "one_vs_rest", "winners"]


def one_vs_rest(codes: Array, n_classes: int) -> Tensor:
    """1 for a row's class and -1 for the others, ``(n, classes)`` float64; a single column for two classes."""
    Y = torch.full((len(codes), n_classes), -1.0, dtype=torch.float64)
    Y.scatter_(1, torch.from_numpy(codes)[:, None], 1.0)
    return Y[:, 1:] if n_classes == 2 else Y


def winners(values: Tensor) -> Tensor:
    """The places of the predicted classes, ``(m,)``, from the regressions of :func:`one_vs_rest`."""
    return (values[:, 0] > 0).long() if values.shape[1] == 1 else values.argmax(1)


class OneVsRest(ClassifierMixin):
    """Predictions of classes by an estimator whose ``_evaluate`` gives the regressions without ``intercept_``.

    A mixin of its own, since the regressions come from different bases.
    """

    classes_: Array
    intercept_: Any
    _slope: float

    def decision_function(self, X: Any) -> Any:
        """The regressions: ``(m,)`` for two classes, positive for ``classes_[1]``; else ``(m, classes)``."""
        given, values = self._values(X)
        return given.answer(values.squeeze(-1) if values.shape[1] == 1 else values)

    def predict(self, X: Any) -> Array:
        """The class of each row, ``(m,)``; an ndarray, since classes may be text."""
        _, values = self._values(X)
        classes: Array = self.classes_[winners(values).cpu().numpy()]
        return classes

    def _probabilities(self, X: Any) -> Any:
        """What ``predict_proba`` gives, once the values have a slope."""
        given, values = self._values(X)
        return given.answer(Calibration(self._slope)(values))

    def _values(self, X: Any) -> tuple[Given, Tensor]:
        given, values = self._evaluate(X)  # of the base, which comes later
        return given, values + as_tensor(self.intercept_, device=values.device)
