"""Intervals around any regressor that hold the truth as often as they say."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.learn.inputs import as_targets, copy_columns
from mercer.learn.intervals import around, check_level, error_quantile
from mercer.learn.saving import Saved

__all__ = ["SplitConformal"]


class SplitConformal(MetaEstimatorMixin, RegressorMixin, Saved, BaseEstimator):
    """A regressor with intervals: the prediction plus or minus a quantile of its errors on rows that it has not seen.

    ``fit`` gives the regressor every row and holds none out. The errors come from :meth:`calibrate`, or where the
    regressor has them in closed form (``leave_one_out``, as :class:`KernelRidge` has) from its own training rows.

    With :meth:`calibrate` an interval holds a new truth with probability at least ``level``, whatever the regressor, if
    the new row and the rows of ``calibrate`` are exchangeable (drawn alike, in no order). With leave-one-out errors it
    does so nearly, as long as one row more or less hardly changes the regressor.

    Args:
        estimator: a regressor with scikit-learn's interface.
        level: how often an interval is to hold the truth.

    Attributes:
        estimator_: the fitted regressor.
        errors_: the errors behind the intervals, ``(n,)`` or ``(n, t)``; not there before there are any.
        method_: "calibrated" or "leave-one-out".

    Source: Papadopoulos et al., Inductive confidence machines for regression (2002); Barber et al., Predictive
    inference with the jackknife+ (2021), for what leave-one-out errors can promise.

    >>> X = np.arange(20.0)[:, None]
    >>> model = SplitConformal(KernelRidge(), level=0.8).fit(X[:10], X[:10, 0])
    >>> prediction, lower, upper = model.calibrate(X[10:], X[10:, 0] + 1.0).predict(X[:2], interval=0.8)
    """

    def __init__(self, estimator: Any = None, *, level: float = 0.9) -> None:
        self.estimator = estimator
        self.level = level

    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self:
        """Fit the regressor to all rows; ``fit_params``, such as ``sample_weight``, are passed on."""
        check_level(self.level, "level")
        self.estimator_ = clone(self._regressor()).fit(X, y, **fit_params)
        for name in ("errors_", "method_"):
            self.__dict__.pop(name, None)
        copy_columns(self.estimator_, self)
        return self

    def calibrate(self, X: Any, y: Any) -> Self:
        """Take the errors on these rows, none of which the regressor was fitted to.

        Raises:
            ValueError: y has not as many rows as X.
        """
        check_is_fitted(self, "estimator_")
        predicted, truth = (as_targets(values)[0] for values in (self.estimator_.predict(X), y))
        if predicted.shape != truth.shape:
            raise ValueError(
                f"calibrate: y has shape {tuple(truth.shape)}, the predictions have {tuple(predicted.shape)}."
            )
        self._set_errors(truth - predicted, "calibrated")
        return self

    def predict(self, X: Any, interval: float | None = None) -> Any:
        """The regressor's prediction, ``(m,)`` or ``(m, t)``.

        Args:
            X: ``(m, d)``.
            interval: a share such as 0.9, or True for ``level``: also give the limits.

        Returns:
            The prediction; with ``interval`` a triple (prediction, lower, upper). Limits are infinite where there are
            too few errors: a level of 0.9 needs 9 of them.

        Raises:
            ValueError: an interval is asked for, :meth:`calibrate` has not been called, and the regressor has no
                leave-one-out errors.
        """
        check_is_fitted(self, "estimator_")
        prediction = self.estimator_.predict(X)
        if interval is None:
            return prediction
        level = check_level(self.level, "level") if interval is True else check_level(interval)
        if not hasattr(self, "errors_"):
            self._take_leave_one_out()
        radius = error_quantile(as_targets(self.errors_)[0], level)
        if not isinstance(prediction, Tensor):
            half = radius.cpu().numpy() if np.ndim(prediction) > 1 else float(radius[0])
            return around(prediction, half)
        return around(prediction, (radius if prediction.dim() > 1 else radius[0]).to(prediction))

    def _take_leave_one_out(self) -> None:
        if not hasattr(self.estimator_, "leave_one_out"):
            raise ValueError(
                f"{type(self.estimator_).__name__} has no leave-one-out errors: call calibrate(X, y) with rows "
                f"that it was not fitted to."
            )
        self._set_errors(as_targets(self.estimator_.leave_one_out())[0], "leave-one-out")

    def _set_errors(self, errors: Tensor, method: str) -> None:
        values = errors.squeeze(-1) if errors.shape[1] == 1 else errors
        self.errors_, self.method_ = values.cpu().numpy(), method

    def _regressor(self) -> Any:
        from mercer.learn.kernel_ridge import KernelRidge

        return KernelRidge() if self.estimator is None else self.estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = self._regressor().__sklearn_tags__()
        tags.input_tags, tags.target_tags = inner.input_tags, inner.target_tags
        return tags
