"""Bayesian optimisation: the smallest value of a function that is dear to evaluate."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from mercer.arguments import check_not_negative, check_whole
from mercer.errors import FileFormatError
from mercer.kernels import LogNormal, Matern, Parameter, White
from mercer.learn.acquisition import Surrogate, log_expected_improvement
from mercer.learn.gaussian_process import GaussianProcessRegressor
from mercer.learn.search_space import SearchSpace
from mercer.plots import BLUE, GREY, axes_or_new
from mercer.store import write_atomic

__all__ = ["BayesianOptimizer", "Best"]

VERSION = 1
_ACQUISITIONS = ("log_ei", "ucb", "thompson")
_CANDIDATES = 1024  # positions at which the acquisition is looked at before its best are refined by gradients
_JOINT = 512  # positions that a Thompson draw covers
_REFINED = 3


class Best(NamedTuple):
    """The best answer so far."""

    point: dict[str, Any]
    value: float


class BayesianOptimizer:
    """Finds the smallest (or largest) value of a dear function: it says where to evaluate next, and is told the value.

    A Gaussian process with a Matern 5/2 kernel, one lengthscale a dimension, is fitted to what is known; its
    hyperparameters maximise the marginal likelihood. The next point maximises the acquisition.

    Args:
        space: dimensions by name: ``(low, high)``, whole numbers if both are ints; a list of categories;
            :class:`Real`, :class:`Integer` (with ``log=True`` for scales), :class:`Categorical`.
        maximize: look for the largest value instead.
        acquisition: "log_ei": expected improvement, by its logarithm. "ucb": the optimistic bound, mean minus ``kappa``
            deviations. "thompson": the best place of one function drawn from the model.
        kappa: of "ucb", >= 0.
        n_initial: points spread over the space (a Sobol sequence) before the model decides; None is 2 (d + 1).
        noise: known variance of the values, in their units squared; None learns it.
        random_state: an int: the same answers give the same questions, also after :meth:`load`; None draws one.

    Attributes:
        observations: what was told, a list of (point, value); NaN for failures.
        best_: the best point and value.

    Batches: ``ask(n)`` chooses one after the other, each time as if the model's mean had been measured at the points
    that are asked but not told (a sequential, greedy q-EI). Failures: tell NaN where a point gave no value; the model
    takes the worst value so far in its place, and the region is avoided.

    Raises:
        ValueError: an argument out of its range, or a space without dimensions.
        TypeError: a dimension that is none.

    Source: Jones, Schonlau & Welch, Efficient global optimization (1998); Ament et al., NeurIPS 2023.

    >>> search = BayesianOptimizer({"x": (-2.0, 2.0)}, random_state=0)
    >>> for _ in range(12):
    ...     point = search.ask()
    ...     search.tell(point, (point["x"] - 0.7) ** 2)
    >>> abs(search.best_.point["x"] - 0.7) < 0.01
    True
    """

    def __init__(
        self,
        space: Mapping[str, Any] | SearchSpace,
        *,
        maximize: bool = False,
        acquisition: str = "log_ei",
        kappa: float = 2.0,
        n_initial: int | None = None,
        noise: float | None = None,
        random_state: int | None = None,
    ) -> None:
        self.space = space if isinstance(space, SearchSpace) else SearchSpace(space)
        if acquisition not in _ACQUISITIONS:
            raise ValueError(f"acquisition={acquisition!r}: choose one of {', '.join(_ACQUISITIONS)}.")
        if noise is not None and not 0.0 <= noise < math.inf:
            raise ValueError(f"noise={noise!r}: it is a variance, >= 0, or None.")
        check_whole("n_initial", n_initial, or_none=True)
        check_not_negative("kappa", kappa)
        self.maximize, self.acquisition, self.kappa, self.noise = maximize, acquisition, kappa, noise
        self.n_initial = 2 * (len(self.space) + 1) if n_initial is None else int(n_initial)
        if random_state is None:
            random_state = int(np.random.SeedSequence().generate_state(1)[0])
        check_whole("random_state", random_state, least=0)
        self.random_state = int(random_state)
        self.observations: list[tuple[dict[str, Any], float]] = []
        self._pending: list[dict[str, Any]] = []
        self._n_asked = 0
        self._fitted: tuple[int, Surrogate] | None = None

    # asking and telling

    def ask(self, n: int | None = None) -> Any:
        """The next point to evaluate, a dict by name; with ``n`` a list of so many, to be evaluated side by side."""
        if n is None:
            return self._next()
        if n < 1:
            raise ValueError(f"ask({n}): ask for at least one point.")
        return [self._next() for _ in range(n)]

    def tell(self, point: Mapping[str, Any], value: float) -> None:
        """Give the value at a point, asked or not. NaN (or an infinity): the evaluation failed there.

        Raises:
            ValueError: a point outside the space.
        """
        u = self.space.unit(point)
        value = float(value)
        told = {name: x.item() if isinstance(x, np.generic) else x for name, x in point.items()}  # for JSON
        self.observations.append((told, value if math.isfinite(value) else math.nan))
        for waiting in self._pending:
            if np.allclose(self.space.unit(waiting), u, rtol=0.0, atol=1e-12):
                self._pending.remove(waiting)
                break

    def run(self, function: Callable[..., float], n_evaluations: int) -> Best:
        """Ask, evaluate ``function(**point)`` and tell, so many times; gives :attr:`best_`."""
        for _ in range(n_evaluations):
            point = self.ask()
            self.tell(point, function(**point))
        return self.best_

    @property
    def best_(self) -> Best:
        """The best point and value that were told.

        Raises:
            ValueError: nothing has been told yet, or failures only.
        """
        known = [(point, value) for point, value in self.observations if math.isfinite(value)]
        if not known:
            raise ValueError("best_: no value has been told yet. Evaluate at ask(), and tell(point, value).")
        return Best(*(max if self.maximize else min)(known, key=lambda pair: pair[1]))

    def _next(self) -> dict[str, Any]:
        n_finite = sum(math.isfinite(value) for _, value in self.observations)
        if len(self.observations) + len(self._pending) < self.n_initial or n_finite < 2:
            u = self._sobol(self._n_asked + 1)[-1]
        else:
            u = self._choose()
        point = self.space.point(u.tolist())
        self._n_asked += 1
        self._pending.append(point)
        return point

    def _sobol(self, n: int, *, seed: int = 0, width: int | None = None) -> Tensor:
        engine = torch.quasirandom.SobolEngine(width or len(self.space), scramble=True, seed=self.random_state + seed)
        return engine.draw(n, dtype=torch.float64)

    # the model

    def _signed_values(self) -> Tensor:
        """Values to be minimised, failures as the worst, centred and scaled."""
        values = np.array([value for _, value in self.observations]) * (-1.0 if self.maximize else 1.0)
        values = np.where(np.isnan(values), np.nanmax(values), values)
        self._scale = float(values.std()) or 1.0
        return torch.from_numpy((values - values.mean()) / self._scale)

    def _surrogate(self) -> Surrogate:
        """The model of what was told; kept until more is."""
        if self._fitted is None or self._fitted[0] != len(self.observations):
            values = self._signed_values()
            units = torch.tensor([self.space.unit(point) for point, _ in self.observations], dtype=torch.float64)
            X = self.space.embed(units)
            # The prior keeps lengthscales near the width of the box while there are few points (Hvarfner et al. 2024).
            lengthscale = Parameter(
                [0.5] * X.shape[1], bounds=(0.02, 20.0), prior=LogNormal(math.log(0.5 * math.sqrt(X.shape[1])), 1.0)
            )
            known = None if self.noise is None else max(self.noise / self._scale**2, 1e-8)
            noise = Parameter(1e-4 if known is None else known, bounds=(1e-8, 1.0), frozen=known is not None)
            kernel = Matern(lengthscale, nu=2.5) * Parameter(1.0, bounds=(0.05, 50.0)) + White(noise)
            with warnings.catch_warnings():
                # Noise at its lower bound is what a function without noise looks like.
                warnings.simplefilter("ignore", ConvergenceWarning)
                learnt = GaussianProcessRegressor(kernel, random_state=0).fit(X, values).kernel_
            self._fitted = (
                len(self.observations),
                Surrogate(learnt.left, float(learnt.right.hyperparameter("noise")), X, values),
            )
        return self._fitted[1]

    def _choose(self) -> Tensor:
        """The position of the unit cube at which the acquisition is best."""
        model = self._surrogate()
        with torch.no_grad():
            target = float(model.predict(model.points)[0].min())
            waiting = [self.space.unit(point) for point in self._pending]
            if waiting:
                model = model.believing(self.space.embed(torch.tensor(waiting, dtype=torch.float64)))
        candidates = self._candidates(_JOINT if self.acquisition == "thompson" else _CANDIDATES)
        if self.acquisition == "thompson":
            normal = torch.from_numpy(self._rng().standard_normal(len(candidates)))
            with torch.no_grad():
                return candidates[model.sample(self.space.embed(candidates), normal).argmin()]

        def score(u: Tensor) -> Tensor:
            mean, std = model.predict(self.space.embed(u))
            if self.acquisition == "ucb":
                return -(mean - self.kappa * std)
            return log_expected_improvement(mean, std, target)

        with torch.no_grad():
            scores = score(candidates)
        starts = candidates[scores.topk(_REFINED).indices]
        return max((self._refine(score, start) for start in starts), key=lambda pair: pair[1])[0]

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng([self.random_state, self._n_asked])

    def _candidates(self, n: int) -> Tensor:
        """Positions everywhere, and a quarter of them near the best so far."""
        rng, everywhere = self._rng(), self._sobol(n - n // 4, seed=1 + self._n_asked)
        best = torch.tensor(self.space.unit(self.best_.point), dtype=torch.float64)
        steps = rng.normal(size=(n // 4, len(best))) * 10.0 ** rng.uniform(-3.0, -0.5, size=(n // 4, 1))
        moved = rng.random((n // 4, len(best))) < 0.5
        near = (best + torch.from_numpy(np.where(moved, steps, 0.0))).clamp(0.0, 1.0)
        return torch.cat([everywhere, near])

    def _refine(self, score: Callable[[Tensor], Tensor], start: Tensor) -> tuple[Tensor, float]:
        """Uphill from a start in the real dimensions, by L-BFGS; the others stay."""
        moves = torch.tensor(self.space.is_real)

        def loss(free: Any) -> tuple[float, Any]:
            x = torch.tensor(free, dtype=torch.float64, requires_grad=True)
            u = start.clone().masked_scatter(moves, x)
            value = -score(u.unsqueeze(0)).squeeze(0)
            (gradient,) = torch.autograd.grad(value, x)
            return float(value.detach()), gradient.numpy()

        with torch.no_grad():
            first = float(score(start.unsqueeze(0)))
        if not bool(moves.any()):
            return start, first
        bounds = [(0.0, 1.0)] * int(moves.sum())
        found = minimize(
            loss, start[moves].numpy(), jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 30}
        )
        if not -found.fun > first:
            return start, first
        return start.clone().masked_scatter(moves, torch.from_numpy(found.x)), -float(found.fun)

    # files and pictures

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a JSON file, whole or not at all; :meth:`load` goes on from there."""
        state = {
            "kind": "BayesianOptimizer",
            "version": VERSION,
            "space": self.space.describe(),
            "options": {
                name: getattr(self, name)
                for name in ("maximize", "acquisition", "kappa", "n_initial", "noise", "random_state")
            },
            "observations": [[point, None if math.isnan(value) else value] for point, value in self.observations],
            "pending": self._pending,
            "n_asked": self._n_asked,
        }
        write_atomic(path, json.dumps(state, indent=1))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The optimiser that :meth:`save` wrote: it asks what the saved one would have asked.

        Raises:
            FileNotFoundError: there is no such file.
            FileFormatError: it is no such file, or a newer mercer's.
        """
        try:
            state = json.loads(Path(path).read_bytes())
            if state["kind"] != "BayesianOptimizer":
                raise KeyError(state["kind"])
            if state["version"] > VERSION:
                raise FileFormatError(
                    f"{path} is written in version {state['version']} of its format, and this mercer reads up to "
                    f"{VERSION}. Update mercer."
                )
            made = cls(SearchSpace.from_description(state["space"]), **state["options"])
            made.observations = [
                (point, math.nan if value is None else float(value)) for point, value in state["observations"]
            ]
            made._pending, made._n_asked = list(state["pending"]), int(state["n_asked"])
            for point in [*made._pending, *(point for point, _ in made.observations)]:
                made.space.unit(point)
        except FileFormatError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileFormatError(f"{path} is not a saved BayesianOptimizer, or is damaged: {error}") from error
        return made

    def plot_convergence(self, ax: Any = None) -> Any:
        """Every value and the best so far, over evaluations; gives the matplotlib axes.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        ax = axes_or_new(ax)
        values = np.array([value for _, value in self.observations])
        so_far = (np.fmax if self.maximize else np.fmin).accumulate(values)
        count = np.arange(1, len(values) + 1)
        ax.plot(count, values, "o", color=GREY, ms=3.5, label="evaluations")
        ax.step(count, so_far, where="post", color=BLUE, lw=2, label="best so far")
        ax.set_xlabel("evaluations")
        ax.legend(frameon=False)
        return ax

    def __repr__(self) -> str:
        return f"BayesianOptimizer({self.space.dimensions!r}, {len(self.observations)} told)"
