"""What the estimators of trained infinite networks share: closed-form training, its time, its variance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.kernels import Kernel
from mercer.learn.inputs import Given, as_points, as_targets, check_data
from mercer.learn.ntk_network import network_kernels
from mercer.learn.ntk_plots import draw_components, draw_early_stopping
from mercer.learn.saving import Saved
from mercer.learn.trained_covariance import change_by_training
from mercer.operators import GradientFlow

__all__ = ["NTKModel"]

_CHUNK = 1024  # new points handled together: their columns of k(X, X*) are held in float64
_TIMES = 64  # among which leave-one-out chooses
_REACH = 100.0  # times before the first component and after the last that are looked at


class NTKModel(Saved, BaseEstimator):
    """Base of :class:`NTKRegressor`, which says what the arguments are, and :class:`NTKClassifier`."""

    eigenvalues_: Any
    components_: Any
    X_fit_: Any
    dual_coef_: Any

    def __init__(
        self,
        network: Any = None,
        *,
        time: Any = None,
        learning_rate: float = 1.0,
        kind: str = "ntk",
        alpha: float = 0.0,
        discrete: bool = False,
    ) -> None:
        self.network = network
        self.time = time
        self.learning_rate = learning_rate
        self.kind = kind
        self.alpha = alpha
        self.discrete = discrete

    # fitting

    def _fit(self, given: Given, Y: Tensor) -> None:
        """Everything that follows from the points and targets ``(n, t)``."""
        if self.kind not in ("ntk", "nngp"):
            raise ValueError(f"kind={self.kind!r}: it is one of ntk, nngp.")
        if not isinstance(self.discrete, bool | np.bool_):
            raise ValueError(f"discrete={self.discrete!r}: it is True or False.")
        points = given.points.to(torch.float64)
        K = self._kernels()[self.kind](points)
        flow = GradientFlow.of(K, learning_rate=self.learning_rate, alpha=self.alpha, discrete=bool(self.discrete))
        self.time_ = self._chosen_time(flow, points, Y)
        self.X_fit_ = given.keep()
        self.eigenvalues_ = given.coefficients(flow.values)
        self.components_ = given.coefficients(flow.vectors.mT.contiguous())
        self.learning_times_ = given.coefficients(flow.learning_times)
        self._targets = given.coefficients(Y)
        self.dual_coef_ = given.coefficients(flow.coefficients(Y, self.time_))

    def _chosen_time(self, flow: GradientFlow, points: Tensor, Y: Tensor) -> float:
        """A number or infinity; keeps the errors by which it was chosen."""
        for name in ("loo_times_", "loo_errors_"):
            self.__dict__.pop(name, None)  # of a fit before
        if isinstance(self.time, str):
            if self.time != "loo":
                raise ValueError(f"time={self.time!r}: it is a number >= 0, None for the end of training, or 'loo'.")
            finite = flow.learning_times[torch.isfinite(flow.learning_times)]
            if not len(finite):
                raise ValueError("time='loo': the kernel matrix is 0, so nothing is ever learnt.")
            ends = (math.log(float(finite.min()) / _REACH), math.log(float(finite.max()) * _REACH))
            finite_times = [0.0, *np.exp(np.linspace(*ends, _TIMES)).tolist()]
            if self.discrete:
                finite_times = sorted({float(round(time)) for time in finite_times})
            times = [*finite_times, *([] if flow.is_singular else [math.inf])]
            errors = flow.leave_one_out(Y, times).square().mean((1, 2))
            self.loo_times_, self.loo_errors_ = np.array(times), errors.cpu().numpy()
            return float(times[int(errors.argmin())])
        time = math.inf if self.time is None else self.time
        if time == math.inf and flow.is_singular:
            raise ValueError(
                f"The {self.kind.upper()} of the {len(points)} training rows is singular{_duplicates(points)}, so with "
                f"alpha=0 the end of training is not defined. Give alpha > 0, a finite time, or leave such rows out."
            )
        flow.filter(time)  # raises for what is no time
        return float(time)

    def _kernels(self) -> dict[str, Kernel]:
        return network_kernels(self.network, self._shape, self.kind)

    # images are rows to scikit-learn

    def _flat(self, X: Any, *, reset: bool) -> Any:
        """Images ``(n, c, h, w)`` as rows; remembers their shape."""
        images = len(getattr(X, "shape", ())) > 2
        shape = tuple(int(s) for s in X.shape[1:]) if images else None
        if reset:
            self._shape = shape
        elif shape is not None and shape != self._shape:
            raise ShapeError(f"X has rows of shape {shape}, but fit saw {self._shape or (self._width(),)}.")
        return X.reshape(len(X), -1) if images else X

    def _width(self) -> int:
        return int(getattr(self, "n_features_in_", 0))

    # predicting

    def _flow(self) -> GradientFlow:
        check_is_fitted(self, "eigenvalues_")
        vectors = as_tensor(self.components_).mT
        return GradientFlow(
            as_tensor(self.eigenvalues_), vectors, len(vectors), self.learning_rate, self.alpha, bool(self.discrete)
        )

    def _checked(self, X: Any) -> Given:
        check_is_fitted(self, "eigenvalues_")
        given: Given = check_data(self, self._flat(X, reset=False), reset=False)
        return given

    def _training_points(self) -> Tensor:
        points: Tensor = as_points(self.X_fit_)
        return points.to(torch.float64)

    def _values(self, given: Given, coefficients: Tensor) -> Tensor:
        """``k(x, X) @ c``, ``(m, t)``."""
        kernel, rows = self._kernels()[self.kind], self._training_points()
        return torch.as_tensor(kernel(given.points.to(rows), rows) @ coefficients.to(rows))

    def _covariance(self, given: Given, *, whole: bool) -> Tensor:
        r"""Of the outputs of networks drawn and trained: ``(m, m)``, or its diagonal ``(m,)``.

        With the prior S and ``A = k(x, X) V filter(t) V'``: S(x, x') + A S(X, X) A' - A S(X, x') - S(x, X) A'. At the
        end of training the prior's own kernel leaves the posterior, and alpha is the variance of its noise.
        """
        kernels, flow, rows = self._kernels(), self._flow(), self._training_points()
        points, prior = given.points.to(rows), kernels["nngp"]
        step = len(points) if whole else _CHUNK
        is_posterior = self.kind == "nngp" and self.time_ == math.inf
        parts = []
        for i in range(0, len(points), step):
            chunk = points[i : i + step]
            across = torch.as_tensor(prior(chunk, rows).to_dense())
            cross = across if self.kind == "nngp" else torch.as_tensor(kernels[self.kind](chunk, rows).to_dense())
            A = (cross @ flow.vectors * flow.filter(self.time_)) @ flow.vectors.mT
            start = prior(chunk).to_dense() if whole else prior(chunk).diagonal()
            change = change_by_training(A, across, None if is_posterior else prior(rows), whole=whole)
            parts.append(torch.as_tensor(start) + change)
        if whole:
            parts[0].diagonal().clamp_(min=0.0)
            return parts[0]
        return torch.cat(parts).clamp_(min=0.0)

    def _curve(self, X: Any, times: Sequence[float | None]) -> tuple[Given, Tensor]:
        """Values at several times, ``(times, m, t)``."""
        if isinstance(times, str) or not isinstance(times, Iterable) or not list(times):
            raise ValueError(f"predict_curve(times={times!r}): give a list of times, such as [1.0, 10.0, None].")
        given, flow = self._checked(X), self._flow()
        Y = as_targets(self._targets)[0]
        stacked = torch.stack([flow.coefficients(Y, time) for time in times], 1)
        values = self._values(given, stacked.flatten(1))
        return given, values.view(-1, len(times), Y.shape[1]).movedim(1, 0)

    # pictures

    def plot_components(self, n_components: int = 6, ax: Any = None) -> Any:
        """What is left to be learnt of the target along the first components, against time; matplotlib axes."""
        return draw_components(self._flow(), as_targets(self._targets)[0], n_components, ax)

    def plot_early_stopping(self, ax: Any = None) -> Any:
        """Training and leave-one-out error against time; with ``time="loo"``, where training stops; matplotlib axes."""
        return draw_early_stopping(self._flow(), as_targets(self._targets)[0], self.time_, ax)


def _duplicates(points: Tensor) -> str:
    """Which rows are alike, in words; empty where none are."""
    _, place, counts = torch.unique(points, dim=0, return_inverse=True, return_counts=True)
    groups = [(place == k).nonzero().squeeze(1).tolist() for k in (counts > 1).nonzero().squeeze(1)[:4]]
    if not groups:
        return " (no two rows are equal, but some are nearly so, or the activation is a polynomial)"
    named = "; ".join(", ".join(map(str, group[:6])) for group in groups)
    more = "; ..." if int((counts > 1).sum()) > len(groups) else ""
    return f": these rows (counted from 0) are equal: {named}{more}"
