"""Kernel regression that learns which directions matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from sklearn.base import MultiOutputMixin, RegressorMixin
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.feature_machine import FeatureMachine
from mercer.learn.inputs import as_targets, as_weights, check_data
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
        M_, n_leaves_, losses_, best_iter_, chosen_, candidate_losses_, n_fits_, residual_, n_iter_: as in the
            base class.
        feature_importances_: the diagonal of M a column of X, summing to 1.
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
            y: ``(n,)`` or ``(n, t)``; the gradients of all targets make one M.
            sample_weight: ``(n,)``, >= 0, or one number for all.
            X_val: and ``y_val``: rows that choose the iterate, and take no other part. Without them other rows do
                where a leaf has more than ``n_feature_rows``; else each row is left out once, in closed form.
        """
        given, y = check_data(self, X, y, reset=True, multi_output=True, y_numeric=True)
        Y, self._is_vector = as_targets(y, given.device)
        weights = as_weights(sample_weight, given)
        mean = Y.mean(0) if weights is None else weights @ Y / weights.sum()
        self.intercept_ = given.coefficients(mean.squeeze(-1) if self._is_vector else mean)
        validation: tuple[Tensor, Tensor] | None = None
        if (X_val is None) != (y_val is None):
            raise ValueError("Give both X_val and y_val, or neither.")
        if X_val is not None:
            points, y_val = check_data(self, X_val, y_val, reset=False, multi_output=True, y_numeric=True)
            validation = points.points.to(given.points), as_targets(y_val, given.device)[0] - mean
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
