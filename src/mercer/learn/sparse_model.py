"""What sparse Gaussian processes share: arguments, fitting by bound or minibatch, moments of the latent functions."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.covariance import MercerCovariance, split_noise
from mercer.learn.inducing import choose_inducing
from mercer.learn.kernel_model import KernelModel
from mercer.learn.optimise import warn_at_bounds
from mercer.learn.sparse_training import SparseState, train
from mercer.learn.variational import Expected, Variational, whiten

__all__ = ["SparseModel"]

_BATCH = 1024
_ROWS = 8192  # predicted together


class SparseModel(KernelModel):
    """Base of the sparse Gaussian processes; a subclass's ``__init__`` stores the arguments read here."""

    _not_saved = ("_adam",)

    n_inducing: int
    inducing: Any
    learn_inducing: bool
    optimizer: Any
    batch_size: int | None
    max_epochs: int
    learning_rate: float
    natural_rate: float | None
    tol: float
    n_iter_no_change: int
    random_state: Any
    kernel_: Any
    inducing_points_: Any

    def _expected(self, y: Tensor, log_parameters: Tensor) -> Expected:
        """The expected log density of targets, a function of moments ``(b, c)``."""
        raise NotImplementedError

    def _is_conjugate(self) -> bool:
        return False

    def _default_kernel(self) -> Any:
        return ConstantKernel() * RBF()

    def _sparse_covariance(self) -> MercerCovariance:
        covariance = self._starting_covariance()
        if not isinstance(covariance, MercerCovariance):
            raise TypeError(
                f"A sparse Gaussian process moves its inducing points, for which {covariance.kernel!r} has no "
                f"gradient. Give a kernel of mercer, or one of scikit-learn's that has a twin there."
            )
        if split_noise(covariance.own)[0] is not covariance.own:
            raise ValueError(
                f"{covariance.kernel!r} has noise (White), which inducing points cannot carry: leave it out. The noise "
                f"of y is a parameter of the likelihood."
            )
        return covariance

    def _rng(self) -> np.random.RandomState:
        made: np.random.RandomState = check_random_state(self.random_state)
        return made

    def _check_training_options(self) -> None:
        if self.optimizer not in ("auto", None):
            raise ValueError(f"optimizer must be 'auto' or None, not {self.optimizer!r}.")
        for name in ("batch_size", "max_epochs", "n_iter_no_change"):
            value = getattr(self, name)
            if value is not None and (value < 1 or value != int(value)):
                raise ValueError(f"{name} must be a whole number >= 1, not {value!r}.")
        if self.natural_rate is not None and not 0.0 < self.natural_rate <= 1.0:
            raise ValueError(f"natural_rate must be above 0 and at most 1, not {self.natural_rate!r}.")

    def _start(self, X: Tensor, covariance: MercerCovariance, n_latent: int, rng: np.random.RandomState) -> SparseState:
        """Before the first step."""
        points = X.to(torch.float64)
        Z = choose_inducing(covariance.own, points, self.n_inducing, self.inducing, rng)
        q = Variational.prior(len(Z), n_latent, points)
        log_parameters = torch.tensor(self._log_parameters, dtype=torch.float64)
        return self._with_adam(
            SparseState(covariance, torch.from_numpy(covariance.theta.copy()), log_parameters, Z, q, self._expected)
        )

    def _with_adam(self, state: SparseState) -> SparseState:
        if self.optimizer is None:
            return state
        learnt = [t for t in (state.log_values, state.log_parameters) if t.numel()]
        learnt += [state.Z] if self.learn_inducing else []
        for t in learnt:
            t.requires_grad_(True)
        if learnt:
            state.adam = torch.optim.Adam(learnt, lr=self.learning_rate)
        bounds = torch.as_tensor(state.covariance.bounds, dtype=torch.float64).reshape(-1, 2)
        state.bounds = (bounds[:, 0], bounds[:, 1])
        return state

    def _train(
        self, state: SparseState, X: Tensor, y: Tensor, rng: np.random.RandomState, *, n: int, max_epochs: int
    ) -> list[float]:
        size = min(len(y), _BATCH if self.batch_size is None else int(self.batch_size))
        # A step of 1 on all rows is the optimum where the likelihood is Gaussian, and may go too far elsewhere.
        rate = self.natural_rate or (0.1 if size < n else 1.0 if self._is_conjugate() else 0.5)
        found = train(
            state,
            X,
            y,
            n=n,
            batch_size=size,
            max_epochs=max_epochs,
            rate=rate,
            tol=self.tol,
            patience=self.n_iter_no_change,
            rng=rng,
        )
        self._keep(state)
        return found

    def _keep(self, state: SparseState) -> None:
        """Fitted attributes from a state."""
        self._adam = copy.deepcopy(state.adam.state_dict()) if state.adam is not None else None
        covariance = (
            state.covariance.at(state.log_values.detach().numpy()) if len(state.log_values) else state.covariance
        )
        self.kernel_ = covariance.kernel
        self._log_parameters = state.log_parameters.detach().tolist()
        Z = state.Z.detach().clone()
        self.inducing_points_ = Z if self._is_torch else Z.cpu().numpy()
        self._q = state.q.parts()
        if self.optimizer is not None:
            warn_at_bounds(covariance)

    def _state(self) -> SparseState:
        """The fitted state, to go on from; the optimiser's memory is kept within one process."""
        covariance = self._fitted_covariance()
        state = self._with_adam(
            SparseState(
                covariance,
                torch.from_numpy(covariance.theta.copy()),
                torch.tensor(self._log_parameters, dtype=torch.float64),
                as_tensor(self.inducing_points_).clone(),
                Variational(*self._q),
                self._expected,
            )
        )
        if state.adam is not None and getattr(self, "_adam", None) is not None:
            state.adam.load_state_dict(dict(self._adam or {}))
        return state

    def _fitted_covariance(self) -> MercerCovariance:
        covariance = self._covariance_of(self.kernel_)
        assert isinstance(covariance, MercerCovariance)
        return covariance

    @torch.no_grad()
    def _moments(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Means and variances of the latent functions, ``(m, c)``."""
        check_is_fitted(self)
        q, kernel, Z = Variational(*self._q), self._fitted_covariance().own, as_tensor(self.inducing_points_)
        points = points.to(Z.device, torch.float64)
        found = [q.moments(*whiten(kernel, Z, points[i : i + _ROWS])) for i in range(0, len(points), _ROWS)]
        return torch.cat([mean for mean, _ in found]), torch.cat([variance for _, variance in found])
