"""The models that are compared, scored alike on the same rows."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from mercer.tables.baselines import LinearModel, fit_boosting, fit_ridge
from mercer.tables.model import raw_prediction
from mercer.tables.parts import Part, Parts
from mercer.tables.probabilities import Probabilities
from mercer.tables.results import ModelFacts
from mercer.tables.scores import Score, score_classes, score_numbers
from mercer.tables.target import ClassTarget, NumberTarget

__all__ = ["Fitted", "boosting_model", "choosing_score", "linear_model", "predict_part", "scored"]


@dataclass(frozen=True)
class Fitted:
    """A fitted model: its predictor, and for classes how its values become probabilities (None: it gives them)."""

    predictor: Any
    probabilities: Probabilities | None
    seconds: float


def linear_model(parts: Parts) -> Fitted:
    """Ridge regression, or for classes logistic regression, on the training part."""
    begun = time.perf_counter()
    Y, Y_validation = (
        _indicators(part, parts) if parts.is_class else part.Y for part in (parts.train, parts.validation)
    )
    model = fit_ridge(parts.train.X, Y, validation=(parts.validation.X, Y_validation), classes=parts.is_class)
    return with_probabilities(model, parts, begun)


def boosting_model(parts: Parts, *, random_state: int) -> Fitted:
    """Gradient boosting on the training part."""
    begun = time.perf_counter()
    Y = _indicators(parts.train, parts) if parts.is_class else parts.train.Y
    model = fit_boosting(parts.train.X, Y, classes=parts.is_class, random_state=random_state)
    return Fitted(model, None, time.perf_counter() - begun)


def with_probabilities(predictor: Any, parts: Parts, begun: float) -> Fitted:
    """The predictor, with probabilities fitted on the validation part where classes are predicted."""
    probabilities = None
    if parts.is_class:
        values = raw_prediction(predictor, parts.validation.X)
        probabilities = Probabilities.fit(values, parts.validation.truth)
    return Fitted(predictor, probabilities, time.perf_counter() - begun)


def predict_part(model: Fitted, X: np.ndarray, parts: Parts) -> np.ndarray:
    """``(n,)`` in the table's units, or ``(n, n_classes)`` probabilities."""
    if isinstance(parts.target, NumberTarget):
        return parts.target.backward(raw_prediction(model.predictor, X)[:, 0])
    if model.probabilities is None:
        return np.asarray(model.predictor.predict_proba(X))
    return model.probabilities(raw_prediction(model.predictor, X))


def scored(name: str, title: str, detail: str, model: Fitted, parts: Parts, *, unit: str, seed: int) -> ModelFacts:
    """The model's scores on validation and test."""
    scores, predictions = [], []
    for part in (parts.validation, parts.test):
        prediction = predict_part(model, part.X, parts)
        predictions.append(prediction)
        if isinstance(parts.target, NumberTarget):
            scores.append(score_numbers(part.truth, prediction, target=parts.target, unit=unit, seed=seed))
        else:
            scores.append(score_classes(part.truth, prediction))
    return ModelFacts(name, title, detail, scores[0], scores[1], predictions[1], model.seconds)


def choosing_score(scores: list[Score]) -> float:
    """What models are chosen by, larger is better: R2 in the table's units, or minus the log loss."""
    log_loss = [score.value for score in scores if score.name == "log loss"]
    return -log_loss[0] if log_loss else scores[0].value


def describe_linear(model: LinearModel, *, is_class: bool) -> str:
    """How the linear model was made."""
    kind = "logistic regression" if is_class else "ridge regression"
    chosen = "on the validation part" if is_class else "by leave-one-out"
    return f"{kind} of scikit-learn on the same features, penalty {model.penalty:.3g} chosen {chosen}"


def _indicators(part: Part, parts: Parts) -> np.ndarray:
    assert isinstance(parts.target, ClassTarget)
    return np.asarray(part.truth[:, None] == np.arange(len(parts.target.classes)), dtype=np.float64)
