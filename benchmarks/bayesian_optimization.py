"""Bayesian optimisation of known functions: how far from the least value after so many evaluations.

Against random search and, where they are installed, scikit-optimize and BoTorch (``pip install scikit-optimize
botorch``), each with its own defaults and the same number of first points. What counts is the gap: the function,
without noise, at the best point told so far, less its least value.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercer.learn import BayesianOptimizer

SIZES = (10,)  # seeds
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """A function to be minimised.

    Attributes:
        name: as in the literature.
        function: of a point ``(d,)``.
        bounds: ``(low, high)`` of each coordinate.
        least: its least value.
        n: evaluations.
        noise: standard deviation of what is told.
    """

    name: str
    function: Callable[[Array], float]
    bounds: tuple[tuple[float, float], ...]
    least: float
    n: int
    noise: float = 0.0

    @property
    def n_initial(self) -> int:
        """Points before there is a model, for every method."""
        return 2 * (len(self.bounds) + 1)


def branin(x: Array) -> float:
    """Three equal minima."""
    b, c, t = 5.1 / (4.0 * math.pi**2), 5.0 / math.pi, 1.0 / (8.0 * math.pi)
    return float((x[1] - b * x[0] ** 2 + c * x[0] - 6.0) ** 2 + 10.0 * (1.0 - t) * math.cos(x[0]) + 10.0)


_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(x: Array) -> float:
    """Four wells in six dimensions."""
    return -float(np.array([1.0, 1.2, 3.0, 3.2]) @ np.exp(-(_A * (x - _P) ** 2).sum(1)))


def rosenbrock(x: Array) -> float:
    """A bent valley, whose values span many powers of ten."""
    return float((100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum())


def waves(x: Array) -> float:
    """A parabola with a wave on it."""
    return float(math.sin(3.0 * x[0]) + x[0] ** 2 - 0.7 * x[0])


PROBLEMS = (
    Problem("Branin", branin, ((-5.0, 10.0), (0.0, 15.0)), 0.397887, 30),
    Problem("waves, noisy", waves, ((-1.0, 2.0),), -0.500352, 30, noise=0.2),
    Problem("Hartmann-6", hartmann, ((0.0, 1.0),) * 6, -3.322368, 60),
    Problem("Rosenbrock-4", rosenbrock, ((-2.048, 2.048),) * 4, 0.0, 60),
)


class Told:
    """A problem as a search sees it, and what it was asked."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.true = problem, []
        self.values: list[float] = []
        self._draw = np.random.default_rng([seed, 7])

    def __call__(self, x: Any) -> float:
        """The value, with noise."""
        exact = self.problem.function(np.asarray(x, dtype=np.float64))
        self.true.append(exact)
        self.values.append(exact + self.problem.noise * float(self._draw.normal()))
        return self.values[-1]

    def gaps(self) -> list[float]:
        """After each evaluation: the gap at the point whose told value is the smallest."""
        best = [int(np.argmin(self.values[: i + 1])) for i in range(len(self.values))]
        return [self.true[i] - self.problem.least for i in best]


def by_mercer(told: Told, seed: int) -> None:
    """``BayesianOptimizer`` with its defaults."""
    problem = told.problem
    names = [f"x{j}" for j in range(len(problem.bounds))]
    search = BayesianOptimizer(dict(zip(names, problem.bounds, strict=True)), random_state=seed)
    search.run(lambda **point: told([point[name] for name in names]), problem.n)


def by_chance(told: Told, seed: int) -> None:
    """Uniform points."""
    low, high = np.array(told.problem.bounds).T
    for x in np.random.default_rng(seed).uniform(low, high, size=(told.problem.n, len(low))):
        told(x)


def by_scikit_optimize(told: Told, seed: int) -> None:
    """``gp_minimize``: Matern 5/2, the best of three acquisitions."""
    from skopt import gp_minimize

    problem = told.problem
    gp_minimize(told, problem.bounds, n_calls=problem.n, n_initial_points=problem.n_initial, random_state=seed)


def by_botorch(told: Told, seed: int) -> None:
    """``SingleTaskGP`` and the logarithm of the expected improvement, as in BoTorch's tutorials."""
    import torch
    from botorch.acquisition import LogExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.optim import optimize_acqf
    from gpytorch.mlls import ExactMarginalLogLikelihood

    problem, d = told.problem, len(told.problem.bounds)
    torch.manual_seed(seed)
    low, high = torch.tensor(problem.bounds, dtype=torch.float64).T
    unit = torch.quasirandom.SobolEngine(d, scramble=True, seed=seed).draw(problem.n_initial, dtype=torch.float64)
    values = [told((low + (high - low) * u).numpy()) for u in unit]
    box = torch.stack([torch.zeros(d), torch.ones(d)]).double()
    while len(values) < problem.n:
        y = -torch.tensor(values, dtype=torch.float64)[:, None]
        model = SingleTaskGP(unit, (y - y.mean()) / y.std())
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        best = float(model.posterior(unit).mean.max().detach())
        acquisition = LogExpectedImprovement(model, best_f=best)
        point, _ = optimize_acqf(acquisition, bounds=box, q=1, num_restarts=10, raw_samples=512)
        unit = torch.cat([unit, point])
        values.append(told((low + (high - low) * point[0]).numpy()))


METHODS: dict[str, tuple[Callable[[Told, int], None], str | None]] = {
    "mercer": (by_mercer, None),
    "random": (by_chance, None),
    "scikit-optimize": (by_scikit_optimize, "skopt"),
    "BoTorch": (by_botorch, "botorch"),
}


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Measure and print, a row for each problem, with the gaps of every method."""
    from importlib.util import find_spec

    (n_seeds,) = sizes
    present = {name: how for name, (how, module) in METHODS.items() if module is None or find_spec(module)}
    rows: list[dict[str, Any]] = []
    for problem in PROBLEMS:
        row: dict[str, Any] = {
            "problem": problem.name,
            "d": len(problem.bounds),
            "n": problem.n,
            "noise": problem.noise,
        }
        row |= {"n_seeds": n_seeds, "methods": {}}
        for name, search in present.items():
            gaps, started = [], time.process_time()
            for seed in range(n_seeds):
                told = Told(problem, seed)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of fits that end at a bound
                    search(told, seed)
                gaps.append(told.gaps())
            seconds = (time.process_time() - started) / n_seeds
            quartiles = np.quantile(gaps, [0.25, 0.5, 0.75], axis=0)
            row["methods"][name] = {"gaps": quartiles.tolist(), "last": [g[-1] for g in gaps], "cpu_seconds": seconds}
            low, middle, high = quartiles[:, -1]
            print(
                f"{problem.name:14} {name:16} gap {middle:.2e} ({low:.1e} to {high:.1e}), {seconds:.1f} CPU s a search"
            )
        rows.append(row)
    return rows
