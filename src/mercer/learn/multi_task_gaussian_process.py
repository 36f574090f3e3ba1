"""Gaussian process regression of several related targets."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from scipy.stats import norm
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.gaussian_process.kernels import RBF
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.config import require_memory
from mercer.learn.covariance import Array, MercerCovariance, with_log_prior
from mercer.learn.inputs import Given, as_given, check_data
from mercer.learn.intervals import around, check_level
from mercer.learn.kernel_model import KernelModel
from mercer.learn.multi_task import CompleteTasks, GappyTasks, TaskParameters
from mercer.learn.optimise import maximise, warn_at_bounds
from mercer.learn.random_states import as_random_state

__all__ = ["MultiTaskGaussianProcess"]

_CHUNK = 1024  # new points handled together
_FACTOR_BOUND = 1e2
_LOG_BOUNDS = (float(np.log(1e-6)), float(np.log(1e2)))


class MultiTaskGaussianProcess(MultiOutputMixin, RegressorMixin, KernelModel):
    r"""Gaussian process regression of several related targets: what is known of one tells of the others.

    .. math:: \operatorname{cov}(f_i(x), f_j(x')) = B_{ij}\, k(x, x'), \quad B = W W^\top + \operatorname{diag}(\kappa),
        \quad y_i = f_i + \text{noise}_i

    Where every target is known in every row, both matrices are taken apart by their eigenvalues: ``n^3 + t^3`` instead
    of ``(n t)^3``. Unknown values are NaN in y; then the matrix of the known ones is factorised.

    Args:
        kernel: k: a mercer kernel or its text, or a kernel of scikit-learn with a twin here; without ``White``. Its
            scale may be left out, since B has one. None is ``RBF()``.
        rank: columns of W: how many patterns the targets share.
        task_factor, task_variance, noise: starting values of W ``(t, rank)``, kappa ``(t,)`` and the noise variances
            ``(t,)``, in units of the normalised y; None takes them from y.
        normalize_y: whether each target is centred and scaled to variance 1 for the model.
        optimizer: "fmin_l_bfgs_b", a function as in scikit-learn, or None: keep everything.
        n_restarts_optimizer: further starts, drawn within the bounds.
        copy_X_train, random_state: as in :class:`GaussianProcessRegressor`.

    Attributes:
        kernel_: the kernel with learnt hyperparameters.
        task_covariance_: B in units of y, ``(t, t)``.
        noise_: variances in units of y squared, ``(t,)``.
        theta_: logarithms of the kernel's hyperparameters, then W, then logarithms of kappa and of the noise.
        log_marginal_likelihood_value_: at ``theta_``, of the normalised y.

    Source: Bonilla, Chai & Williams, Multi-task Gaussian process prediction (2008).

    >>> X = np.linspace(0.0, 6.0, 30)[:, None]
    >>> Y = np.column_stack([np.sin(X[:, 0]), 2.0 * np.sin(X[:, 0]) + 1.0])
    >>> Y[15:, 1] = np.nan  # the second target is unknown in half of the rows
    >>> mean = MultiTaskGaussianProcess("RBF()").fit(X, Y).predict([[4.5]])
    >>> bool(abs(mean[0, 1] - (2.0 * np.sin(4.5) + 1.0)) < 0.1)
    True
    """

    _not_saved = ("_solved",)

    def __init__(
        self,
        kernel: Any = None,
        *,
        rank: int = 1,
        task_factor: Any = None,
        task_variance: Any = None,
        noise: Any = None,
        normalize_y: bool = True,
        optimizer: Any = "fmin_l_bfgs_b",
        n_restarts_optimizer: int = 0,
        copy_X_train: bool = True,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.rank = rank
        self.task_factor = task_factor
        self.task_variance = task_variance
        self.noise = noise
        self.normalize_y = normalize_y
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.copy_X_train = copy_X_train
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Learn kernel, task covariance and noise, and condition on all known values.

        Args:
            X: ``(n, d)``.
            y: ``(n, t)`` or ``(n,)``; NaN where it is unknown.

        Raises:
            ValueError: a target without any known value, a kernel with noise, a rank that does not fit, infinity.
            TypeError: a kernel that only scikit-learn can evaluate.
        """
        if y is None:
            check_data(self, X, None, reset=True)  # raises
        given: Given = check_data(self, X, reset=True)
        values = check_array(
            y.detach().cpu().numpy() if isinstance(y, Tensor) else y,
            dtype=np.float64,
            ensure_2d=False,
            ensure_all_finite="allow-nan",
            input_name="y",
        )
        check_consistent_length(given.points, values)
        Y = torch.from_numpy(np.array(values.reshape(len(values), -1))).to(given.device)
        n_known = (~Y.isnan()).sum(0)
        if bool((n_known == 0).any()):
            empty = int((n_known == 0).nonzero()[0, 0])
            raise ValueError(f"Input y contains NaN only in column {empty}: leave a target without any value out.")
        t = Y.shape[1]
        if not 0 <= self.rank <= t or self.rank != int(self.rank):
            raise ValueError(f"rank must be a whole number from 0 to the {t} targets, not {self.rank!r}.")
        self._is_vector = values.ndim == 1
        mean, scale = _mean_and_scale(Y) if self.normalize_y else (torch.zeros_like(Y[0]), torch.ones_like(Y[0]))
        self._y_train_mean, self._y_train_std = given.coefficients(mean), given.coefficients(scale)
        self.X_train_ = given.keep(copy=self.copy_X_train)
        self.y_train_ = given.coefficients((Y - mean) / scale)
        covariance = self._noiseless_covariance("every target has its own noise.")
        start = self._starting_tasks((Y - mean) / scale)
        self.kernel_, self._task_vector = covariance.kernel, start.vector().tolist()
        self.__dict__.pop("_solved", None)
        if self.optimizer is not None:
            rng = as_random_state(self.random_state)
            size, m = t * int(self.rank), len(covariance.theta)
            limits = [covariance.bounds.reshape(-1, 2), np.tile([-_FACTOR_BOUND, _FACTOR_BOUND], (size, 1))]
            theta, _ = maximise(
                lambda values: self._evidence(covariance, values, with_prior=True),
                np.concatenate([covariance.theta, start.vector().numpy()]),
                np.concatenate([*limits, np.tile(_LOG_BOUNDS, (2 * t, 1))]),
                optimizer=self.optimizer,
                n_restarts=self.n_restarts_optimizer,
                rng=rng,
            )
            covariance = covariance.at(theta[:m]) if m else covariance
            self.kernel_, self._task_vector = covariance.kernel, theta[m:].tolist()
            warn_at_bounds(covariance)
        self._solution()
        return self

    def predict(self, X: Any, return_std: bool = False, *, interval: float | None = None) -> Any:
        """The mean of each target at each row, ``(m, t)``, and how sure it is.

        Args:
            X: ``(m, d)``.
            return_std: also the standard deviation of f, ``(m, t)``.
            interval: a share such as 0.9: also the limits between which a new y (with its noise) lies with that
                probability, if the model is right.

        Raises:
            RuntimeError: both.
        """
        check_is_fitted(self)
        if return_std and interval is not None:
            raise RuntimeError("At most one of return_std and interval can be requested.")
        given: Given = check_data(self, X, reset=False)
        solved, weights = self._solution()
        covariance, B = self._mercer_covariance(), solved.tasks.covariance
        points, train = given.points.to(weights.device, torch.float64), as_tensor(self.X_train_).to(torch.float64)
        location, scale = as_tensor(self._y_train_mean), as_tensor(self._y_train_std)
        mean = torch.as_tensor(covariance.cross(points, train) @ weights) @ B * scale + location
        if not return_std and interval is None:
            return given.answer(self._shaped(mean))
        level = None if interval is None else check_level(interval)
        variance = covariance.diagonal(points, with_noise=False)[:, None] * B.diagonal()
        for i in range(0, len(points), _CHUNK):
            cross = torch.as_tensor(covariance.cross(train, points[i : i + _CHUNK]).to_dense())
            variance[i : i + _CHUNK] -= solved.explained(cross)
        variance = variance.clamp(min=0.0) + (0.0 if level is None else solved.tasks.noise)
        deviation = variance.sqrt() * scale
        if level is None:
            return given.answer(self._shaped(mean)), given.answer(self._shaped(deviation))
        half = float(norm.ppf(0.5 + 0.5 * level)) * deviation
        return tuple(given.answer(self._shaped(limit)) for limit in around(mean, half))

    def log_marginal_likelihood(self, theta: Any = None, eval_gradient: bool = False) -> float | tuple[float, Array]:
        """The log marginal likelihood of the known values (normalised), without priors.

        Args:
            theta: in the order of ``theta_``; None is ``theta_``.
            eval_gradient: also give the gradient, ``(p,)``.
        """
        check_is_fitted(self)
        theta = self.theta_ if theta is None else np.asarray(theta, dtype=np.float64)
        value, gradient = self._evidence(self._mercer_covariance(), theta)
        return (np.float64(value), gradient) if eval_gradient else np.float64(value)

    @property
    def log_marginal_likelihood_value_(self) -> float:
        """The log marginal likelihood at ``theta_``."""
        value = self.log_marginal_likelihood()
        assert isinstance(value, float)
        return value

    @property
    def theta_(self) -> Array:
        """All that is learnt."""
        check_is_fitted(self)
        return np.concatenate([self._mercer_covariance().theta, self._task_vector])

    @property
    def task_covariance_(self) -> Any:
        """B in units of y."""
        check_is_fitted(self)
        scale = as_tensor(self._y_train_std).cpu()
        return as_given(scale[:, None] * self._tasks().covariance * scale, isinstance(self.X_train_, Tensor))

    @property
    def noise_(self) -> Any:
        """Noise variances in units of y squared."""
        check_is_fitted(self)
        found = self._tasks().noise * as_tensor(self._y_train_std).cpu().square()
        return as_given(found, isinstance(self.X_train_, Tensor))

    def _evidence(self, covariance: MercerCovariance, theta: Array, *, with_prior: bool = False) -> tuple[float, Array]:
        values = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        m = len(covariance.theta)
        kernel = covariance.with_tensor(values[:m]) if m else covariance.own
        Y = as_tensor(self.y_train_)
        tasks = TaskParameters.from_vector(values[m:].to(Y.device), Y.shape[1], int(self.rank))
        total = _tasks_of(self._gram(kernel), Y, tasks).log_likelihood()
        total = with_log_prior(total, kernel) if with_prior else total
        (gradient,) = torch.autograd.grad(total, values)
        return float(total.detach()), gradient.numpy()

    def _gram(self, kernel: Any) -> Tensor:
        points = as_tensor(self.X_train_).to(torch.float64)
        require_memory(
            40 * len(points) ** 2,
            asked=f"The eigenvalues of a kernel matrix of {len(points)} rows",
            instead="Give fewer rows, or one model for each target (GaussianProcessRegressor).",
        )
        return torch.as_tensor(kernel(points).to_dense())

    @torch.no_grad()
    def _solution(self) -> tuple[CompleteTasks | GappyTasks, Tensor]:
        if not hasattr(self, "_solved"):
            Y = as_tensor(self.y_train_)
            made = _tasks_of(self._gram(self._mercer_covariance().own), Y, self._tasks(Y.device))
            self._solved = made, made.weights()
        return self._solved

    def _tasks(self, device: Any = "cpu") -> TaskParameters:
        vector = torch.tensor(self._task_vector, dtype=torch.float64, device=device)
        return TaskParameters.from_vector(vector, self.y_train_.shape[1], int(self.rank))

    def _starting_tasks(self, Y: Tensor) -> TaskParameters:
        """From the arguments, else from the correlations of what is known together."""
        t, rank = Y.shape[1], int(self.rank)
        known = Y.nan_to_num()
        both = (~Y.isnan()).to(torch.float64)
        shared = (known.mT @ known) / (both.mT @ both).clamp(min=1.0)
        found = torch.linalg.eigh(shared.cpu())
        order = found.eigenvalues.argsort(descending=True)[:rank]
        factor = found.eigenvectors[:, order] * found.eigenvalues[order].clamp(min=1e-2).sqrt()
        tenth = torch.full((t,), 0.1, dtype=torch.float64)
        defaults = {"task_factor": factor, "task_variance": tenth, "noise": tenth}
        values = []
        for name, default in defaults.items():
            given = getattr(self, name)
            value = as_tensor(default if given is None else given, dtype=torch.float64).cpu()
            value = value.expand(t).clone() if value.dim() == 0 else value
            if value.shape != default.shape:
                raise ValueError(f"{name} must have shape {tuple(default.shape)}, not {tuple(value.shape)}.")
            if name != "task_factor" and not bool((value > 0).all()):
                raise ValueError(f"{name} must be positive: it holds variances.")
            values.append(value)
        return TaskParameters(values[0], values[1].log(), values[2].log())

    def _shaped(self, values: Tensor) -> Tensor:
        return values.squeeze(1) if self._is_vector else values

    def _default_kernel(self) -> Any:
        return RBF()


def _tasks_of(K: Tensor, Y: Tensor, tasks: TaskParameters) -> CompleteTasks | GappyTasks:
    return GappyTasks(K, Y, tasks) if bool(Y.isnan().any()) else CompleteTasks(K, Y, tasks)


def _mean_and_scale(Y: Tensor) -> tuple[Tensor, Tensor]:
    """Of the known values of each target; 1 for a constant one."""
    mean = Y.nanmean(0)
    scale = (Y - mean).square().nanmean(0).sqrt()
    return mean, torch.where(scale > 10 * torch.finfo(torch.float64).eps * mean.abs(), scale, 1.0)
