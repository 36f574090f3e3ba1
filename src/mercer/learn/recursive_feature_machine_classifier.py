"""Kernel classification that learns which directions matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.calibration import Calibration
from mercer.learn.feature_machine import FeatureMachine
from mercer.learn.inputs import Given, as_weights, check_data

__all__ = ["RecursiveFeatureMachineClassifier"]


class RecursiveFeatureMachineClassifier(ClassifierMixin, FeatureMachine):
    """:class:`RecursiveFeatureMachine` on +1 for a class and -1 for the others; the largest value wins.

    All classes share one M. Probabilities are a logistic model of the values at rows that the kept iterate has not
    seen, with one slope for all classes.

    Args:
        alpha, lengthscale, relative, exponent, norm, diagonal, max_iter, n_feature_rows, leaf_size, temperature: as in
            :class:`RecursiveFeatureMachine`, as are ``categorical_features``, ``candidates``, ``rtol`` and
            ``random_state``.

    Attributes:
        classes_: the classes, sorted.
        intercept_: the weighted mean of +1 and -1, ``(1,)`` or ``(classes,)``.
        M_, feature_importances_, n_leaves_, losses_, best_iter_, chosen_, candidate_losses_, n_fits_, residual_,
            n_iter_: as in :class:`RecursiveFeatureMachine`.

    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = RecursiveFeatureMachineClassifier().fit(X, np.where(X[:, 0] > 0, "right", "left"))
    >>> model.predict([[2.0, 0, 0, 0, 0], [-2.0, 0, 0, 0, 0]])
    array(['right', 'left'], dtype='<U5')
    """

    def __init__(
        self,
        alpha: float = 1e-2,
        *,
        lengthscale: float = 2.0,
        relative: bool = True,
        exponent: float = 1.0,
        norm: float = 2.0,
        diagonal: bool = False,
        max_iter: int = 5,
        n_feature_rows: int = 2000,
        leaf_size: int = 10_000,
        temperature: float = 0.0,
        categorical_features: Sequence[int] | None = None,
        candidates: Sequence[Mapping[str, Any]] | None = None,
        rtol: float = 1e-5,
        random_state: Any = 0,
    ) -> None:
        self.alpha = alpha
        self.lengthscale = lengthscale
        self.relative = relative
        self.exponent = exponent
        self.norm = norm
        self.diagonal = diagonal
        self.max_iter = max_iter
        self.n_feature_rows = n_feature_rows
        self.leaf_size = leaf_size
        self.temperature = temperature
        self.categorical_features = categorical_features
        self.candidates = candidates
        self.rtol = rtol
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Learn features and coefficients.

        Args:
            X: ``(n, d)`` array, table or tensor.
            y: ``(n,)`` classes: numbers or text.
            sample_weight: ``(n,)``, >= 0, or one number for all.
            X_val: and ``y_val``: rows that choose the iterate and calibrate probabilities, and take no other part.
                Without them other rows do where a leaf has more than ``n_feature_rows``; else each row is left out
                once, in closed form.

        Raises:
            ValueError: fewer than two classes, a y of numbers that are no classes, or a y_val of other classes.
        """
        given, y = check_data(self, X, y, reset=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"A classifier needs at least two classes, but y has one class: {self.classes_.tolist()[0]!r}."
            )
        weights = as_weights(sample_weight, given)
        Y = self._coded(codes, given.device)
        mean = Y.mean(0) if weights is None else weights @ Y / weights.sum()
        self.intercept_ = given.coefficients(mean)
        validation: tuple[Tensor, Tensor] | None = None
        if (X_val is None) != (y_val is None):
            raise ValueError("Give both X_val and y_val, or neither.")
        if X_val is not None:
            points, y_val = check_data(self, X_val, y_val, reset=False)
            if not np.isin(y_val, self.classes_).all():
                raise ValueError("y_val has classes that y does not have.")
            Y_val = self._coded(np.searchsorted(self.classes_, y_val), given.device)
            validation = points.points.to(given.points), Y_val - mean
        leaves = self._fit(given, Y - mean, weights, validation)
        targets = torch.cat([leaf.targets for leaf in leaves]) + mean
        unseen = torch.cat(
            [torch.ones_like(leaf.errors[:, 0]) if leaf.weights is None else leaf.weights for leaf in leaves]
        )
        truth = (targets[:, 0] > 0).long() if targets.shape[1] == 1 else targets.argmax(1)
        self._slope = Calibration.fit(targets - self._held_out, truth, unseen).slope
        return self

    def decision_function(self, X: Any) -> Any:
        """The regressions: ``(m,)`` for two classes, positive for ``classes_[1]``; else ``(m, classes)``."""
        given, values = self._values(X)
        return given.answer(values.squeeze(-1) if values.shape[1] == 1 else values)

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """The class of each row, ``(m,)``; an ndarray, since classes may be text."""
        _, values = self._values(X)
        best = (values[:, 0] > 0).long() if values.shape[1] == 1 else values.argmax(1)
        classes: np.ndarray[Any, Any] = self.classes_[best.cpu().numpy()]
        return classes

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, ``(m, classes)``."""
        given, values = self._values(X)
        return given.answer(Calibration(self._slope)(values))

    def _values(self, X: Any) -> tuple[Given, Tensor]:
        given, values = self._evaluate(X)
        return given, values + as_tensor(self.intercept_, device=values.device)

    def _coded(self, codes: np.ndarray[Any, Any], device: torch.device) -> Tensor:
        """+1 for the class of a row and -1 for the others, ``(n, t)``; one column for two classes."""
        truth = torch.from_numpy(codes).to(device)
        Y = torch.full((len(codes), len(self.classes_)), -1.0, dtype=torch.float64, device=device)
        Y.scatter_(1, truth[:, None], 1.0)
        return Y[:, 1:] if Y.shape[1] == 2 else Y
