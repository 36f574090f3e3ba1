"""Kernel regression that learns which directions matter."""

from __future__ import annotations

from typing import Any, Self

import torch
from sklearn.base import MultiOutputMixin, RegressorMixin
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.learn.feature_machine import FeatureMachine
from mercer.learn.inputs import as_targets, as_weights, check_data, weighted_mean
from mercer.learn.intervals import around, check_level, error_quantile

__all__ = ["RecursiveFeatureMachine"]


class RecursiveFeatureMachine(MultiOutputMixin, RegressorMixin, FeatureMachine):
    r"""Recursive feature machine: kernel ridge regression in a metric learnt from its own gradients.

    .. math:: k_M(x, y) = \exp\left(-\frac{\lVert M^{1/2} (x - y) \rVert_p^q}{\ell^q}\right), \quad
        M \leftarrow \frac{1}{n} \sum_i \nabla f(x_i) \nabla f(x_i)^\top

    Fit f with M = 1, take the average gradient outer product of f as the next M, fit again; the iterate with the least
    error on rows that it has not seen is kept. Directions along which f does not change fade out of the distance.

    Columns should have one scale (``StandardScaler``). More rows than ``leaf_size`` are split at medians along the
    direction in which a first predictor changes most, and each leaf has its own M (xRFM).

    Args:
        alpha: >= 0, the ridge, in units of k(x, x) = 1.
        lengthscale: l, > 0.
        relative: whether l is in units of the median distance of the transformed rows, anew for each iterate (xRFM's
            ``bandwidth_mode="adaptive"``), or the same number throughout ("constant").
        exponent: q, 0 < q <= p.
        norm: p <= 2; 2 is xRFM's "l2", p = q its "l1".
        diagonal: learn weights of the columns only, not of their combinations.
        max_iter: how many times M is learnt, at most; one fit more than that.
        n_feature_rows: on how many rows M is learnt, at most; a random sample. The coefficients are of all rows.
        leaf_size: rows of a leaf, at most. Time grows with the cube of it, then linearly with the rows.
        temperature: 0 sends a point to one leaf; more blends those near a threshold, in units of the quartiles'
            distance.
        categorical_features: positions of columns that hold codes; each category gets a direction of its own.
        candidates: further settings to try, each a dict with any of ``alpha``, ``lengthscale``, ``relative``,
            ``exponent``, ``norm`` and ``diagonal``; the rest is as above. They begin with the best metric found before
            them. Each leaf keeps what has the least squared error on rows that it has not seen.
        rtol: relative residual of the linear systems.
        random_state: of samples and preconditioners.

    Attributes:
        M_: the learnt feature matrix, ``(width, width)``, or its diagonal; of several leaves the mean by rows.
        feature_importances_: the diagonal of M a column of X, summing to 1.
        n_leaves_: how many leaves the rows were split into.
        losses_: for each leaf, the squared error of each iterate on rows that it has not seen.
        best_iter_: for each leaf, the iterate that was kept; 0 is kernel ridge on the columns as given, or for a
            candidate in the best metric found before it.
        chosen_: for each leaf, the settings that were kept, by name.
        candidate_losses_: for each leaf, the least squared error with the estimator's own settings and with each of
            the candidates.
        n_fits_: how many iterates were made in all.
        residual_, n_iter_: the largest relative residual of a leaf's system; the most iterates of a leaf.
        intercept_: the weighted mean of y, ``()`` or ``(t,)``; the value far from all rows.

    Raises:
        NotConverged: in ``fit``, when ``rtol`` is not reached.
        MemoryBudgetError: in ``fit``, before anything is allocated.

    Cost: for each iterate a factorisation of ``n_feature_rows`` rows and a pass of derivatives over their pairs; where
    one row is left out at a time also the diagonal of an inverse, twice the factorisation; in the end a solve for each
    leaf. Iterates end with the first that is no better: three or four are usual, two for each candidate.
    Source: Radhakrishnan, Beaglehole, Pandit & Belkin (Science 2024, arXiv 2212.13881); leaves: Beaglehole et al., xRFM
    (arXiv 2508.10053).

    >>> X = np.random.default_rng(0).normal(size=(300, 8))
    >>> model = RecursiveFeatureMachine(1e-3).fit(X, X[:, 0] * X[:, 1])
    >>> [int(c) for c in sorted(model.feature_importances_.argsort()[-2:])]
    [0, 1]
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Learn features and coefficients.

        Args:
            X: ``(n, d)`` array, table or tensor.
            y: ``(n,)`` or ``(n, t)``; the gradients of all targets make one M.
            sample_weight: ``(n,)``, >= 0, or one number for all.
            X_val: and ``y_val``: rows that choose the iterate, and take no other part. Without them other rows do
                where a leaf has more than ``n_feature_rows``; else each row is left out once, in closed form.

        Raises:
            ValueError: one of ``X_val`` and ``y_val`` without the other, or bad arguments.
            ShapeError: a y_val of other targets than y.
        """
        given, y = check_data(self, X, y, reset=True, multi_output=True, y_numeric=True)
        Y, self._is_vector = as_targets(y, given.device)
        weights = as_weights(sample_weight, given)
        mean = weighted_mean(Y, weights)
        self.intercept_ = given.coefficients(mean.squeeze(-1) if self._is_vector else mean)
        validation: tuple[Tensor, Tensor] | None = None
        if (rows := self._validation(X_val, y_val, given, multi_output=True, y_numeric=True)) is not None:
            Y_val = as_targets(rows[1], given.device)[0]
            if Y_val.shape[1] != Y.shape[1]:
                raise ShapeError(f"y has {Y.shape[1]} targets, but y_val has {Y_val.shape[1]}.")
            validation = rows[0], Y_val - mean
        self._fit(given, Y - mean, weights, validation)
        return self

    def predict(self, X: Any, interval: float | None = None) -> Any:
        """The function at each row of X, ``(m,)`` or ``(m, t)``.

        Args:
            X: ``(m, d)``.
            interval: a share such as 0.9: also give the limits between which so many truths lie.

        Returns:
            The prediction; with ``interval`` a triple (prediction, lower, upper), its width the quantile of the errors
            on rows that the kept iterate has not seen. They also chose it among a few, which makes the width a little
            too small; :class:`SplitConformal` on other rows has no such bias.
        """
        level = None if interval is None else check_level(interval)
        given, values = self._evaluate(X)
        values = values + as_tensor(self.intercept_, device=values.device)
        radius = None if level is None else error_quantile(torch.as_tensor(self._held_out), level).to(values.device)
        values = values.squeeze(-1) if self._is_vector else values
        if radius is None:
            return given.answer(values)
        return tuple(given.answer(limit) for limit in around(values, radius))
