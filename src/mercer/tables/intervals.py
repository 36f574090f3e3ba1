"""Intervals by split conformal prediction, around whichever model was chosen."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from mercer.errors import TableError
from mercer.learn import SplitConformal

__all__ = ["calibrated_radius"]


class _Fitted(RegressorMixin, BaseEstimator):
    """A prediction function in the clothes of a regressor."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.function = function

    def fit(self, X: np.ndarray, y: np.ndarray) -> "_Fitted":
        """Nothing to learn."""
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """What the function gives."""
        return self.function(X)


def calibrated_radius(
    predict: Callable[[np.ndarray], np.ndarray], X: np.ndarray, z: np.ndarray, *, level: float
) -> float:
    """Half the width of intervals that hold a new target with probability ``level`` or more.

    Args:
        predict: from ``(n, d)`` features to ``(n,)`` predictions.
        X: ``(n, d)`` and z: ``(n,)``, of rows that the model was not fitted to: the validation part.
        level: a share such as 0.9.

    Raises:
        TableError: too few rows for that level.
    """
    n_needed = int(np.ceil(level / (1.0 - level)))
    if len(z) < n_needed:
        raise TableError(
            f"An interval that holds {level:.0%} needs {n_needed} validation rows, but there are {len(z)}. Give a "
            f"longer table or a lower level (--level)."
        )
    conformal: Any = SplitConformal(_Fitted(predict), level=level).fit(X, z).calibrate(X, z)
    prediction, _, upper = conformal.predict(X[:1], interval=True)
    return float(upper[0] - prediction[0])
