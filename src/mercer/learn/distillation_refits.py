"""Self-distillation of any scikit-learn estimator: it is fitted again in every round."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import has_fit_parameter
from torch import Tensor

from mercer.errors import ApproximationWarning
from mercer.learn.inputs import as_targets

__all__ = ["ClassifierRounds", "RegressorRounds", "class_probabilities"]


class RegressorRounds:
    """Rounds of a regressor; a model is a fitted clone.

    Args:
        estimator: is cloned for every fit.
        X, y: the training rows, of whatever kind the estimator takes; y ``(n,)`` or ``(n, t)``.
    """

    def __init__(self, estimator: Any, X: Any, y: np.ndarray[Any, Any]) -> None:
        self.estimator, self.X, self.y = estimator, X, y

    def first(self) -> Any:
        """Fitted to y."""
        return self._fit(self.y)

    def student(self, teacher: Any) -> Any:
        """Fitted to the teacher's predictions."""
        return self._fit(self._predictions(teacher))

    def mix(self, teacher: Any, alpha: float, *, first: Any, student: Any | None) -> Any:
        """Fitted to the mixed target; round 1 and the student are such fits already."""
        if alpha == 1.0:
            return first
        if alpha == 0.0 and student is not None:
            return student
        return self._fit(alpha * self.y + (1.0 - alpha) * self._predictions(teacher))

    def evaluate(self, model: Any, points: Any) -> Tensor:
        """Predictions, ``(m, t)``."""
        return as_targets(model.predict(points))[0].cpu()

    def _predictions(self, model: Any) -> np.ndarray[Any, Any]:
        return self.evaluate(model, self.X).numpy().reshape(self.y.shape)

    def _fit(self, target: np.ndarray[Any, Any]) -> Any:
        return clone(self.estimator).fit(self.X, target)


class ClassifierRounds:
    """Rounds of a classifier with ``predict_proba``; a model is a fitted clone.

    A mixed target is a probability for each class. The classifier sees every row once for each class, with that as the
    weight of the row; one that takes no weights sees the likeliest class only, and a warning says so.

    Args:
        estimator: is cloned for every fit.
        X: the training rows.
        codes: their classes as numbers, ``(n,)``.
        classes: in the order of the numbers.
    """

    def __init__(self, estimator: Any, X: Any, codes: np.ndarray[Any, Any], classes: np.ndarray[Any, Any]) -> None:
        self.estimator, self.X, self.codes, self.classes = estimator, X, codes, classes
        self.truth = np.eye(len(classes))[codes]

    def first(self) -> Any:
        """Fitted to the classes."""
        return clone(self.estimator).fit(self.X, self.classes[self.codes])

    def student(self, teacher: Any) -> Any:
        """Fitted to the teacher's probabilities."""
        return self._fit(class_probabilities(teacher, self.X, self.classes))

    def mix(self, teacher: Any, alpha: float, *, first: Any, student: Any | None) -> Any:
        """Fitted to the mixed probabilities; round 1 and the student are such fits already."""
        if alpha == 1.0:
            return first
        if alpha == 0.0 and student is not None:
            return student
        return self._fit(alpha * self.truth + (1.0 - alpha) * class_probabilities(teacher, self.X, self.classes))

    def evaluate(self, model: Any, points: Any) -> Tensor:
        """Probabilities, ``(m, classes)``."""
        return torch.from_numpy(class_probabilities(model, points, self.classes))

    def _fit(self, target: np.ndarray[Any, Any]) -> Any:
        # With a weight outside of 0 to 1 a mixture can be negative; a row cannot count less than nothing.
        target = np.maximum(target, 0.0)
        target /= target.sum(1, keepdims=True)
        model = clone(self.estimator)
        name = _weight_parameter(model)
        if name is None:
            warnings.warn(
                f"{type(model).__name__}.fit takes no sample_weight, so it is fitted to the likeliest class of every "
                f"row instead of to probabilities. A classifier with sample_weight loses nothing.",
                ApproximationWarning,
                stacklevel=2,
            )
            return model.fit(self.X, self.classes[target.argmax(1)])
        rows, codes = np.nonzero(target)
        return model.fit(_safe_indexing(self.X, rows), self.classes[codes], **{name: target[rows, codes]})


def class_probabilities(model: Any, X: Any, classes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``predict_proba`` with a column for each of ``classes``; a model that has never seen one gives it 0."""
    found = np.asarray(model.predict_proba(X), dtype=np.float64)
    result = np.zeros((len(found), len(classes)))
    result[:, np.searchsorted(classes, model.classes_)] = found
    return result


def _weight_parameter(model: Any) -> str | None:
    """The keyword by which ``fit`` takes the weights of rows, or None."""
    if isinstance(model, Pipeline):
        name, last = model.steps[-1]
        return f"{name}__sample_weight" if has_fit_parameter(last, "sample_weight") else None
    return "sample_weight" if has_fit_parameter(model, "sample_weight") else None
