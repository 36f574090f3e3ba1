"""Gaussian process regression with a response that is not Gaussian: counts, or numbers with outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.covariance import Array, Covariance
from mercer.learn.inputs import Given
from mercer.learn.kernel_model import KernelModel
from mercer.learn.laplace import LaplaceEvidence, Mode
from mercer.learn.learning_rows import learning_rows
from mercer.learn.likelihoods import Likelihood, likelihood
from mercer.learn.optimise import maximise, warn_at_bounds
from mercer.learn.random_states import as_random_state
from mercer.learn.response_model import ResponseModel

__all__ = ["LaplaceGaussianProcess"]


class LaplaceGaussianProcess(ResponseModel, KernelModel):
    r"""Gaussian process regression for counts or for numbers with outliers, by Laplace's approximation.

    ============================  =====================================================================
    ``likelihood``                the response
    ============================  =====================================================================
    ``"student_t"``               ``y = level + f(x) + scale * t(df)``: outliers do not pull the curve
    ``"poisson"``                 counts of mean and variance ``exp(level + f(x))``
    ``"negative_binomial"``       counts of mean ``m = exp(level + f(x))``, variance ``m + m^2 / concentration``
    ============================  =====================================================================

    The level is the median of y (Student's t, which is also scaled by the quartiles) or the logarithm of the mean
    count. Parameters of kernel and likelihood maximise the approximate marginal likelihood together. Beyond 5000 rows
    the mode is found by conjugate gradients, without storing the kernel matrix.

    Args:
        kernel: as in :class:`GaussianProcessRegressor`.
        likelihood: one of the table.
        likelihood_params: starting values: ``scale`` and ``df``, or ``concentration``. ``scale`` is in units of the
            scaled y.
        fixed_params: names of those that are kept as they are.
        optimizer, n_restarts_optimizer, copy_X_train, random_state: as in :class:`GaussianProcessRegressor`.
        max_iter_predict: Newton steps.
        subset: learn the parameters on so many rows (``subset_indices_``); None is all of them up to 5000 rows and 2000
            beyond, with a warning.

    Attributes:
        kernel_: the kernel with learnt hyperparameters.
        likelihood_params_: the learnt parameters of the likelihood, in the units of y.
        theta_: logarithms of what was learnt, of the kernel first.
        log_marginal_likelihood_value_: the approximate log marginal likelihood of the rows learnt on (of the scaled y).
        subset_indices_: those rows, where they are not all.
        X_train_, y_train_: the data.

    Source: Rasmussen & Williams (2006), section 3.4; Hartmann & Vanhatalo (2019) for Student's t.

    >>> rng = np.random.default_rng(0)
    >>> X = np.linspace(0.0, 6.0, 80)[:, None]
    >>> model = LaplaceGaussianProcess("RBF()", likelihood="poisson").fit(X, rng.poisson(np.exp(1 + np.sin(X[:, 0]))))
    >>> mean, lower, upper = model.predict([[1.5]], interval=0.9)
    >>> bool(lower[0] <= np.exp(2) <= upper[0])
    True
    """

    _allowed = ("student_t", "poisson", "negative_binomial")
    _not_saved = ("_mode",)

    def __init__(
        self,
        kernel: Any = None,
        *,
        likelihood: str = "student_t",
        likelihood_params: Mapping[str, float] | None = None,
        fixed_params: Sequence[str] = (),
        optimizer: Any = "fmin_l_bfgs_b",
        n_restarts_optimizer: int = 0,
        max_iter_predict: int = 100,
        copy_X_train: bool = True,
        random_state: Any = None,
        subset: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.likelihood = likelihood
        self.likelihood_params = likelihood_params
        self.fixed_params = fixed_params
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.max_iter_predict = max_iter_predict
        self.copy_X_train = copy_X_train
        self.random_state = random_state
        self.subset = subset

    def fit(self, X: Any, y: Any) -> Self:
        """Learn the parameters and condition on all rows.

        Args:
            X: ``(n, d)``; objects of another kind where the (scikit-learn) kernel takes them.
            y: ``(n,)``; whole numbers >= 0 where the likelihood is of counts.

        Raises:
            ValueError: y that cannot be of this likelihood, unknown names, NaN or infinity.
            numpy.linalg.LinAlgError: the kernel matrix is not positive semi-definite.
        """
        start = likelihood(self.likelihood, self.likelihood_params, allowed=self._allowed)
        unknown = sorted(set(self.fixed_params) - set(start.names))
        if unknown:
            raise ValueError(
                f"fixed_params: {self.likelihood!r} has no parameter {unknown[0]!r}; it has {start.names}."
            )
        rng = as_random_state(self.random_state)
        given, y = self._check_training(X, y)
        targets = self._first_targets(start, y, given.device)
        covariance = self._starting_covariance()
        learnt = self._learnt(start)
        is_learning = self.optimizer is not None and len(covariance.theta) + len(learnt) > 0
        self.X_train_ = given.keep(copy=self.copy_X_train)
        self.y_train_ = given.coefficients(targets)
        self.__dict__.pop("subset_indices_", None)
        chosen = learning_rows(len(targets), self.subset, rng, is_learning=is_learning)
        if chosen is not None:
            self.subset_indices_ = chosen
        found = start
        if is_learning:
            covariance, found = self._learn(covariance, start, learnt, rng)
        self.kernel_ = covariance.kernel
        self._log_parameters = found.log_parameters.tolist()
        evidence = self._make_evidence()
        self._mode = evidence.mode(covariance, found)
        self._mode_parts = [self._mode.f, self._mode.weights, self._mode.curvature]
        self._likelihood_value: float | None = None
        return self

    def log_marginal_likelihood(self, theta: Any = None, eval_gradient: bool = False) -> float | tuple[float, Array]:
        """The approximate log marginal likelihood, without priors, of the rows learnt on (of the scaled y).

        Args:
            theta: in the order of ``theta_``; None is ``theta_``.
            eval_gradient: also give the gradient, ``(p,)``.
        """
        check_is_fitted(self)
        if theta is None and not eval_gradient:
            return self.log_marginal_likelihood_value_
        theta = self.theta_ if theta is None else np.asarray(theta, dtype=np.float64)
        value, gradient = self._make_evidence(of_learning=True)(self._covariance(), theta)
        return (np.float64(value), gradient) if eval_gradient else np.float64(value)

    @property
    def log_marginal_likelihood_value_(self) -> float:
        """The log marginal likelihood at ``theta_``; computed when it is first asked for."""
        check_is_fitted(self)
        if self._likelihood_value is None:
            evidence, covariance = self._make_evidence(of_learning=True), self._covariance()
            at = self._likelihood()
            self._likelihood_value = evidence.value(covariance, at, evidence.mode(covariance, at))
        return np.float64(self._likelihood_value)

    @property
    def theta_(self) -> Array:
        """Logarithms of what is learnt: of the kernel, then of the likelihood."""
        check_is_fitted(self)
        at = self._likelihood()
        return np.concatenate([self._covariance().theta, at.log_parameters.numpy()[list(self._learnt(at))]])

    def _learn(
        self, covariance: Covariance, start: Likelihood, learnt: tuple[int, ...], rng: np.random.RandomState
    ) -> tuple[Covariance, Likelihood]:
        evidence = self._make_evidence(of_learning=True)
        bounds = np.log(np.array(start.bounds).reshape(-1, 2))[list(learnt)]
        own = start.log_parameters.numpy()[list(learnt)]

        def objective(theta: Array) -> tuple[float, Array]:
            return evidence(covariance, theta, with_prior=True)

        theta, _ = maximise(
            objective,
            np.concatenate([covariance.theta, np.clip(own, bounds[:, 0], bounds[:, 1])]),
            np.concatenate([covariance.bounds.reshape(-1, 2), bounds]),
            optimizer=self.optimizer,
            n_restarts=self.n_restarts_optimizer,
            rng=rng,
        )
        of_kernel, found = evidence.split(theta)
        if len(of_kernel):
            covariance = covariance.at(of_kernel)
            warn_at_bounds(covariance)
        return covariance, found

    def _learnt(self, at: Likelihood) -> tuple[int, ...]:
        return tuple(i for i, name in enumerate(at.names) if name not in self.fixed_params)

    def _make_evidence(self, *, of_learning: bool = False) -> LaplaceEvidence:
        """The approximate marginal likelihood of all rows or of those learnt on."""
        points, at = self._points(), self._likelihood()
        y, offset = self._response_scale().targets(as_tensor(self.y_train_, dtype=torch.float64))
        rows = getattr(self, "subset_indices_", None)
        if of_learning and rows is not None:
            points, y = points[rows], y[rows]
        return LaplaceEvidence(
            points, y, at, self._learnt(at), max_iter=self.max_iter_predict, warm_start=True, offset=offset
        )

    def _latent(self, X: Any) -> tuple[Given, Tensor, Tensor]:
        given = self._check_points(X)
        points = given.points.to(self._mode.f.device) if isinstance(given.points, Tensor) else given.points
        posterior = self._mode.posterior(self._covariance(), self._points())
        return given, posterior.mean(points)[:, 0], posterior.variance(points, with_noise=True)

    def _restore(self) -> None:
        if hasattr(self, "X_train_"):
            f, weights, curvature = (as_tensor(part) for part in self._mode_parts)
            self._mode = Mode(f, weights, curvature, 0.0, 0)
