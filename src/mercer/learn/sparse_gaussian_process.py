"""Sparse Gaussian process regression: any number of rows, and responses of several kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.collapsed_bound import CollapsedBound
from mercer.learn.covariance import MercerCovariance
from mercer.learn.inducing import choose_inducing
from mercer.learn.inputs import Given
from mercer.learn.likelihoods import likelihood
from mercer.learn.optimise import maximise
from mercer.learn.sparse_model import SparseModel
from mercer.learn.sparse_response import SparseResponse
from mercer.learn.sparse_training import SparseState

__all__ = ["SparseGaussianProcessRegressor"]

_WIDE = 1e6  # bounds of inducing coordinates, in which none is meant


class SparseGaussianProcessRegressor(SparseResponse, SparseModel):
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
        if self.likelihood == "gaussian" and self.batch_size is None:
            self.n_samples_ = len(values)
            self._fit_collapsed(given.points.to(torch.float64), values, covariance, rng)
            return self
        self._fit_minibatches(self._start(given.points, covariance, 1, rng), given.points, values, rng)
        return self

    def partial_fit(self, X: Any, y: Any, *, n_samples: int | None = None) -> Self:
        """Go on learning from more rows: one pass over them in minibatches.

        The first call (without ``fit``) takes level, scale and inducing points from its rows.

        Args:
            X: ``(n, d)``.
            y: ``(n,)``.
            n_samples: how many rows there are in all, which these stand for; None is the most that one call has had.

        Raises:
            ValueError: as in :meth:`fit`, or ``n_samples`` that is no whole number >= 1.
        """
        if not hasattr(self, "_q"):
            given, targets = self._begin(X, y)
            rng, covariance = self._rng(), self._sparse_covariance()
            state, self.n_samples_, self.bounds_ = self._start(given.points, covariance, 1, rng), 0, []
        else:
            given, targets = self._further(X, y)
            state, rng = self._state(), self._rng()
        self._go_on(state, given.points, self._scaled(targets), rng, n_samples)
        return self

    def lower_bound(self, X: Any, y: Any) -> float:
        """The lower bound of the log marginal likelihood of these rows, at what was learnt."""
        check_is_fitted(self)
        given, targets = self._further(X, y)
        values = self._scaled(targets)
        with torch.no_grad():
            return float(self._state().bound(given.points.to(torch.float64), values, len(values)))

    def _begin(self, X: Any, y: Any) -> tuple[Given, Tensor]:
        """Checked data and targets; sets what does not change any more."""
        self._check_training_options()
        start = likelihood(self.likelihood, self.likelihood_params, allowed=self._allowed)
        given, y = self._check_training(X, y)
        self._is_torch = isinstance(given.example, Tensor)
        return given, self._first_targets(start, y, given.device)

    def _further(self, X: Any, y: Any) -> tuple[Given, Tensor]:
        """Further rows, checked: they have the columns of the first."""
        given, y = self._check_training(X, y, reset=False)
        targets = as_tensor(y, dtype=torch.float64, device=given.device)
        self._likelihood().check(targets)
        return given, targets

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
