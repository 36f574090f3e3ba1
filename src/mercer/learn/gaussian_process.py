"""Gaussian process regression."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import ApproximationWarning, NotConverged
from mercer.learn.covariance import Array, Covariance, matrix_and_noise
from mercer.learn.fourier_posterior import FourierPosterior
from mercer.learn.gaussian_process_conditioning import GaussianProcessConditioning
from mercer.learn.gaussian_process_plan import GaussianProcessPlan
from mercer.learn.gradient_observations import GradientPosterior, matrix_with_gradients
from mercer.learn.inputs import as_given, as_targets
from mercer.learn.learning_rows import subset_rows
from mercer.learn.marginal_likelihood import EXACT, MarginalLikelihood
from mercer.learn.optimise import maximise, warn_at_bounds
from mercer.learn.posterior import Posterior
from mercer.learn.random_states import as_random_state
from mercer.operators.fourier import NoFourierSeries

__all__ = ["GaussianProcessRegressor"]


class GaussianProcessRegressor(MultiOutputMixin, RegressorMixin, GaussianProcessConditioning):
    r"""Gaussian process regression: ``f ~ GP(0, k)``, ``y = f(x) + noise``.

    Hyperparameters maximise the log marginal likelihood plus the log density of their priors. Up to 5000 rows it is
    exact and its gradient analytic, and so it is for any number of rows on a full grid or with a kernel of few
    features; else the log-determinant and its gradient are estimated from ten probes at a fixed seed, or give
    ``subset``. Predictions are exact for any number of rows. For a stationary kernel of up to three columns
    ``tolerance`` allows a stated error, and few transforms alone grow with the rows. ``plan_`` says what was done.
    Several targets share the kernel and are independent.

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
        tolerance: the error allowed of entries of the kernel matrix, as a share of k(0), such as 1e-6; then a Fourier
            series stands for a stationary kernel of up to three columns (needs ``pip install 'mercer[fourier]'``), and
            beyond 5000 rows for the stationary terms of a sum whose other terms have few features, such as ``Linear``.
            None: nothing but round-off.

    Attributes:
        kernel_: the kernel with learnt hyperparameters, in the library it came from.
        theta_: logarithms of the learnt hyperparameters, ``(p,)``.
        plan_: how the model is computed, why, and with what error.
        X_train_, y_train_: the data; y normalised. With gradients, ``gradients_train_`` too.
        alpha_: ``(K + noise)^-1 y_train_``, float64; with a Fourier series computed when it is first asked for. With
            gradients, ``(n (d + 1),)``: first of the values, then of the derivatives by each column.
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

    _not_saved = ("_posterior", "_fourier_terms", "_why_not")
    _posterior: Posterior | FourierPosterior

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
        tolerance: float | None = None,
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
        self.tolerance = tolerance

    def fit(self, X: Any, y: Any, gradients: Any = None, *, gradient_noise: float = 0.0) -> Self:
        """Learn the hyperparameters and condition on all rows.

        Args:
            X: ``(n, d)``; objects of another kind where the (scikit-learn) kernel takes them.
            y: ``(n,)`` or ``(n, t)``.
            gradients: the gradient of y at each row too, ``(n, d)`` or ``(n, d, t)``: the model is that of both, of
                ``n (d + 1)`` observations. The kernel's samples must have a derivative (RBF, Matern from nu = 1.5 on).
            gradient_noise: the variance of their error, in units of y squared over X squared; ``alpha`` is added. A
                ``White`` kernel and ``noise`` are noise of y alone.

        Raises:
            ValueError: sizes that do not fit, NaN or infinity, a negative noise.
            numpy.linalg.LinAlgError: the kernel matrix plus noise is not positive definite.
            NotConverged: beyond 5000 rows, the solver did not get there.
        """
        rng = as_random_state(self.random_state)
        given, y = self._check_training(X, y, multi_output=True)
        covariance = self._starting_covariance()
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
        for name in ("subset_indices_", "gradients_train_", "alpha_", "_fourier_terms", "_why_not"):
            self.__dict__.pop(name, None)
        if gradients is not None:
            self._observe_gradients(given, gradients, scale, covariance, gradient_noise)
        if self.subset is not None:
            self.subset_indices_ = subset_rows(len(Y), self.subset, rng)
        self._start_fourier(covariance)
        self._name_a_quicker_way(covariance)
        if self.optimizer is not None and len(covariance.theta):
            covariance = covariance.at(self._learn(covariance, rng))
            warn_at_bounds(covariance)
        self.kernel_ = covariance.kernel
        self._set_posterior(self._condition(covariance))
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
        if isinstance(self._posterior, FourierPosterior):
            raise AttributeError(f"There is no L_ with plan {self.plan_.name!r}: no matrix of all rows was factorised.")
        lower = self._posterior.factor().buffer.tril()
        return as_given(lower, isinstance(self.alpha_, Tensor))

    @cached_property
    def alpha_(self) -> Any:
        """``(K + noise)^-1 y_train_``, where it was not needed before."""
        check_is_fitted(self)
        weights = self._posterior.solve(self._observations())
        is_vector = len(np.shape(self.y_train_)) == 1
        return as_given(weights.squeeze(-1) if is_vector else weights, isinstance(self.X_train_, Tensor))

    @property
    def plan_(self) -> GaussianProcessPlan:
        """How the model is computed, why, and with what error."""
        check_is_fitted(self)
        plan = self._posterior.plan
        why_not = getattr(self, "_why_not", None)
        if why_not is None or plan.error:
            return plan
        return replace(plan, reason=f"{plan.reason} (no Fourier series: {why_not})")

    def _learn(self, covariance: Covariance, rng: np.random.RandomState) -> Array:
        likelihood = self._likelihood()
        seen: list[float] = []
        refused: list[NoFourierSeries] = []
        # A search within bounds takes its first step along the gradient as it is, which must not grow with the rows:
        # it would end at lengthscales that no series serves. Where few rows are exact, the steps are scikit-learn's.
        is_exact = len(likelihood.Y) <= EXACT and likelihood.fourier is None
        share = 1.0 if is_exact else 1.0 / len(likelihood.Y)

        def objective(theta: Array) -> tuple[float, Array]:
            try:
                value, gradient = likelihood(covariance, theta, with_prior=True)
            except NotConverged:
                return -np.inf, np.zeros_like(theta)  # a bad place: the search turns back
            except NoFourierSeries as error:
                refused.append(error)
                first = seen[0] if seen else 0.0  # finite, so that the line search can interpolate
                return first - 10.0 * (1.0 + abs(first)), np.zeros_like(theta)
            seen.append(share * value)
            return share * value, share * gradient

        theta, _ = maximise(
            objective,
            covariance.theta,
            covariance.bounds,
            optimizer=self.optimizer,
            n_restarts=self.n_restarts_optimizer,
            rng=rng,
        )
        if refused:
            warnings.warn(
                f"The search turned back at {len(refused)} places, the last time since {refused[-1]}. The best "
                f"hyperparameters may lie beyond: give a larger tolerance, or none.",
                ApproximationWarning,
                stacklevel=3,
            )
        return theta

    def _likelihood(self) -> MarginalLikelihood:
        points, Y, noise = self._points(), self._observations(), self._diagonal
        rows = getattr(self, "subset_indices_", None)
        if rows is not None:
            stacked = np.concatenate([rows + start for start in range(0, len(Y), len(points))])
            points, Y, noise = points[rows], Y[stacked], noise[stacked] if noise.dim() else noise
        seed = self.random_state if isinstance(self.random_state, int) else 0
        observed = matrix_with_gradients if hasattr(self, "gradients_train_") else matrix_and_noise
        return MarginalLikelihood(points, Y, noise, seed, self._fourier(points, Y), observed)

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
        if "tolerance" not in self.__dict__:  # a file of the time before there was one
            self.tolerance = None
        if not hasattr(self, "X_train_"):
            return
        covariance, points = self._covariance(), self._points()
        self._start_fourier(covariance)
        if self._uses_fourier():
            self._posterior = self._condition(covariance)
        else:
            weights = as_targets(self.alpha_, self._diagonal.device)[0]
            kind = GradientPosterior if hasattr(self, "gradients_train_") else Posterior
            self._posterior = kind(covariance, points, self._diagonal, weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _location_and_scale(Y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column; 1 for a constant one."""
    mean, scale = Y.mean(0), Y.std(0, correction=0)
    return mean, torch.where(scale > 10 * torch.finfo(torch.float64).eps * mean.abs(), scale, 1.0)
