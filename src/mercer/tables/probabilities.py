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
        """The greatest likelihood, with a weak penalty.

        Args:
            values: ``(n, n_classes)`` of a model that has not seen these rows.
            codes: ``(n,)`` positions of the true classes.

        Source: Platt, Probabilistic outputs for support vector machines (1999), with a slope for every class.
        """
        from scipy.optimize import minimize

        n, n_classes = values.shape
        truth = codes[:, None] == np.arange(n_classes)

        def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            slopes, offsets = parameters[:n_classes], parameters[n_classes:]
            shares = cls(slopes, offsets)(values)
            value = -np.log(np.maximum(shares[truth], 1e-300)).mean() + _PENALTY * float(parameters @ parameters)
            excess = (shares - truth) / n
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
