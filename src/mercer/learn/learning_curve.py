"""How fast an estimator learns: its error for more and more rows, and the power law that it follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from mercer.arguments import check_whole
from mercer.learn.random_states import as_random_state
from mercer.learn.saving import Saved
from mercer.plots import BLUE, axes_or_new
from mercer.progress import track

__all__ = ["LearningCurve"]

Array = np.ndarray[Any, Any]
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # of the training rows, where no sizes are given


class LearningCurve(MetaEstimatorMixin, Saved, BaseEstimator):
    r"""The errors of an estimator fitted to growing numbers of rows, and the exponent beta of ``error ~ n^-beta``.

    Each repeat draws rows to test on and an order of the others, whose first n are trained on: the smaller training
    sets lie in the larger ones. The exponent is the slope of the logarithm of the mean error against that of n, by
    least squares. What the theory of kernels says of it is in Cagnetta, Favero & Wyart (2023) and Spigler, Geiger &
    Wyart (2020): the smoother the target is against the kernel, and the fewer dimensions it has, the larger.

    Args:
        estimator: with ``fit`` and ``predict``; a copy is fitted for each size and repeat.
        sizes: numbers of training rows, two or more; None takes 1/16, 1/8, ... and all of those not tested on.
        n_repeats: how often rows are drawn.
        test_size: share of the rows that are tested on.
        random_state: of the draws.

    Attributes:
        sizes_: numbers of training rows, ascending, ``(s,)``.
        errors_: ``(s, n_repeats)``: of regressors the mean squared error over the variance of the test rows' targets (1
            is no better than their mean); of classifiers the share of wrong labels.
        exponent_: beta. Sizes whose mean error is 0 are left out; NaN if fewer than two are left.
        exponent_std_: its standard error, by leaving out one repeat at a time; NaN with one repeat. Repeats share rows,
            so it is that of the draw of rows out of these data, not of other data.
        prefactor_: c of ``error = c n^-beta``.

    Raises:
        ValueError: sizes below 1, larger than there are rows to train on, or fewer than two.

    Cost: ``n_repeats`` fits for each size.

    >>> from mercer.learn import KernelRidge
    >>> X = np.linspace(0.0, 1.0, 400)[:, None]
    >>> model = KernelRidge(kernel="Laplacian()", alpha=1e-8)
    >>> curve = LearningCurve(model, sizes=[50, 100, 200], n_repeats=4, random_state=0)
    >>> 2.0 < curve.fit(X, np.sin(6 * X[:, 0])).exponent_ < 4.5
    True
    """

    def __init__(
        self,
        estimator: Any,
        sizes: Sequence[int] | None = None,
        n_repeats: int = 8,
        *,
        test_size: float = 0.25,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.sizes = sizes
        self.n_repeats = n_repeats
        self.test_size = test_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Measure.

        Args:
            X: ``(n, d)``, anything that the estimator takes and that has rows.
            y: ``(n,)`` or ``(n, t)``.
        """
        if y is None:
            raise ValueError("LearningCurve requires y to be passed, but the target y is None.")
        X, y = indexable(X, y)
        validate_data(self, X, skip_check_array=True)
        n = len(y)
        check_whole("n_repeats", self.n_repeats)
        n_test = int(np.ceil(float(self.test_size) * n))
        if not 0.0 < self.test_size < 1.0 or n - n_test < 2:
            raise ValueError(
                f"LearningCurve(test_size={self.test_size!r}): of n_samples = {n} rows {n_test} would be tested on and "
                f"{n - n_test} trained on. Take a share between 0 and 1 that leaves two rows or more."
            )
        self.sizes_ = self._sizes(n - n_test)
        draw = as_random_state(self.random_state)
        errors = np.empty((len(self.sizes_), self.n_repeats))
        for repeat in track(range(self.n_repeats), description="learning curve"):
            order = draw.permutation(n)
            test, others = order[:n_test], order[n_test:]
            for i, size in enumerate(self.sizes_):
                rows = others[:size]
                model = clone(self.estimator).fit(_safe_indexing(X, rows), _safe_indexing(y, rows))
                errors[i, repeat] = self._error(model.predict(_safe_indexing(X, test)), _safe_indexing(y, test))
        self.errors_ = errors
        self.exponent_, self.prefactor_ = power_law(self.sizes_, errors)
        self.exponent_std_ = _jackknife(self.sizes_, errors)
        return self

    def error_at(self, sizes: Any) -> Array:
        """The error that the fitted power law says for other numbers of rows; beyond what was measured, a guess."""
        check_is_fitted(self)
        found: Array = self.prefactor_ * np.asarray(sizes, dtype=np.float64) ** -self.exponent_
        return found

    def size_at(self, error: float) -> float:
        """The number of training rows at which the mean error comes down to ``error``; NaN where no size got there.

        Between two measured sizes the error's logarithm is a straight line in that of the size; nothing is guessed
        beyond them. Where the first size is there already, it is the answer: fewer rows may do.

        >>> from sklearn.linear_model import LinearRegression
        >>> X = np.random.default_rng(0).normal(size=(400, 8))
        >>> y = X.sum(1) + X[:, 0] * X[:, 1]
        >>> curve = LearningCurve(LinearRegression(), sizes=[20, 60, 200], random_state=0).fit(X, y)
        >>> 20 < curve.size_at(0.15) < 60, curve.size_at(0.01)
        (True, nan)
        """
        check_is_fitted(self)
        mean = self.errors_.mean(1)
        reached = np.flatnonzero(mean <= error)
        if not len(reached):
            return float("nan")
        i = int(reached[0])
        if i == 0:
            return float(self.sizes_[0])
        before, after = np.log(np.maximum(mean[i - 1 : i + 1], np.finfo(np.float64).tiny))
        share = (before - np.log(max(error, np.finfo(np.float64).tiny))) / (before - after)
        few, many = np.log(self.sizes_[i - 1 : i + 1])
        return float(np.exp(few + share * (many - few)))

    def plot(self, axes: Any = None, *, label: str | None = None, color: str = BLUE) -> Any:
        """Draw the mean errors with the spread of the repeats, and the power law, on logarithmic axes.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        check_is_fitted(self)
        axes = axes_or_new(axes)
        low, middle, high = np.quantile(self.errors_, [0.16, 0.5, 0.84], axis=1)
        mean = self.errors_.mean(1)
        axes.fill_between(self.sizes_, low, high, color=color, alpha=0.18, lw=0)
        axes.plot(self.sizes_, mean, "o", color=color, label=label)
        if np.isfinite(self.exponent_):
            text = f"n^-{self.exponent_:.2f}" if label is None else None
            axes.plot(self.sizes_, self.error_at(self.sizes_), color=color, lw=1.2, label=text)
        axes.set(xscale="log", yscale="log" if middle.min() > 0.0 else "linear", xlabel="training rows", ylabel="error")
        axes.set_xticks(self.sizes_, [str(size) for size in self.sizes_])
        axes.set_xticks([], minor=True)
        axes.legend()
        return axes

    def _sizes(self, most: int) -> Array:
        given = [max(2, round(share * most)) for share in SHARES] if self.sizes is None else list(self.sizes)
        for size in given:
            check_whole("sizes", size)
        found = np.unique(np.asarray(given, dtype=np.int64))
        if len(found) < 2 or found[-1] > most:
            raise ValueError(
                f"LearningCurve(sizes={self.sizes!r}): give two different numbers of rows or more, each at most the "
                f"{most} that are not tested on."
            )
        return found

    def _error(self, predicted: Any, truth: Any) -> float:
        predicted, truth = (np.asarray(v.cpu() if isinstance(v, Tensor) else v) for v in (predicted, truth))
        if is_classifier(self.estimator):
            return float((predicted != truth).mean())
        truth = truth.astype(np.float64)
        size = float(((truth - truth.mean(0)) ** 2).mean()) or 1.0
        return float(((predicted.reshape(truth.shape) - truth) ** 2).mean()) / size

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = self.estimator.__sklearn_tags__()
        tags.input_tags, tags.target_tags = inner.input_tags, inner.target_tags
        return tags


def power_law(sizes: Array, errors: Array) -> tuple[float, float]:
    """beta and c of ``c n^-beta``, by least squares on the logarithms of the errors' means over the last axis."""
    mean = errors.mean(1)
    kept = mean > 0.0
    if kept.sum() < 2:
        return float("nan"), float("nan")
    slope, start = np.polyfit(np.log(sizes[kept]), np.log(mean[kept]), 1)
    return -float(slope), float(np.exp(start))


def _jackknife(sizes: Array, errors: Array) -> float:
    n = errors.shape[1]
    if n < 2:
        return float("nan")
    left = np.array([power_law(sizes, np.delete(errors, i, 1))[0] for i in range(n)])
    return float(np.sqrt((n - 1) * np.mean((left - left.mean()) ** 2)))
