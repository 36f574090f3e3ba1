"""What sparse Gaussian processes share: arguments, fitting by bound or minibatch, moments of the latent functions."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.arguments import check_whole
from mercer.arrays import as_tensor
from mercer.learn.covariance import MercerCovariance
from mercer.learn.inducing import choose_inducing
from mercer.learn.inputs import as_given
from mercer.learn.kernel_model import KernelModel
from mercer.learn.minibatch_model import MinibatchModel
from mercer.learn.optimise import warn_at_bounds
from mercer.learn.sparse_training import SparseState
from mercer.learn.variational import Variational

__all__ = ["SparseModel"]


class SparseModel(MinibatchModel, KernelModel):
    """Base of the sparse Gaussian processes; a subclass's ``__init__`` stores the arguments read here."""

    _not_saved = ("_adam",)

    n_inducing: int
    inducing: Any
    learn_inducing: bool
    optimizer: Any
    kernel_: Any
    inducing_points_: Any
    n_samples_: int
    bounds_: list[float]
    bound_: float
    n_iter_: int

    def _sparse_covariance(self) -> MercerCovariance:
        return self._noiseless_covariance(
            "inducing points cannot carry it. The noise of y is a parameter of the likelihood."
        )

    def _check_training_options(self) -> None:
        if self.optimizer not in ("auto", None):
            raise ValueError(f"optimizer must be 'auto' or None, not {self.optimizer!r}.")
        self._check_minibatches()

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

    def _fit_minibatches(self, state: SparseState, X: Tensor, y: Tensor, rng: np.random.RandomState) -> None:
        """Passes over all rows until the bound no longer grows."""
        self.n_samples_ = len(y)
        self.bounds_ = self._train(state, X, y, rng, n=len(y), max_epochs=self.max_epochs)
        self.bound_, self.n_iter_ = self.bounds_[-1], len(self.bounds_)

    def _go_on(
        self, state: SparseState, X: Tensor, y: Tensor, rng: np.random.RandomState, n_samples: int | None
    ) -> None:
        """One pass over further rows, which stand for ``n_samples``."""
        check_whole("n_samples", n_samples, or_none=True)
        self.n_samples_ = max(self.n_samples_, len(y)) if n_samples is None else int(n_samples)
        self.bounds_ = [*self.bounds_, *self._train(state, X, y, rng, n=self.n_samples_, max_epochs=1)]
        self.bound_, self.n_iter_ = self.bounds_[-1], len(self.bounds_)

    def _keep(self, state: SparseState) -> None:
        """Fitted attributes from a state."""
        self._adam = copy.deepcopy(state.adam.state_dict()) if state.adam is not None else None
        covariance = (
            state.covariance.at(state.log_values.detach().numpy()) if len(state.log_values) else state.covariance
        )
        self.kernel_ = covariance.kernel
        self._log_parameters = state.log_parameters.detach().tolist()
        self.inducing_points_ = as_given(state.Z.detach().clone(), self._is_torch)
        self._q = state.q.parts()
        if self.optimizer is not None:
            warn_at_bounds(covariance)

    def _state(self) -> SparseState:
        """The fitted state, to go on from; the optimiser's memory is kept within one process."""
        covariance = self._mercer_covariance()
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
