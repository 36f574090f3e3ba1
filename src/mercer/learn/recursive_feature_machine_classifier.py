"""Kernel classification that learns which directions matter."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from mercer.learn.calibration import Calibration
from mercer.learn.classes import class_codes, find_classes
from mercer.learn.feature_machine import FeatureMachine
from mercer.learn.inputs import as_weights, check_data, weighted_mean
from mercer.learn.one_vs_rest import OneVsRest, one_vs_rest, winners

__all__ = ["RecursiveFeatureMachineClassifier"]


class RecursiveFeatureMachineClassifier(OneVsRest, FeatureMachine):
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
        M_, feature_importances_, n_leaves_, losses_, best_iter_: as in :class:`RecursiveFeatureMachine`, as are
            ``chosen_``, ``candidate_losses_``, ``n_fits_``, ``residual_`` and ``n_iter_``.

    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = RecursiveFeatureMachineClassifier().fit(X, np.where(X[:, 0] > 0, "right", "left"))
    >>> model.predict([[2.0, 0, 0, 0, 0], [-2.0, 0, 0, 0, 0]])
    array(['right', 'left'], dtype='<U5')
    """

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
        self.classes_, codes = find_classes(y)
        n_classes = len(self.classes_)
        weights = as_weights(sample_weight, given)
        Y = one_vs_rest(codes, n_classes).to(given.device)
        mean = weighted_mean(Y, weights)
        self.intercept_ = given.coefficients(mean)
        validation: tuple[Tensor, Tensor] | None = None
        if (rows := self._validation(X_val, y_val, given)) is not None:
            Y_val = one_vs_rest(class_codes(rows[1], self.classes_), n_classes).to(given.device)
            validation = rows[0], Y_val - mean
        leaves = self._fit(given, Y - mean, weights, validation)
        targets = torch.cat([leaf.targets for leaf in leaves]) + mean
        unseen = torch.cat(
            [torch.ones_like(leaf.errors[:, 0]) if leaf.weights is None else leaf.weights for leaf in leaves]
        )
        self._slope = Calibration.fit(targets - self._held_out, winners(targets), unseen).slope
        return self

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, ``(m, classes)``."""
        return self._probabilities(X)
