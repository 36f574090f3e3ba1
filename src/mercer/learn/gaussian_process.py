"""Gaussian process regression."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from scipy.stats import norm
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import NotConverged
from mercer.learn.covariance import Array, Covariance, as_covariance
from mercer.learn.inputs import Given, as_targets, check_data, estimator_columns
from mercer.learn.intervals import around, check_level
from mercer.learn.marginal_likelihood import MarginalLikelihood
from mercer.learn.optimise import maximise, warn_at_bounds
from mercer.learn.posterior import Posterior
from mercer.learn.saving import Saved

__all__ = ["GaussianProcessRegressor"]


class GaussianProcessRegressor(MultiOutputMixin, RegressorMixin, Saved, BaseEstimator):
    r"""Gaussian process regression, exact: ``f ~ GP(0, k)``, ``y = f(x) + noise``.

    Hyperparameters maximise the log marginal likelihood plus the log density of their priors. Up to 5000 rows it is exact
    and its gradient analytic; beyond, the log-determinant and its gradient are estimated from ten probes at a fixed seed,
    or give ``subset``. Predictions are exact for any number of rows. Several targets share the kernel and are independent.

    Stands in for ``sklearn.gaussian_process.GaussianProcessRegressor``: arguments before ``noise`` are the same.

    Args:
        kernel: a mercer kernel or its text, or a kernel object of ``sklearn.gaussian_process``; None is scikit-learn's
            ``ConstantKernel() * RBF()``. Hyperparameters wrapped in ``Parameter`` have bounds, a prior, or are frozen; a
            lengthscale given as a list is learnt one a column (ARD).
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

    _not_saved = ("_posterior", "_likelihood")

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
        given, y = self._check(X, y, reset=True)
        covariance = as_covariance(self._kernel(), estimator_columns(self))
        Y, is_vector = as_targets(y, given.device)
        if self.n_targets is not None and Y.shape[1] != self.n_targets:
            raise ValueError(
                f"The number of targets seen in `y` is {Y.shape[1]}, but n_targets={self.n_targets}. Leave n_targets out, "
                f"or give as many."
            )
        mean, scale = (Y.mean(0), Y.std(0, correction=0)) if self.normalize_y else (torch.zeros_like(Y[0]), torch.ones_like(Y[0]))
        scale = torch.where(scale > 10 * torch.finfo(torch.float64).eps * mean.abs(), scale, 1.0)
        self._y_train_mean, self._y_train_std = given.coefficients(mean), given.coefficients(scale)
        Y = (Y - mean) / scale
        self._diagonal = self._total_noise(len(Y), scale)
        kept = Given(given.points.copy() if isinstance(given.points, np.ndarray) else given.points.clone(), given.example)
        self.X_train_ = (kept if self.copy_X_train else given).keep()
        self.y_train_ = given.coefficients(Y.squeeze(-1) if is_vector else Y)
        self._set_likelihood(given.points, Y, rng)
        self.log_marginal_likelihood_value_: float | None = None
        if self.optimizer is not None and len(covariance.theta):
            theta, value = maximise(
                lambda theta: self._objective(covariance, theta),
                covariance.theta,
                covariance.bounds,
                optimizer=self.optimizer,
                n_restarts=self.n_restarts_optimizer,
                rng=rng,
            )
            covariance = covariance.at(theta)
            warn_at_bounds(covariance)
        self.kernel_ = covariance.kernel
        self._posterior = Posterior.of(covariance, given.points, Y, self._diagonal)
        self.alpha_ = given.coefficients(self._posterior.weights.squeeze(-1) if is_vector else self._posterior.weights)
        return self
