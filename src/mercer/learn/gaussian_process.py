"""Gaussian process regression."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import NotConverged
from mercer.learn.covariance import Array, Covariance, as_covariance
from mercer.learn.gaussian_process_predictions import GaussianProcessPredictions
from mercer.learn.inputs import as_targets, estimator_columns
from mercer.learn.marginal_likelihood import MarginalLikelihood
from mercer.learn.optimise import maximise, warn_at_bounds
from mercer.learn.posterior import Posterior
from mercer.learn.saving import Saved

__all__ = ["GaussianProcessRegressor"]


class GaussianProcessRegressor(MultiOutputMixin, RegressorMixin, GaussianProcessPredictions, Saved, BaseEstimator):
    r"""Gaussian process regression, exact: ``f ~ GP(0, k)``, ``y = f(x) + noise``.

    Hyperparameters maximise the log marginal likelihood plus the log density of their priors. Up to 5000 rows it is
    exact and its gradient analytic; beyond, the log-determinant and its gradient are estimated from ten probes at a
    fixed seed, or give ``subset``. Predictions are exact for any number of rows. Several targets share the kernel and
    are independent.

    Stands in for ``sklearn.gaussian_process.GaussianProcessRegressor``: arguments before ``noise`` are the same.

    Args:
        kernel: a mercer kernel or its text, or a kernel object of ``sklearn.gaussian_process``; None is scikit-learn's
            ``ConstantKernel() * RBF()``. Hyperparameters wrapped in ``Parameter`` have bounds, a prior, or are frozen;
            a lengthscale given as a list is learnt one a column (ARD).
        alpha: added to the diagonal: a variance in units of the (normalised) y squared, one or one a row.
        optimizer: "fmin_l_bfgs_b", None (keep the hyperparameters), or a function as in scikit-learn.
        n_restarts_optimizer: further starts, drawn log-uniformly within the bounds.
        normalize_y: whether y is centred and scaled to variance 1 for the model.
        copy_X_train: whether to keep a copy of X and y.
        n_targets: how many targets a prediction before ``fit`` has.
        random_state: of restarts, subset and probes.
        noise: known variance of y in units of y squared, one or one a row, beside ``alpha`` and a ``White`` kernel.
        subset: learn the hyperparameters on so many rows, drawn without replacement (``subset_indices_``); all rows are
            used for predictions.

    Attributes:
        kernel_: the kernel with learnt hyperparameters, in the library it came from.
        theta_: logarithms of the learnt hyperparameters, ``(p,)``.
        X_train_, y_train_: the data; y normalised.
        alpha_: ``(K + noise)^-1 y_train_``, float64.
        L_: the lower Cholesky factor of K + noise ``(n, n)``; computed when it is first asked for.
        log_marginal_likelihood_value_: at ``theta_``, of the rows that hyperparameters were learnt on.
        subset_indices_: those rows; only with ``subset``.

    Cost: a step of learning ``n^3`` multiply-adds up to 5000 rows; a standard deviation ``n^2`` for each new point.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), algorithm 2.1.

    >>> X = np.linspace(0.0, 6.0, 20)[:, None]
    >>> mean, std = GaussianProcessRegressor("RBF()").fit(X, np.sin(X[:, 0])).predict([[1.5]], return_std=True)
    >>> bool(abs(mean[0] - np.sin(1.5)) < 1e-4)
    True
    """

    _not_saved = ("_posterior",)

    def __init__(
        self,
        kernel: Any = None,
        *,
        alpha: Any = 1e-10,
        optimizer: Any = "fmin_l_bfgs_b",
        n_restarts_optimizer: int = 0,
        normalize_y: bool = False,
        copy_X_train: bool = True,
        n_targets: int | None = None,
        random_state: Any = None,
        noise: Any = None,
        subset: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.alpha = alpha
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.normalize_y = normalize_y
        self.copy_X_train = copy_X_train
        self.n_targets = n_targets
        self.random_state = random_state
        self.noise = noise
        self.subset = subset

    def fit(self, X: Any, y: Any) -> Self:
        """Learn the hyperparameters and condition on all rows.

        Args:
            X: ``(n, d)``; objects of another kind where the (scikit-learn) kernel takes them.
            y: ``(n,)`` or ``(n, t)``.

        Raises:
            ValueError: sizes that do not fit, NaN or infinity, a negative noise.
            numpy.linalg.LinAlgError: the kernel matrix plus noise is not positive definite.
            NotConverged: beyond 5000 rows, the solver did not get there.
        """
        rng = check_random_state(self.random_state)
        given, y = self._check_training(X, y)
        covariance = as_covariance(
            self._kernel(), estimator_columns(self), n_features=getattr(self, "n_features_in_", None)
        )
        Y, is_vector = as_targets(y, given.device)
        if self.n_targets is not None and Y.shape[1] != self.n_targets:
            raise ValueError(
                f"The number of targets seen in `y` is {Y.shape[1]}, but n_targets={self.n_targets}. Leave n_targets "
                f"out, or give as many."
            )
        mean, scale = _location_and_scale(Y) if self.normalize_y else (torch.zeros_like(Y[0]), torch.ones_like(Y[0]))
        self._y_train_mean, self._y_train_std = given.coefficients(mean), given.coefficients(scale)
        Y = (Y - mean) / scale
        self._diagonal = self._noise_of_rows(len(Y), scale)
        self.X_train_ = given.keep(copy=self.copy_X_train)
        self.y_train_ = given.coefficients(Y.squeeze(-1) if is_vector else Y)
        self.__dict__.pop("subset_indices_", None)
        if self.subset is not None:
            self.subset_indices_ = np.sort(rng.choice(len(Y), size=min(int(self.subset), len(Y)), replace=False))
        if self.optimizer is not None and len(covariance.theta):
            covariance = covariance.at(self._learn(covariance, rng))
            warn_at_bounds(covariance)
        self.kernel_ = covariance.kernel
        self._posterior = Posterior.of(covariance, given.points, Y, self._diagonal)
        weights = self._posterior.weights
        self.alpha_ = given.coefficients(weights.squeeze(-1) if is_vector else weights)
        self._likelihood_value: float | None = None
        return self

    def log_marginal_likelihood(
        self, theta: Any = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> float | tuple[float, Array]:
        """The log marginal likelihood, without priors, of the rows that hyperparameters were learnt on.

        Args:
            theta: logarithms of the hyperparameters that are learnt, in the order of ``theta_``; None is ``theta_``.
            eval_gradient: also give the gradient by theta, ``(p,)``.
            clone_kernel: False sets ``kernel_`` to theta.
        """
        check_is_fitted(self)
        if theta is None:
            if eval_gradient:
                raise ValueError("Gradient can only be evaluated for theta!=None: give theta=model.theta_.")
            return self.log_marginal_likelihood_value_
        covariance = self._covariance()
        value, gradient = self._likelihood()(covariance, theta)
        if not clone_kernel:
            self.kernel_ = covariance.at(theta).kernel
        return (np.float64(value), gradient) if eval_gradient else np.float64(value)

    @property
    def log_marginal_likelihood_value_(self) -> float:
        """The log marginal likelihood at ``theta_``; computed when it is first asked for."""
        check_is_fitted(self)
        if self._likelihood_value is None:
            covariance = self._covariance()
            self._likelihood_value = np.float64(self._likelihood()(covariance, covariance.theta)[0])
        return self._likelihood_value

    @property
    def theta_(self) -> Array:
        """Logarithms of the hyperparameters that are learnt."""
        check_is_fitted(self)
        return self._covariance().theta

    @property
    def L_(self) -> Any:
        """The lower Cholesky factor of K + noise, ``(n, n)``; computed when it is first asked for."""
        check_is_fitted(self)
        lower = self._posterior.factor().buffer.tril()
        return lower if isinstance(self.alpha_, Tensor) else lower.cpu().numpy()

    def _learn(self, covariance: Covariance, rng: np.random.RandomState) -> Array:
        likelihood = self._likelihood()

        def objective(theta: Array) -> tuple[float, Array]:
            try:
                return likelihood(covariance, theta, with_prior=True)
            except NotConverged:
                return -np.inf, np.zeros_like(theta)  # a bad place: the search turns back

        theta, _ = maximise(
            objective,
            covariance.theta,
            covariance.bounds,
            optimizer=self.optimizer,
            n_restarts=self.n_restarts_optimizer,
            rng=rng,
        )
        return theta

    def _likelihood(self) -> MarginalLikelihood:
        points, Y, noise = self._points(), as_targets(self.y_train_, self._diagonal.device)[0], self._diagonal
        rows = getattr(self, "subset_indices_", None)
        if rows is not None:
            points, Y, noise = points[rows], Y[rows], noise[rows] if noise.dim() else noise
        seed = self.random_state if isinstance(self.random_state, int) else 0
        return MarginalLikelihood(points, Y, noise, seed)

    def _noise_of_rows(self, n: int, scale: Tensor) -> Tensor:
        """alpha and noise together, in units of the normalised y squared: ``()`` or ``(n,)``."""
        alpha = as_tensor(self.alpha, dtype=torch.float64, device=scale.device)
        noise = as_tensor(0.0 if self.noise is None else self.noise, dtype=torch.float64, device=scale.device)
        for name, value in (("alpha", alpha), ("noise", noise)):
            if value.dim() > 1 or value.numel() not in (1, n):
                raise ValueError(
                    f"{name} must be a scalar or an array with same number of entries as y, {n}; it has shape "
                    f"{tuple(value.shape)}."
                )
            if not bool((value >= 0).all()) or not bool(value.isfinite().all()):
                raise ValueError(f"{name} must not be negative, NaN or infinite: it is a variance.")
        if bool((noise > 0).any()) and len(scale) > 1 and bool((scale != scale[0]).any()):
            raise ValueError(
                "noise with normalize_y needs targets of one scale: normalise y before, or fit one by one."
            )
        total = alpha.squeeze() + noise.squeeze() / scale[0] ** 2
        return total.reshape(n) if n > 1 and total.numel() == n else total.reshape(())

    def _restore(self) -> None:
        if hasattr(self, "X_train_"):
            weights = as_targets(self.alpha_, self._diagonal.device)[0]
            self._posterior = Posterior(self._covariance(), self._points(), self._diagonal, weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _location_and_scale(Y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column; 1 for a constant one."""
    mean, scale = Y.mean(0), Y.std(0, correction=0)
    return mean, torch.where(scale > 10 * torch.finfo(torch.float64).eps * mean.abs(), scale, 1.0)
