"""What models with inducing points share: arguments of their training in minibatches, and predictions in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arguments import check_not_negative, check_whole
from mercer.learn.random_states import as_random_state
from mercer.learn.sparse_training import InducingState, train
from mercer.learn.variational import Expected

__all__ = ["MinibatchModel"]

_BATCH = 1024
_ROWS = 8192


class MinibatchModel:
    """Mixin of estimators that :func:`train` trains; a subclass's ``__init__`` stores the arguments read here."""

    _description = "sparse GP"  # of the progress line

    batch_size: int | None
    max_epochs: int
    learning_rate: float
    natural_rate: float | None
    tol: float
    n_iter_no_change: int
    random_state: Any

    def _expected(self, y: Tensor, log_parameters: Tensor) -> Expected:
        """The expected log density of targets, a function of moments ``(b, c)``."""
        raise NotImplementedError

    def _is_conjugate(self) -> bool:
        return False

    def _keep(self, state: Any) -> None:
        """Set fitted attributes from a state."""
        raise NotImplementedError

    def _state(self) -> InducingState:
        """The fitted state."""
        raise NotImplementedError

    def _rng(self) -> np.random.RandomState:
        return as_random_state(self.random_state)

    def _check_minibatches(self) -> None:
        check_whole("batch_size", self.batch_size, or_none=True)
        check_whole("max_epochs", self.max_epochs)
        check_whole("n_iter_no_change", self.n_iter_no_change)
        check_not_negative("tol", self.tol)
        if self.natural_rate is not None and not 0.0 < self.natural_rate <= 1.0:
            raise ValueError(f"natural_rate must be above 0 and at most 1, not {self.natural_rate!r}.")

    def _batch(self, n: int) -> int:
        """Rows of a minibatch, of n in all."""
        return min(n, _BATCH if self.batch_size is None else int(self.batch_size))

    def _train(
        self, state: InducingState, X: Tensor, y: Tensor, rng: np.random.RandomState, *, n: int, max_epochs: int
    ) -> list[float]:
        """Bounds of the epochs."""
        size = self._batch(len(y))
        # A step of 1 on all rows is the optimum where the likelihood is Gaussian, and may go too far elsewhere.
        rate = self.natural_rate or (0.1 if size < n else 1.0 if self._is_conjugate() else 0.5)
        found = train(
            state,
            X,
            y,
            n=n,
            batch_size=size,
            max_epochs=int(max_epochs),
            rate=rate,
            tol=self.tol,
            patience=self.n_iter_no_change,
            rng=rng,
            description=self._description,
        )
        self._keep(state)
        return found

    def _rows_at_once(self) -> int:
        """Predicted together."""
        return _ROWS

    @torch.no_grad()
    def _moments(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Means and variances of the latent functions, ``(m, c)``."""
        check_is_fitted(self)
        state = self._state()
        points = points.to(state.q.first.device, torch.float64)
        rows = self._rows_at_once()
        found = [state.q.moments(*state.whitened(points[i : i + rows])) for i in range(0, len(points), rows)]
        return torch.cat([mean for mean, _ in found]), torch.cat([variance for _, variance in found])
