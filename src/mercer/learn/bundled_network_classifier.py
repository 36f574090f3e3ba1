"""Classification by a bundled network."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.bundled_network_model import BundledNetworkModel
from mercer.learn.classes import check_several, class_codes, find_classes
from mercer.learn.inputs import Given, as_weights, check_data
from mercer.learn.one_vs_rest import OneVsRest, one_vs_rest

__all__ = ["BundledNetworkClassifier"]


class BundledNetworkClassifier(OneVsRest, BundledNetworkModel):
    """A bundled network on +1 for a class and -1 for the others, one class at a time; the largest value wins.

    Args:
        layers, activation, alpha, length, method, random_state: as in :class:`BundledNetworkRegressor`.

    Attributes:
        classes_: the classes, sorted.
        coef_: ``(classes, features)``, one row for two classes.
        intercept_: ``(classes,)``, or ``(1,)``.
        n_samples_seen_: rows so far.

    Raises:
        ValueError: in ``fit``: fewer than two classes, or as :class:`BundledNetworkRegressor`.

    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> BundledNetworkClassifier(layers=(32,)).fit(X, ["a", "a", "b", "b"]).predict([[0.2], [2.8]])
    array(['a', 'b'], dtype='<U1')
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from all rows.

        Args:
            X: ``(n, d)`` array, table or tensor.
            y: ``(n,)`` classes: numbers or text.
            sample_weight: ``(n,)``, >= 0.
        """
        self.__dict__.pop("n_samples_seen_", None)
        given, y = check_data(self, X, y, reset=True)
        self.classes_, codes = find_classes(y)
        return self._learn(given, codes, sample_weight, is_first=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Learn from further rows as well.

        Args:
            X, y, sample_weight: as in :meth:`fit`; a batch may lack some of the classes.
            classes: all that will ever come; needed in the first call if they are not all in y.

        Raises:
            ValueError: a class that was not there from the first.
        """
        is_first = not hasattr(self, "n_samples_seen_")
        given, y = check_data(self, X, y, reset=is_first)
        if is_first:
            self.classes_ = find_classes(y)[0] if classes is None else np.unique(classes)
            check_several(self.classes_)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes={list(classes)} are not those of the first call, {self.classes_.tolist()}.")
        strange = np.setdiff1d(y, self.classes_)
        if len(strange):
            raise ValueError(
                f"y has {', '.join(map(repr, strange.tolist()))}, which the first call did not know: give all classes "
                f"there, as classes=."
            )
        return self._learn(given, class_codes(y, self.classes_), sample_weight, is_first=is_first)

    def _learn(self, given: Given, codes: Any, sample_weight: Any, *, is_first: bool) -> Self:
        Y = one_vs_rest(codes, len(self.classes_)).to(given.device)
        if is_first:
            self._begin(given, Y.shape[1])
        self._absorb(given, Y, as_weights(sample_weight, given))
        return self

    def _evaluate(self, X: Any) -> tuple[Given, Tensor]:
        """The regressions without the intercept, which the mixin adds."""
        given, values = self._regressions(X)
        return given, values - as_tensor(self.intercept_, device=values.device)
