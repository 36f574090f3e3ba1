"""From one value a class to probabilities that can be trusted, fitted on rows the model has not seen."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Probabilities"]

_PENALTY = 1e-4  # of the parameters' squares: separable classes would otherwise send them to infinity


@dataclass(frozen=True)
class Probabilities:
    """``softmax(slopes * values + offsets)``: a slope and an offset a class.

    Attributes:
        slopes: ``(n_classes,)``, and ``offsets``, the same.
    """

    slopes: np.ndarray
    offsets: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, codes: np.ndarray) -> "Probabilities":
        """The greatest likelihood of softened classes, with a weak penalty.

        A row of a class that n rows have counts for it by (n + 1) / (n + n_classes), and for each other one by the
        rest: rows without a single error do not prove that there are none.

        Args:
            values: ``(n, n_classes)`` of a model that has not seen these rows.
            codes: ``(n,)`` positions of the true classes.

        Source: Platt, Probabilistic outputs for support vector machines (1999), with a slope for every class.
        """
        from scipy.optimize import minimize

        n, n_classes = values.shape
        truth = codes[:, None] == np.arange(n_classes)
        counts = truth.sum(axis=0)[codes, None]
        aims = (truth * counts + 1.0) / (counts + n_classes)

        def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            slopes, offsets = parameters[:n_classes], parameters[n_classes:]
            shares = cls(slopes, offsets)(values)
            value = -(aims * np.log(np.maximum(shares, 1e-300))).sum() / n + _PENALTY * float(parameters @ parameters)
            excess = (shares - aims) / n
            gradient = np.concatenate([(excess * values).sum(axis=0), excess.sum(axis=0)])
            return float(value), gradient + 2.0 * _PENALTY * parameters

        start = np.concatenate([np.ones(n_classes), np.zeros(n_classes)])
        found = minimize(loss, start, jac=True, method="L-BFGS-B")
        return cls(found.x[:n_classes], found.x[n_classes:])

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """``(n, n_classes)``, rows sum to 1."""
        logits = values * self.slopes + self.offsets
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))
