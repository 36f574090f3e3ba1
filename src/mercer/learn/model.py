"""What all ridge estimators share: the kernel argument, fitted coefficients, predictions, intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arguments import check_whole
from mercer.learn.centers import CenterFeatures, choose_centers, solve_with_centers
from mercer.learn.dual import Dual
from mercer.learn.expansion import Expansion
from mercer.learn.inputs import Given, as_given, as_points, as_targets, check_data, densify, take
from mercer.learn.intervals import around, check_level, error_quantile
from mercer.learn.kernel_argument import KernelArgument
from mercer.learn.leave_one_out import leave_one_out
from mercer.learn.ridge import fit_ridge
from mercer.learn.saving import Saved
from mercer.learn.similarity import Similarity

__all__ = ["RidgeModel"]


class RidgeModel(KernelArgument, Saved, BaseEstimator):
    """Base of the ridge estimators; a subclass's ``__init__`` stores the arguments read here.

    Attributes:
        dual_coef_: float64 coefficients, ``(n,)`` or ``(n, t)``: ``f(x) = sum_i dual_coef_[i] k(x, X_fit_[i])``.
        X_fit_: the training points, or the centres.
        kernel_: the kernel, its columns resolved; None for "precomputed".
        center_indices_: which training rows are the centres; only with ``n_centers``.
        solver_: how the coefficients were found, and why so.
        residual_: the relative residual that was reached.
        n_iter_: iterations, 0 for direct methods.
    """

    n_centers: int | None
    center_sampling: str
    random_state: Any
    rtol: float
    _feature_weights: Tensor | None
    _kept_errors: Tensor | None

    # fitting

    def _similarity(self, given: Given) -> Similarity | None:
        """The kernel for these data; None when they are the kernel matrix."""
        similarity = super()._similarity(given)
        if similarity is None and self.n_centers is not None:
            raise ValueError("kernel='precomputed' has the whole kernel matrix: leave n_centers out.")
        return similarity

    def _center_features(self, similarity: Similarity, points: Any, weights: Tensor | None = None) -> CenterFeatures:
        """Features of some points on centres chosen among them."""
        check_whole("n_centers", self.n_centers, or_none=True)
        assert self.n_centers is not None
        chosen = choose_centers(
            similarity,
            points,
            int(self.n_centers),
            weights=weights,
            sampling=self.center_sampling,
            random_state=self.random_state,
        )
        self.center_indices_ = chosen.numpy()
        return CenterFeatures.of(similarity, points, take(points, chosen))

    def _solve(
        self,
        similarity: Similarity | None,
        given: Given,
        Y: Tensor,
        weights: Tensor | None,
        alphas: Sequence[float],
    ) -> Tensor:
        """Coefficients ``(n, t)``, each target with its alpha; keeps what predictions need."""
        options: dict[str, Any] = {"weights": weights, "rtol": self.rtol, "random_state": self.random_state}
        solve: Callable[..., Dual]
        if self.n_centers is not None and similarity is not None:
            features = self._center_features(similarity, given.points, weights)
            kept, solve = features.centers, partial(solve_with_centers, features, **options)
        else:
            points = densify(given.points, why="kernel='precomputed'") if similarity is None else given.points
            kept, solve = given.points, partial(fit_ridge, similarity, points, **options)
        groups = {alpha: [j for j, other in enumerate(alphas) if other == alpha] for alpha in alphas}
        fits = []
        for alpha, columns in groups.items():
            fits.append(solve(Y[:, columns], alpha=alpha))
        self._keep(similarity, given, kept)
        self.solver_ = fits[-1].reason
        self.residual_, self.n_iter_ = max(fit.residual for fit in fits), max(fit.n_iter for fit in fits)
        order = torch.tensor([j for columns in groups.values() for j in columns]).argsort()
        of_features = [fit.feature_weights for fit in fits if fit.feature_weights is not None]
        self._feature_weights = torch.cat(of_features, 1)[:, order] if of_features else None
        return torch.cat([fit.coefficients for fit in fits], 1)[:, order]

    def _keep(self, similarity: Similarity | None, given: Given, points: Any) -> None:
        self.kernel_ = None if similarity is None else similarity.kernel
        self.X_fit_ = Given(points, given.example).keep()
        self._feature_weights = None
        self._kept_errors = None
        if self.n_centers is None:
            self.__dict__.pop("center_indices_", None)  # of a fit before

    def _remember(self, given: Given, Y: Tensor, weights: Tensor | None, dual: Tensor, is_vector: bool) -> None:
        """Fitted attributes from the coefficients, and the targets that leave-one-out errors need."""
        self._targets, self._weights, self._is_vector = Y, weights, is_vector
        self.dual_coef_ = given.coefficients(dual.squeeze(-1) if is_vector else dual)

    # predicting

    def _expansion(self) -> Expansion:
        check_is_fitted(self)
        similarity = None if self.kernel_ is None else Similarity(self.kernel_)
        return Expansion(similarity, as_points(self.X_fit_), as_targets(self.dual_coef_)[0], self._feature_weights)

    def _evaluate(self, X: Any) -> tuple[Given, Tensor]:
        """The checked points, and the model there, ``(m, t)`` in float64."""
        expansion = self._expansion()
        given = check_data(self, X, reset=False, accept_sparse=True)
        return given, expansion(given.points_on(expansion.dual.device))

    def _predict(self, X: Any, interval: float | None) -> Any:
        """What the regressors' ``predict`` gives."""
        level = None if interval is None else check_level(interval)
        given, values = self._evaluate(X)
        radius = None if level is None else error_quantile(self._errors(), level).to(values.device)
        if self._is_vector:
            values = values.squeeze(-1)
        if radius is None:
            return given.answer(values)
        return tuple(given.answer(limit) for limit in around(values, radius))

    # leave one out

    def leave_one_out(self) -> Any:
        """For every training row, y minus the prediction of a model made without it, in closed form.

        Returns:
            ``(n,)`` or ``(n, t)``, float64.

        Raises:
            ValueError: with ``n_centers``, where the training rows are not kept.
            MemoryBudgetError: the kernel matrix would have to be factorised and does not fit.

        Cost: over rows a Cholesky factorisation, ``n^3 / 3``, and its inverse, twice that; once, then it is kept.
        """
        errors = self._errors()
        return as_given(errors.squeeze(-1) if self._is_vector else errors, isinstance(self.dual_coef_, Tensor))

    def _errors(self) -> Tensor:
        """:meth:`leave_one_out` as ``(n, t)``."""
        check_is_fitted(self)
        if self._kept_errors is None:
            self._kept_errors = self._compute_errors()
        return self._kept_errors

    def _compute_errors(self) -> Tensor:
        if self.n_centers is not None:
            raise ValueError(
                f"Leave-one-out errors need the training rows, which a model with n_centers={self.n_centers} does not "
                f"keep. Use KernelRidgeCV, which computes them in fit, or SplitConformal(...).calibrate."
            )
        expansion = self._expansion()
        alphas = self._alphas(self._targets.shape[1])
        errors = torch.empty_like(self._targets)
        for alpha in sorted(set(alphas)):
            columns = [j for j, a in enumerate(alphas) if a == alpha]
            errors[:, columns] = leave_one_out(
                expansion.similarity,
                expansion.points,
                self._targets[:, columns],
                expansion.dual[:, columns],
                alpha=alpha,
                weights=self._weights,
            )
        return errors

    def _alphas(self, n_targets: int) -> list[float]:
        """The alpha of every target."""
        raise NotImplementedError  # every subclass has its own
