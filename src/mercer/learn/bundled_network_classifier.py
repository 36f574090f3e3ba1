"""Classification by a bundled network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.config import require_memory
from mercer.learn.bundled_network_model import ROWS, BundledNetworkModel
from mercer.learn.classes import check_several, class_codes, find_classes
from mercer.learn.inputs import Given, as_weights, check_data
from mercer.learn.logistic_regression import fit_logistic
from mercer.learn.one_vs_rest import OneVsRest, one_vs_rest

__all__ = ["BundledNetworkClassifier"]

LOSSES = ("squared", "log_loss")


def _has_probability(estimator: Any) -> bool:
    loss = getattr(estimator, "_begun_with", {}).get("loss", estimator.loss)  # that of the fit counts
    if loss != "log_loss":
        raise AttributeError('Probabilities are available with loss="log_loss".')
    return True


def _has_update(estimator: Any) -> bool:
    if estimator.loss != "squared":
        raise AttributeError(
            f"partial_fit has an exact update of squared errors only, and none of loss={estimator.loss!r}: use "
            f'loss="squared", or call fit with all rows.'
        )
    return True


class BundledNetworkClassifier(OneVsRest, BundledNetworkModel):
    r"""A network of fixed random features and the best matrix on top: by squared errors or by the log loss.

    With ``loss="squared"`` it is the ridge regression on +1 for a class and -1 for the others, in closed form; the
    largest value wins, and rows can be added. With ``loss="log_loss"`` it is the logistic regression (several classes:
    the softmax) on the same features Z, by Newton's method; it has probabilities:

    .. math:: \min_{V, c} \; \sum_i s_i \left(-\log p_{y_i}(x_i)\right) + \tfrac{\alpha}{2} |V|^2, \quad
        p = \mathrm{softmax}(V Z(x) + c)

    That is scikit-learn's ``LogisticRegression(C=1 / alpha)`` on :meth:`hidden_features`; of two classes one row of V,
    for the second, and a logistic function.

    Args:
        layers, activation, alpha, length, method, random_state: as in :class:`BundledNetworkRegressor`.
        loss: "squared" or "log_loss".

    Attributes:
        classes_: the classes, sorted.
        coef_: ``(classes, features)``, one row for two classes.
        intercept_: ``(classes,)``, or ``(1,)``.
        n_samples_seen_: rows so far.
        n_iter_: Newton steps; with ``loss="log_loss"``.

    Raises:
        ValueError: in ``fit``: fewer than two classes, an unknown loss, or as :class:`BundledNetworkRegressor`.

    Warns:
        ConvergenceWarning: Newton's method has stopped before the gradient was 1e-11 of the first.

    Cost: as :class:`BundledNetworkRegressor`; with "log_loss" about that again for each class and Newton step (10 to
        20 steps), and the features of all rows are held.

    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = BundledNetworkClassifier(layers=(32,), loss="log_loss").fit(X, ["a", "a", "b", "b"])
    >>> model.predict([[0.2], [2.8]]), model.predict_proba(X).sum(1)
    (array(['a', 'b'], dtype='<U1'), array([1., 1., 1., 1.]))
    """

    def __init__(
        self,
        layers: Sequence[int] = (256, 256),
        activation: Any = "relu",
        alpha: float = 1e-3,
        *,
        loss: str = "squared",
        length: float | None = None,
        method: str = "orthogonal",
        random_state: Any = 0,
    ) -> None:
        super().__init__(layers, activation, alpha, length=length, method=method, random_state=random_state)
        self.loss = loss

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from all rows.

        Args:
            X: ``(n, d)`` array, table or tensor.
            y: ``(n,)`` classes: numbers or text.
            sample_weight: ``(n,)``, >= 0.
        """
        for name in ("n_samples_seen_", "n_iter_", "_factor", "_products"):  # of another loss, perhaps
            self.__dict__.pop(name, None)
        if self.loss not in LOSSES:
            raise ValueError(f"loss={self.loss!r}: choose from: {', '.join(LOSSES)}.")
        given, y = check_data(self, X, y, reset=True)
        self.classes_, codes = find_classes(y)
        if self.loss == "log_loss":
            return self._fit_logistic(given, torch.from_numpy(codes), as_weights(sample_weight, given))
        return self._learn(given, codes, sample_weight, is_first=True)

    @available_if(_has_update)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Learn from further rows as well.

        Args:
            X, y, sample_weight: as in :meth:`fit`; a batch may lack some of the classes.
            classes: all that will ever come; needed in the first call if they are not all in y.

        After ``set_params(alpha=...)`` the result is that of all rows with the new alpha.

        Raises:
            AttributeError: the loss is not "squared"; no other has an exact update.
            ValueError: a class that was not there from the first; an argument other than alpha that has been changed
                since the first rows.
        """
        is_first = not getattr(self, "n_samples_seen_", 0)
        if not is_first:
            self._go_on()
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

    def _fit_logistic(self, given: Given, codes: Tensor, weights: Tensor | None) -> Self:
        self._draw(given)
        require_memory(
            32 * len(given) * (self.layers[-1] + 1),
            asked=f"The log loss of {len(given)} rows with {self.layers[-1]} features",
            instead='Use fewer features in the last of layers, or loss="squared", which holds some rows at a time.',
        )
        F = torch.cat([self._columns(rows) for rows in given.points.split(ROWS)])
        own = None if weights is None else weights.cpu()
        found = fit_logistic(F, codes, len(self.classes_), alpha=float(self.alpha), weights=own)
        self.n_iter_, self.n_samples_seen_ = found.n_iter, len(F)
        self._keep(given, found.solution)
        return self

    @available_if(_has_probability)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, ``(m, classes)``; only with ``loss="log_loss"``."""
        given, logits = self._logits(X)
        return given.answer(torch.softmax(logits, 1))

    @available_if(_has_probability)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Any:
        """Its natural logarithm, which stays finite where a probability is too small for a number."""
        given, logits = self._logits(X)
        return given.answer(torch.log_softmax(logits, 1))

    def _logits(self, X: Any) -> tuple[Given, Tensor]:
        """One column a class; of two classes the first is 0."""
        given, values = self._values(X)
        return given, torch.cat([torch.zeros_like(values), values], 1) if values.shape[1] == 1 else values

    def _restore(self) -> None:
        self.__dict__.setdefault("loss", "squared")  # files from before there was a choice
        super()._restore()

    def _evaluate(self, X: Any) -> tuple[Given, Tensor]:
        """The regressions without the intercept, which the mixin adds."""
        given, values = self._regressions(X)
        return given, values - as_tensor(self.intercept_, device=values.device)
