"""What a kernel model has to beat: a linear model and gradient boosting, both of scikit-learn, on the same features."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LinearModel", "fit_boosting", "fit_ridge"]

_ALPHAS = np.logspace(-3, 5, 17)
_INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0)
_TREES = 500  # stopped earlier when a tenth of the training rows, held out by boosting itself, no longer gains
_LEAST_LOSS = 1e-6
_ROWS_FOR_THREADS = 100_000  # below, boosting's threads mostly wait for each other


@dataclass(frozen=True)
class LinearModel:
    """``X @ coefficients.T + intercept``: small enough to be saved with the transforms.

    Attributes:
        coefficients: ``(t, d)``.
        intercept: ``(t,)``.
        penalty: the one that was chosen, for the report.
    """

    coefficients: np.ndarray
    intercept: np.ndarray
    penalty: float

    def predict(self, X: np.ndarray) -> np.ndarray:
        """``(n, t)``: numbers in the model's units, or for classes logits."""
        return np.asarray(X.astype(np.float64) @ self.coefficients.T + self.intercept)


def fit_ridge(X: np.ndarray, Y: np.ndarray, *, validation: tuple[np.ndarray, np.ndarray], classes: bool) -> LinearModel:
    """Ridge regression with the penalty of least leave-one-out error; for classes, penalised logistic regression.

    Args:
        X: ``(n, d)`` features.
        Y: ``(n, t)`` targets in the model's units, or indicators of classes.
        validation: features and targets on which the penalty of the logistic regression is chosen.
        classes: whether Y holds indicators.
    """
    from sklearn.linear_model import LogisticRegression, RidgeCV

    if not classes:
        ridge = RidgeCV(alphas=_ALPHAS).fit(X, Y)
        return LinearModel(np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_), float(ridge.alpha_))
    X_validation, codes = validation[0], validation[1].argmax(axis=1)
    best: tuple[float, LinearModel] | None = None
    for inverse_penalty in _INVERSE_PENALTIES:
        logistic: Any = LogisticRegression(C=inverse_penalty, max_iter=300).fit(X, Y.argmax(axis=1))
        coefficients, intercept = logistic.coef_, logistic.intercept_
        if len(intercept) == 1:  # two classes: scikit-learn gives the logit of the second only
            coefficients, intercept = np.vstack([-coefficients, coefficients]) / 2, np.r_[-intercept, intercept] / 2
        model = LinearModel(coefficients, intercept, 1.0 / inverse_penalty)
        logits = model.predict(X_validation)
        logits = logits - logits.max(axis=1, keepdims=True)
        log_likelihood = logits[np.arange(len(codes)), codes] - np.log(np.exp(logits).sum(axis=1))
        if best is None or float(log_likelihood.mean()) > best[0] + _LEAST_LOSS:
            best = (float(log_likelihood.mean()), model)
    assert best is not None
    return best[1]


def fit_boosting(X: np.ndarray, Y: np.ndarray, *, classes: bool, random_state: int) -> Any:
    """Histogram gradient boosting of scikit-learn, its defaults but for up to 500 trees with early stopping.

    On a busy machine it gets one thread: several wait for the slowest of them after every node (measured: 0.9 s with
    one thread, 22 s with two, on two cores that others used).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # comes with scikit-learn

    stop = len(X) >= 500  # below, a tenth of the rows is too few to tell when to stop
    settings = {"max_iter": _TREES if stop else 100, "early_stopping": stop, "random_state": random_state}
    with threadpool_limits(limits=1 if len(X) < _ROWS_FOR_THREADS or _is_busy() else None, user_api="openmp"):
        if classes:
            return HistGradientBoostingClassifier(**settings).fit(X, Y.argmax(axis=1))
        return HistGradientBoostingRegressor(**settings).fit(X, Y[:, 0])


def _is_busy() -> bool:
    """Whether others leave less than a core free; never where the system does not tell."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1) - 0.5
