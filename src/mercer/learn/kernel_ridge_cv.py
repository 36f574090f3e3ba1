"""Kernel ridge regression that chooses alpha."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.metrics import get_scorer
from sklearn.model_selection import check_cv
from torch import Tensor

from mercer.learn.expansion import ExpansionPath
from mercer.learn.inputs import as_targets, as_weights, check_data, densify, take
from mercer.learn.model import RidgeModel
from mercer.learn.similarity import Similarity

__all__ = ["KernelRidgeCV"]


class KernelRidgeCV(MultiOutputMixin, RegressorMixin, RidgeModel):
    """Kernel ridge regression with alpha chosen by leave-one-out in closed form, or by cross-validation.

    All alphas come from one eigendecomposition (of the kernel matrix, of the features, or of the normal matrix of the
    centres), so a hundred cost little more than one. Relates to :class:`KernelRidge` as scikit-learn's ``RidgeCV`` to
    ``Ridge``.

    Args:
        alphas: what to choose from; each >= 0 and the same for all targets.
        kernel, gamma, degree, coef0, kernel_params, n_centers, center_sampling, rtol, random_state: as in
            :class:`KernelRidge`.
        scoring: a scikit-learn scorer or its name, larger is better; None is the negative mean squared error. In
            leave-one-out it judges all the left-out predictions together.
        cv: None for leave-one-out; a number of folds or a scikit-learn splitter for cross-validation.

    Attributes:
        alpha_: the best one.
        best_score_: its score.
        scores_: the score of every alpha, ``(len(alphas),)``; the mean over folds.
        dual_coef_, X_fit_, center_indices_, kernel_, solver_: as in :class:`KernelRidge`.

    Raises:
        MemoryBudgetError: in ``fit``, the eigendecomposition does not fit; before anything is allocated.

    Cost: exact ``9 n^3`` multiply-adds; with m centres or features ``n m^2``.

    >>> X = np.linspace(0.0, 6.0, 100)[:, None]
    >>> model = KernelRidgeCV([1e-4, 1e-2, 1.0], kernel="rbf").fit(X, np.sin(X[:, 0]))
    >>> model.alpha_
    0.0001
    """

    def __init__(
        self,
        alphas: Any = (0.1, 1.0, 10.0),
        *,
        kernel: Any = "linear",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict[str, Any] | None = None,
        scoring: Any = None,
        cv: Any = None,
        n_centers: int | None = None,
        center_sampling: str = "uniform",
        rtol: float = 1e-6,
        random_state: Any = 0,
    ) -> None:
        self.alphas = alphas
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.scoring = scoring
        self.cv = cv
        self.n_centers = n_centers
        self.center_sampling = center_sampling
        self.rtol = rtol
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Choose alpha and learn from all rows; arguments as in :meth:`KernelRidge.fit`."""
        given, y = check_data(self, X, y, reset=True, accept_sparse=True, multi_output=True, y_numeric=True)
        Y, is_vector = as_targets(y, given.device)
        weights = as_weights(sample_weight, given)
        alphas = self._candidates()
        similarity = self._similarity(given)
        points = densify(given.points, why="kernel='precomputed'") if similarity is None else given.points
        judge = _judge(self.scoring, is_vector)
        if self.cv is None:
            path = self._path(similarity, points, Y, weights)
            errors = path.path.leave_one_out(alphas)  # (a, n, t)
            self.scores_ = np.array([judge(Y - error, Y, weights) for error in errors])
        else:
            self.scores_ = self._cross_validate(similarity, points, Y, weights, alphas, judge)
        best = int(np.argmax(self.scores_))
        self.alpha_, self.best_score_ = alphas[best], float(self.scores_[best])
        if self.cv is None and (path.centers is not None or not path.path.is_primal):
            dual = path.at(self.alpha_).dual
            self._keep(similarity, given, path.points)
            where = "rows" if path.centers is None else "centres"
            self.solver_ = f"eigenvalues over {len(dual)} {where}"
        else:
            dual = self._solve(similarity, given, Y, weights, self._alphas(Y.shape[1]))
        if self.cv is None:
            self._kept_errors = errors[best].clone()
        self._remember(given, Y, weights, dual, is_vector)
        return self

    def predict(self, X: Any, interval: float | None = None) -> Any:
        """The function at each row of X; arguments and intervals as in :meth:`KernelRidge.predict`.

        With leave-one-out the errors behind the intervals are those by which alpha was chosen, so with few rows and
        many alphas they are a little optimistic. They are there with ``n_centers`` too.
        """
        return self._predict(X, interval)

    def _path(self, similarity: Similarity | None, points: Any, Y: Tensor, weights: Tensor | None) -> ExpansionPath:
        if self.n_centers is not None and similarity is not None:
            return ExpansionPath.on_centers(self._center_features(similarity, points, weights), Y, weights)
        return ExpansionPath.exact(similarity, points, Y, weights)

    def _cross_validate(
        self,
        similarity: Similarity | None,
        points: Any,
        Y: Tensor,
        weights: Tensor | None,
        alphas: list[float],
        judge: Callable[[Tensor, Tensor, Tensor | None], float],
    ) -> np.ndarray[Any, Any]:
        """The mean score of every alpha over the folds."""
        scores = []
        for train, test in check_cv(self.cv).split(np.empty((len(Y), 1)), Y.cpu().numpy()):
            seen, left = torch.from_numpy(train), torch.from_numpy(test)
            inside = take(points, seen) if similarity is not None else points[seen][:, seen]
            outside = take(points, left) if similarity is not None else points[left][:, seen]
            path = self._path(similarity, inside, Y[seen], None if weights is None else weights[seen])
            truth, importance = Y[left], None if weights is None else weights[left]
            scores.append([judge(path.at(alpha)(outside), truth, importance) for alpha in alphas])
        return np.asarray(np.mean(scores, axis=0))

    def _candidates(self) -> list[float]:
        alphas = np.atleast_1d(np.asarray(self.alphas, dtype=np.float64))
        if alphas.ndim != 1 or not len(alphas) or not (np.isfinite(alphas).all() and (alphas >= 0).all()):
            raise ValueError(f"alphas must be a list of numbers >= 0, not {self.alphas!r}.")
        return [float(a) for a in alphas]

    def _alphas(self, n_targets: int) -> list[float]:
        return [self.alpha_] * n_targets


class _Identity(RegressorMixin, BaseEstimator):
    """Predicts what it is given, so that a scorer can judge predictions that are already there."""

    def predict(self, X: Any) -> Any:
        """X itself."""
        return X


def _judge(scoring: Any, is_vector: bool) -> Callable[[Tensor, Tensor, Tensor | None], float]:
    """(prediction, truth, weights) -> score."""
    scorer = get_scorer("neg_mean_squared_error" if scoring is None else scoring)

    def judge(prediction: Tensor, truth: Tensor, weights: Tensor | None) -> float:
        arrays = [(t.squeeze(-1) if is_vector else t).cpu().numpy() for t in (prediction, truth)]
        options = {} if weights is None else {"sample_weight": weights.cpu().numpy()}
        return float(scorer(_Identity(), *arrays, **options))

    return judge
