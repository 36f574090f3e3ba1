"""How good predictions are, with the standard error that comes from the test part being a sample."""

from dataclasses import dataclass

import numpy as np

from mercer.tables.target import NumberTarget

__all__ = ["Score", "score_classes", "score_difference", "score_numbers"]

_RESAMPLES = 200
_LEAST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class Score:
    """One number about one model.

    Attributes:
        name: such as ``"R2"``.
        value: what it is, and ``error``: its standard error over resampled rows.
        unit: of both, empty for a pure number.
        larger_is_better: whether it is.
    """

    name: str
    value: float
    error: float
    unit: str = ""
    larger_is_better: bool = True


def score_numbers(y: np.ndarray, prediction: np.ndarray, *, target: NumberTarget, unit: str, seed: int) -> list[Score]:
    """R2, mean absolute error and root mean squared error in the table's units; R2 of the logarithm where it was used.

    The first is the headline: the share of the target's variance, on the table's own scale, that is explained.
    """
    squared, absolute = (y - prediction) ** 2, np.abs(y - prediction)
    scores = [Score("R2", *_r2(y, squared, seed))]
    if target.scale == "log":
        z, z_predicted = target.forward(y), target.forward(np.maximum(prediction, 1e-300))
        scores.append(Score("R2 of the log", *_r2(z, (z - z_predicted) ** 2, seed)))
    n = len(y)
    rmse = float(np.sqrt(squared.mean()))
    scores.append(Score("mean absolute error", float(absolute.mean()), float(absolute.std() / n**0.5), unit, False))
    rmse_error = float(squared.std() / n**0.5 / (2.0 * rmse)) if rmse > 0.0 else 0.0
    scores.append(Score("root mean squared error", rmse, rmse_error, unit, False))
    return scores


def score_classes(codes: np.ndarray, probabilities: np.ndarray) -> list[Score]:
    """Accuracy (the headline), log loss in nats and, for two classes, the area under the ROC curve.

    Args:
        codes: ``(n,)`` true positions of the classes.
        probabilities: ``(n, n_classes)``, rows sum to 1.
    """
    from sklearn.metrics import roc_auc_score

    n = len(codes)
    right = (probabilities.argmax(axis=1) == codes).astype(np.float64)
    loss = -np.log(np.maximum(probabilities[np.arange(n), codes], _LEAST_PROBABILITY))
    # Agresti and Coull (1998): two more right and two more wrong, so that an accuracy of 1 is not taken for certain.
    drawn_in = (float(right.sum()) + 2.0) / (n + 4.0)
    scores = [
        Score("accuracy", float(right.mean()), float(np.sqrt(drawn_in * (1.0 - drawn_in) / (n + 4.0)))),
        Score("log loss", float(loss.mean()), float(loss.std() / n**0.5), "", False),
    ]
    if probabilities.shape[1] == 2 and 0 < codes.sum() < n:
        area = float(roc_auc_score(codes, probabilities[:, 1]))
        # Hanley and McNeil (1982), the approximation for the variance of the area.
        positive, negative = float(codes.sum()), float(n - codes.sum())
        q1, q2 = area / (2.0 - area), 2.0 * area**2 / (1.0 + area)
        variance = area * (1.0 - area) + (positive - 1.0) * (q1 - area**2) + (negative - 1.0) * (q2 - area**2)
        scores.append(Score("area under ROC", area, float(np.sqrt(max(variance, 0.0) / (positive * negative)))))
    return scores


def score_difference(y: np.ndarray, one: np.ndarray, other: np.ndarray, *, seed: int) -> tuple[float, float]:
    """R2 of ``one`` minus R2 of ``other`` on the same rows, and its standard error.

    Most of the error of either R2 comes from which rows are in the test part, which is the same for both.
    """
    gain = (y - other) ** 2 - (y - one) ** 2
    weights = _weights(len(y), seed)
    variances = _variances(y, weights)
    differences = (weights @ gain) / len(y) / variances
    return float(gain.mean() / y.var()), float(differences.std())


def _r2(y: np.ndarray, squared_errors: np.ndarray, seed: int) -> tuple[float, float]:
    variance = float(y.var())
    if variance == 0.0:
        return (1.0 if squared_errors.max() == 0.0 else 0.0), 0.0
    weights = _weights(len(y), seed)
    resampled = 1.0 - (weights @ squared_errors) / len(y) / _variances(y, weights)
    return 1.0 - float(squared_errors.mean()) / variance, float(resampled.std())


def _weights(n: int, seed: int) -> np.ndarray:
    """``(resamples, n)``: how often each row is drawn. Poisson counts, the bootstrap for large n."""
    counts = np.random.default_rng(seed).poisson(1.0, size=(_RESAMPLES, n)).astype(np.float64)
    return np.asarray(counts * (n / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)))


def _variances(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    centred = y - y.mean()
    variances = (weights @ centred**2) / len(y) - ((weights @ centred) / len(y)) ** 2
    return np.asarray(np.maximum(variances, 1e-300))
