"""What a solved equation can be asked: values, derivatives, error bars, frequencies, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.arguments import check_whole
from mercer.arrays import as_tensor, check_finite, like
from mercer.errors import ShapeError
from mercer.kernels import Kernel, SpectralMixture
from mercer.learn.pde.domain import Domain
from mercer.learn.pde.functionals import decoded
from mercer.learn.pde.grid_basis import AxisBasis, GridFunction
from mercer.learn.pde.joint import JITTER
from mercer.learn.pde.marginal import FunctionalPosterior, round_off
from mercer.learn.pde.method import MOST_CONDITIONED
from mercer.learn.pde.plot import plot_solution
from mercer.learn.pde.settings import Settings
from mercer.learn.saving import Saved

__all__ = ["Prediction"]

Array = np.ndarray[Any, Any]


class Prediction(Saved, Settings):
    """The part of a solver that needs no equation: what ``fit`` left is enough, also after ``load``."""

    _not_saved = ("_solution", "_posterior")
    _solution: GridFunction | None
    _posterior: FunctionalPosterior | None
    _extra: dict[str, Any] | None
    _functionals: list[dict[str, Any]] | None
    _size: int
    _bounds: tuple[tuple[float, float], ...]
    domain: Any
    jitter: float | None
    method_: str
    names_: tuple[str, ...]
    nodes_: tuple[Array, ...] | None
    kernels_: list[Kernel]
    values_: Array
    n_features_in_: int

    def predict(self, X: Any, *, return_std: bool = False, derivatives: int | Sequence[int] = ()) -> Any:
        """The solution, or a derivative of it, anywhere in the domain.

        Args:
            X: points ``(m, d)`` of the domain, as nothing is known of the solution beyond.
            return_std: also its standard deviation: in one axis, or up to 10 000 points of the grid. It is that of the
                process conditioned on the equation; where the method is another one, the root of its square plus the
                squared distance of the two solutions. In nonlinear equations, of the equation linearised there.
            derivatives: how often along each axis, such as ``(1, 0)``, or a number for one axis; empty for the solution
                itself.

        Returns:
            ``(m,)``, or a pair of them.

        Raises:
            ValueError: error bars that would need too many points; orders that are too high; NaN; points outside of
                the domain.
            ShapeError: another number of columns.
        """
        self._check_fitted()
        points = self._points(X)
        given = tuple(derivatives) if isinstance(derivatives, Sequence) else (derivatives,)
        orders = given or (0,) * self.n_features_in_
        if len(orders) != self.n_features_in_ or not all(isinstance(o, Integral) and 0 <= int(o) <= 2 for o in orders):
            raise ValueError(
                f"derivatives={derivatives!r}: one order from 0 to 2 for each of {self.n_features_in_} axes."
            )
        orders = tuple(map(int, orders))
        mean = self._derivatives(points, orders) if len(points) else points.new_empty(0)
        if not return_std:
            return like(mean, X)
        if self._functionals is None:
            raise ValueError(
                f"Error bars need the equation's own covariance at all {self._size} points of the grid, and "
                f"{MOST_CONDITIONED} is the most in {self.n_features_in_} axes. Take a coarser grid for them, or leave "
                f"return_std out."
            )
        posterior = self._conditioned()
        std = posterior.std(points, orders) if len(points) else points.new_empty(0)
        if self.method_ != "marginal" and len(points):
            std = (std.square() + (mean - posterior.mean(points, orders)).square()).sqrt()
        return like(mean, X), like(std, X)

    @property
    def spectrum_(self) -> list[dict[str, Array]]:
        """Frequencies (cycles per unit), weights and lengthscales of the kernel of each axis, the heaviest first."""
        self._check_fitted()
        found = []
        for kernel in self.kernels_:
            if not isinstance(kernel, SpectralMixture):
                raise AttributeError(f"{kernel!r} has no list of frequencies: only a SpectralMixture has a spectrum_.")
            w, mu, scale = (
                kernel.hyperparameter(n).numpy().reshape(-1) for n in ("weights", "frequencies", "lengthscale")
            )
            order = np.argsort(-w)
            found.append(
                {"frequencies": mu[order], "weights": w[order], "lengthscales": np.broadcast_to(scale, w.shape)[order]}
            )
        return found

    def plot(self, axes: Any = None, *, n: int = 400) -> Any:
        """Draw the solution: a curve with its error bars in one axis, a map of colours in two.

        Args:
            axes: of matplotlib; None makes a figure.
            n: points along each axis, >= 2.

        Raises:
            ValueError: three axes, or scattered points in two.
            MissingExtra: matplotlib is not installed.
        """
        self._check_fitted()
        check_whole("n", n, least=2)
        return plot_solution(self, axes, int(n))

    def _check_fitted(self) -> None:
        if not hasattr(self, "method_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(f"This {type(self).__name__} has solved nothing yet: call fit first.")

    def _bases(self, kernels: Sequence[Kernel]) -> list[AxisBasis]:
        jitter = JITTER if self.method_ in ("joint", "extra") else None  # as in the objective
        return [
            AxisBasis(torch.as_tensor(x), kernel, jitter) for x, kernel in zip(self.nodes_ or (), kernels, strict=True)
        ]

    def _derivatives(self, points: Tensor, orders: Sequence[int]) -> Tensor:
        """Of the solution at points ``(m, d)``, ``(m,)``."""
        if self.method_ == "marginal":
            return self._conditioned().mean(points, orders)
        mean = self._function()(points, orders)
        if self._extra is None:
            return mean
        second = GridFunction(self._bases(self._extra["kernels"]), torch.as_tensor(self._extra["values"]))
        return mean + second(points, orders)

    def _function(self) -> GridFunction:
        if self._solution is None:
            own = self.values_ if self._extra is None else self.values_ - self._extra["values"]
            self._solution = GridFunction(self._bases(self.kernels_), torch.as_tensor(own))
        return self._solution

    def _conditioned(self) -> FunctionalPosterior:
        if self._posterior is None:
            data = decoded(self._functionals or [])
            jitter = round_off(data, self.kernels_) if self.jitter is None else self.jitter
            self._posterior = FunctionalPosterior(data, list(self.kernels_), {}, jitter)
        return self._posterior

    def _points(self, X: Any) -> Tensor:
        points = as_tensor(X, dtype=torch.float64).detach().cpu()
        if points.dim() != 2 or points.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"predict(X): X has shape {tuple(points.shape)}, but the axes are {', '.join(self.names_)}: give (m, "
                f"{self.n_features_in_})."
            )
        check_finite(points, "X")
        Domain(self.names_, self._bounds, ()).require_inside(points, "X")
        return points

    def _restore(self) -> None:
        self._solution = self._posterior = None
