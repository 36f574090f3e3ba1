"""The predicting half of :class:`mercer.learn.SelfDistillation`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.learn.calibration import Calibration
from mercer.learn.distillation_path import DistillationPath
from mercer.learn.distillation_refits import class_probabilities
from mercer.learn.inputs import Given, check_data
from mercer.learn.kernel_ridge import KernelRidge
from mercer.learn.kernel_ridge_classifier import KernelRidgeClassifier
from mercer.learn.model import RidgeModel
from mercer.learn.one_vs_rest import winners

__all__ = ["DistillationPredictions"]


def _offered(name: str) -> Any:
    """Whether the estimator has predictions of this kind."""

    def check(model: Any) -> bool:
        if not model._offers(name):
            inner = type(model._inner()).__name__
            raise AttributeError(f"SelfDistillation has no {name} with this estimator, {inner}.")
        return True

    return check


class DistillationPredictions:
    """What a fitted :class:`SelfDistillation` can be asked."""

    estimator: Any
    closed_form_: bool
    path_: DistillationPath
    models_: list[Any]
    classes_: Any
    _ridge: RidgeModel
    _coefficients: list[Any]
    _offset: Tensor
    _slopes: list[float]
    _is_vector: bool

    def predict(self, X: Any, round: int = -1) -> Any:
        """Predictions ``(m,)`` or ``(m, t)``, or classes.

        Args:
            X: ``(m, d)``.
            round: 1 is the first fit, -1 the last round.

        Raises:
            ValueError: there is no such round.
        """
        place = self._place(round)
        if not self.closed_form_:
            return self.models_[place].predict(X)
        given, values = self._evaluate(X, place)
        if not hasattr(self, "classes_"):
            return given.answer(values.squeeze(-1) if self._is_vector else values)
        return self.classes_[winners(values).cpu().numpy()]

    @available_if(_offered("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any, round: int = -1) -> Any:
        """The regressions of a :class:`KernelRidgeClassifier`: ``(m,)`` for two classes, else ``(m, classes)``."""
        given, values = self._evaluate(X, self._place(round))
        return given.answer(values.squeeze(-1) if self._is_vector else values)

    @available_if(_offered("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any, round: int = -1) -> Any:
        """The probability of each class, ``(m, classes)``; where the estimator has it."""
        place = self._place(round)
        if not self.closed_form_:
            return class_probabilities(self.models_[place], X, self.classes_)
        given, values = self._evaluate(X, place)
        return given.answer(Calibration(self._slopes[place])(values))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R squared of the last round, or the accuracy of a classifier."""
        measure = accuracy_score if hasattr(self, "classes_") else r2_score
        truth, found = (v.cpu().numpy() if isinstance(v, Tensor) else v for v in (y, self.predict(X)))
        return float(measure(truth, found, sample_weight=sample_weight))

    def _inner(self) -> Any:
        return KernelRidge() if self.estimator is None else self.estimator

    def _offers(self, name: str) -> bool:
        inner = self._inner()
        is_known = name == "predict_proba" or isinstance(inner, KernelRidgeClassifier)
        return is_known and is_classifier(inner) and hasattr(inner, name)

    def _place(self, round: int) -> int:
        """The place of a round in lists."""
        check_is_fitted(self, "path_")
        n = len(self.path_)
        if round == 0 or not -n <= round <= n:
            raise ValueError(f"round must be 1 to {n}, or -1 to {-n} counted from the last, not {round}.")
        return round - 1 if round > 0 else n + round

    def _evaluate(self, X: Any, place: int) -> tuple[Given, Tensor]:
        """The checked points, and a round in closed form there, ``(m, t)`` in float64."""
        given = check_data(self, X, reset=False, accept_sparse=True)
        dual, weights = self._coefficients[place]
        expansion = replace(self._ridge._expansion(), dual=dual, feature_weights=weights)
        return given, expansion(given.points_on(dual.device)) + self._offset
