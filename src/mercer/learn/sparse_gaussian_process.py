"""Sparse Gaussian process regression: any number of rows, and responses of several kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.collapsed_bound import CollapsedBound
from mercer.learn.covariance import MercerCovariance
from mercer.learn.inducing import choose_inducing
from mercer.learn.inputs import Given
from mercer.learn.likelihoods import Likelihood, likelihood
from mercer.learn.optimise import maximise
from mercer.learn.response import Response, Scale
from mercer.learn.sparse_model import SparseModel
from mercer.learn.sparse_training import SparseState
from mercer.learn.variational import Expected

__all__ = ["SparseGaussianProcessRegressor"]

_ALLOWED = ("gaussian", "student_t", "poisson", "negative_binomial")
_WIDE = 1e6  # bounds of inducing coordinates, in which none is meant


class SparseGaussianProcessRegressor(RegressorMixin, SparseModel):
    r"""Gaussian process regression through ``n_inducing`` points, for many rows, with a response of several kinds.

    The posterior at the inducing points is a Gaussian that maximises a lower bound of the log marginal likelihood. With
    ``likelihood="gaussian"`` and no ``batch_size`` the best one is known in closed form, and L-BFGS moves
    hyperparameters, noise and inducing points (Titsias). Otherwise rows come in minibatches: natural gradients for that
    Gaussian, Adam for the rest. Memory does not grow with the rows beyond the data.

    Args:
        kernel: a mercer kernel or its text, or a kernel of scikit-learn with a twin here; without ``White``. None is
            ``ConstantKernel() * RBF()``.
        likelihood: "gaussian", "student_t", "poisson" or "negative_binomial"; see :class:`LaplaceGaussianProcess`.
        likelihood_params: starting values: ``noise`` (a variance), ``scale`` and ``df``, or ``concentration``; noise
            and scale are of the scaled y.
        n_inducing: how many; with as many as rows the model is exact.
        inducing: where they start: "kmeans++", "pivoted_cholesky", or the points ``(M, d)``.
        learn_inducing: whether they move.
        optimizer: "auto" (L-BFGS for the closed form, Adam in minibatches), or None: keep hyperparameters and inducing
            points.
        batch_size: rows of a minibatch; None is the closed form where there is one, else 1024.
        max_epochs: passes over the rows.
        learning_rate: of Adam.
        natural_rate: of the natural gradients, up to 1; None is 0.1 in minibatches; with all rows 1 where the
            likelihood is Gaussian, else 0.5.
        tol, n_iter_no_change: stop when the bound of an epoch has not grown by ``tol`` a row for so many epochs.
        random_state: of the inducing points and the order of rows.

    Attributes:
        kernel_: the kernel with learnt hyperparameters.
        likelihood_params_: the learnt parameters of the likelihood, in the units of y.
        inducing_points_: ``(M, d)``, float64.
        bound_: the lower bound of the log marginal likelihood (of the scaled y) that was reached; in minibatches the
            mean estimate of the last epoch.
        bounds_: of every epoch, in minibatches.
        n_iter_: epochs.
        n_samples_: rows that the bound is of.

    Cost: ``n M^2`` multiply-adds an epoch.
    Source: Titsias (2009); Hensman, Fusi & Lawrence, Gaussian processes for big data (2013).

    >>> X = np.linspace(0.0, 6.0, 200)[:, None]
    >>> model = SparseGaussianProcessRegressor("RBF()", n_inducing=15, random_state=0).fit(X, np.sin(X[:, 0]))
    >>> bool(abs(model.predict([[1.5]])[0] - np.sin(1.5)) < 1e-2)
    True
    """

    def __init__(
        self,
        kernel: Any = None,
        *,
        likelihood: str = "gaussian",
        likelihood_params: Mapping[str, float] | None = None,
        n_inducing: int = 100,
        inducing: Any = "kmeans++",
        learn_inducing: bool = True,
        optimizer: str | None = "auto",
        batch_size: int | None = None,
        max_epochs: int = 200,
        learning_rate: float = 0.02,
        natural_rate: float | None = None,
        tol: float = 1e-4,
        n_iter_no_change: int = 5,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.likelihood = likelihood
        self.likelihood_params = likelihood_params
        self.n_inducing = n_inducing
        self.inducing = inducing
        self.learn_inducing = learn_inducing
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.natural_rate = natural_rate
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from all rows.

        Args:
            X: ``(n, d)``.
            y: ``(n,)``; whole numbers >= 0 where the likelihood is of counts.

        Raises:
            ValueError: y that cannot be of this likelihood, unknown names, a kernel with noise, NaN or infinity.
            TypeError: a kernel that only scikit-learn can evaluate.
        """
        given, targets = self._begin(X, y)
        rng, covariance = self._rng(), self._sparse_covariance()
        values = self._scaled(targets)
        self.n_samples_ = len(values)
        if self.likelihood == "gaussian" and self.batch_size is None:
            self._fit_collapsed(given.points.to(torch.float64), values, covariance, rng)
            return self
        state = self._start(given.points, covariance, 1, rng)
        self.bounds_ = self._train(state, given.points, values, rng, n=len(values), max_epochs=self.max_epochs)
        self.bound_, self.n_iter_ = self.bounds_[-1], len(self.bounds_)
        return self

    def partial_fit(self, X: Any, y: Any, *, n_samples: int | None = None) -> Self:
        """Go on learning from more rows: one pass over them in minibatches.

        The first call (without ``fit``) takes level, scale and inducing points from its rows.

        Args:
            X: ``(n, d)``.
            y: ``(n,)``.
            n_samples: how many rows there are in all, which these stand for; None is the most that one call has had.
        """
        if not hasattr(self, "_q"):
            given, targets = self._begin(X, y)
            rng, covariance = self._rng(), self._sparse_covariance()
            state, self.n_samples_, self.bounds_ = self._start(given.points, covariance, 1, rng), 0, []
        else:
            given, y = self._check_again(X, y)
            targets = as_tensor(y, dtype=torch.float64, device=given.device)
            self._likelihood().check(targets)
            state, rng = self._state(), self._rng()
        self.n_samples_ = n_samples or max(self.n_samples_, len(targets))
        self.bounds_ = [
            *self.bounds_,
            *self._train(state, given.points, self._scaled(targets), rng, n=self.n_samples_, max_epochs=1),
        ]
        self.bound_, self.n_iter_ = self.bounds_[-1], len(self.bounds_)
        return self

    def predict(
        self,
        X: Any,
        return_std: bool = False,
        *,
        interval: float | None = None,
        quantiles: Sequence[float] | None = None,
    ) -> Any:
        """The mean of a new y at each row, and how far it may be away; as :meth:`LaplaceGaussianProcess.predict`.

        Args:
            X: ``(m, d)``.
            return_std: also the standard deviation of a new y, noise included, ``(m,)``.
            interval: a share such as 0.9: also the limits between which a new y lies with that probability.
            quantiles: shares: also the quantiles of a new y, ``(m, len(quantiles))``.
        """
        given, response = self._response(X)
        return response.answer(given, return_std=return_std, interval=interval, quantiles=quantiles)

    def log_predictive_density(self, X: Any, y: Any) -> Any:
        """``log p(y | x, training data)`` of each row, ``(m,)``."""
        given, response = self._response(X)
        return given.answer(response.log_density(as_tensor(y, dtype=torch.float64)))

    def latent_mean_and_variance(self, X: Any) -> tuple[Any, Any]:
        """Mean and variance of ``level + f``, ``(m,)`` each."""
        given, response = self._response(X)
        mean, variance = response.latent()
        return given.answer(mean), given.answer(variance)

    def lower_bound(self, X: Any, y: Any) -> float:
        """The lower bound of the log marginal likelihood of these rows, at what was learnt."""
        check_is_fitted(self)
        given, y = self._check_again(X, y)
        values = self._scaled(as_tensor(y, dtype=torch.float64, device=given.device))
        with torch.no_grad():
            return float(self._state().bound(given.points.to(torch.float64), values, len(values)))

    @property
    def likelihood_params_(self) -> dict[str, float]:
        """The parameters of the likelihood, in the units of y (``noise``: of its square)."""
        check_is_fitted(self)
        power = {"scale": 1, "noise": 2}
        return {k: v * self._scale[1] ** power.get(k, 0) for k, v in self._likelihood().parameters.items()}

    def _begin(self, X: Any, y: Any) -> tuple[Given, Tensor]:
        """Checked data and targets; sets what does not change any more."""
        self._check_training_options()
        start = likelihood(self.likelihood, self.likelihood_params, allowed=_ALLOWED)
        given, y = self._check_training(X, y, y_numeric=True)
        targets = as_tensor(y, dtype=torch.float64, device=given.device)
        start.check(targets)
        scale = Scale.of(start, targets)
        self._scale, self._is_torch = [scale.level, scale.width], isinstance(given.example, Tensor)
        self._log_parameters = start.log_parameters.tolist()
        return given, targets

    def _check_again(self, X: Any, y: Any) -> tuple[Given, Any]:
        """Further rows, which must have the columns of the first."""
        from mercer.learn.inputs import check_data

        checked: tuple[Given, Any] = check_data(self, X, y, reset=False, y_numeric=True)
        return checked

    def _fit_collapsed(self, X: Tensor, y: Tensor, covariance: MercerCovariance, rng: np.random.RandomState) -> None:
        Z = choose_inducing(covariance.own, X, self.n_inducing, self.inducing, rng)
        log_noise = torch.tensor(self._log_parameters[0], dtype=torch.float64)
        learns = self.optimizer is not None
        bound = CollapsedBound(X, y, Z, learns and self.learn_inducing, learns, log_noise)
        self.bounds_, self.n_iter_ = [], 1
        if learns:
            noise_bounds = np.log(np.array(self._likelihood().bounds))
            start = [covariance.theta, np.clip([float(log_noise)], *noise_bounds[0])]
            limits = [covariance.bounds.reshape(-1, 2), noise_bounds]
            if self.learn_inducing:
                start.append(Z.cpu().numpy().ravel())
                limits.append(np.tile([-_WIDE, _WIDE], (Z.numel(), 1)))
            theta, _ = maximise(
                lambda values: bound(covariance, values),
                np.concatenate(start),
                np.concatenate(limits),
                optimizer="fmin_l_bfgs_b",
                n_restarts=0,
                rng=rng,
            )
            of_kernel, log_noise, Z = bound.split(torch.from_numpy(theta))
            covariance = covariance.at(of_kernel.numpy()) if len(of_kernel) else covariance
        with torch.no_grad():
            self.bound_ = float(bound.value(covariance.own, log_noise, Z))
        q = bound.best(covariance.own, log_noise, Z)
        values = torch.from_numpy(covariance.theta.copy())
        self._keep(SparseState(covariance, values, log_noise.reshape(1), Z, q, self._expected))

    def _likelihood(self) -> Likelihood:
        made = likelihood(self.likelihood, None, allowed=_ALLOWED)
        return type(made)(torch.tensor(self._log_parameters, dtype=torch.float64))

    def _is_conjugate(self) -> bool:
        return self.likelihood == "gaussian"

    def _scaled(self, targets: Tensor) -> Tensor:
        return Scale(self._scale[0], self._scale[1], is_count=self._likelihood().is_count).targets(targets)[0]

    def _expected(self, y: Tensor, log_parameters: Tensor) -> Expected:
        made = type(self._likelihood())(log_parameters)
        offset = self._scale[0] if made.is_count else 0.0

        def expected(mean: Tensor, variance: Tensor) -> Tensor:
            return made.expected_log_density(y, mean[:, 0] + offset, variance[:, 0])

        return expected

    def _response(self, X: Any) -> tuple[Given, Response]:
        check_is_fitted(self)
        given, at = self._check_points(X), self._likelihood()
        mean, variance = self._moments(given.points)
        scale = Scale(self._scale[0], self._scale[1], is_count=at.is_count)
        return given, Response(at, scale, mean[:, 0], variance[:, 0])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.likelihood in ("poisson", "negative_binomial")
        return tags
