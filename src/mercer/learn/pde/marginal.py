"""The Gaussian process conditioned on the equation itself, its kernel by the greatest marginal likelihood."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer import config
from mercer.kernels import Kernel, SpectralMixture
from mercer.learn.pde.axis_kernel import AxisKernel
from mercer.learn.pde.functionals import Functionals, Part, Tables, covariance, variances
from mercer.learn.pde.parameters import Parameters
from mercer.progress import track

__all__ = ["FunctionalPosterior", "Learnt", "learn_kernels", "round_off"]

MORE = (1.0, 10.0, 100.0, 1e3, 1e4)  # times the jitter, where the matrix does not factorise
BLOCK = 1024
PATIENCE = 40  # steps without growth before a search ends: Adam falls back now and then
FALLING = 0.3  # share of the steps, at their end, in which the rate falls to 0
FACTORS = np.geomspace(0.1, 10.0, 49)


@dataclass(frozen=True)
class Learnt:
    """What a search found.

    Attributes:
        kernels: one an axis.
        coefficients: of the equation, by name.
        curve: log marginal likelihood at each step.
    """

    kernels: list[SpectralMixture]
    coefficients: dict[str, float]
    curve: list[float]


def learn_kernels(
    functionals: Sequence[Functionals],
    kernels: Sequence[SpectralMixture],
    unknowns: Mapping[str, float],
    *,
    lr: float,
    max_iter: int,
    tol: float,
    jitter: float,
) -> Learnt:
    """Adam with a rate that falls to 0 at the end, on the log marginal likelihood; the best place on the way is kept.

    Coefficients of the equation are first found for the kernels as they are: a rigid kernel that has to serve a wrong
    equation adapts to it, and the way back is long.

    Cost: a step is a Cholesky factorisation and an inverse of all functionals, and Q waves for each different
    difference of coordinates.
    """
    tables = Tables()
    y = torch.cat([f.targets / f.scale for f in functionals])
    if unknowns:
        unknowns = _find_coefficients(functionals, kernels, unknowns, y, tables, jitter)
    parameters = Parameters(kernels, unknowns, in_widths=True)
    optimiser = torch.optim.Adam(parameters.leaves(), lr=lr)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (1.0 - step / max_iter) / FALLING))
    best, best_at, curve = -math.inf, (list(kernels), dict(unknowns)), []
    for _ in track(range(max_iter), description="marginal likelihood"):
        K = covariance(functionals, functionals, parameters.kernels(), parameters.unknowns(), tables)
        factor, _ = _factor(K.detach(), functionals, jitter)
        x = torch.cholesky_solve(y.unsqueeze(1), factor)
        value = float(-0.5 * (y @ x.squeeze(1)) - factor.diagonal().log().sum() - 0.5 * len(y) * math.log(2 * math.pi))
        curve.append(value)
        if value > best:
            numbers = {name: float(v.detach()) for name, v in parameters.unknowns().items()}
            best, best_at = value, (parameters.mixtures(), numbers)
        slope = 0.5 * (torch.cholesky_inverse(factor) - x @ x.mT)  # of minus the likelihood, in K
        optimiser.zero_grad()
        (K * slope).sum().backward()
        optimiser.step()
        falling.step()
        parameters.settle()
        if tol and len(curve) > 2 * PATIENCE and max(curve[-PATIENCE:]) - max(curve[:-PATIENCE]) < tol * abs(best):
            break
    return Learnt(*best_at, curve)


def round_off(functionals: Sequence[Functionals], kernels: Sequence[Kernel]) -> float:
    """The share of the variances by which round-off may move eigenvalues of the covariance: the least safe jitter.

    A wave of phase f = 2 pi mu z is off by f times the machine's epsilon, since its argument is, and so is each entry
    of the matrix, as a share of the variance; n of them in a row bound the norm of the error. A smaller jitter may not
    factorise, and a larger one is noise that the data do not have.
    """
    n, phase = sum(map(len, functionals)), 1.0
    points = torch.cat([part.points for f in functionals for part in f.parts])
    for extent, kernel in zip(points.amax(0) - points.amin(0), kernels, strict=True):
        if isinstance(kernel, SpectralMixture):
            fastest = float(kernel.hyperparameter("frequencies").abs().max())
            phase = max(phase, 2.0 * math.pi * fastest * float(extent))
    return n * torch.finfo(torch.float64).eps * phase


@torch.no_grad()
def _find_coefficients(
    functionals: Sequence[Functionals],
    kernels: Sequence[SpectralMixture],
    unknowns: Mapping[str, float],
    y: Tensor,
    tables: Tables,
    jitter: float,
) -> dict[str, float]:
    """Coefficients of the greatest likelihood with the kernels' common factor profiled out: a tenth to ten
    times each start is looked at, then Nelder-Mead."""
    from scipy.optimize import minimize  # takes 17 MB

    axes = [AxisKernel.of(kernel) for kernel in kernels]
    units = {name: abs(value) or 1.0 for name, value in unknowns.items()}

    def objective(relative: np.ndarray[Any, Any]) -> float:
        learnt = {
            n: torch.tensor(u * r, dtype=torch.float64) for (n, u), r in zip(units.items(), relative, strict=True)
        }
        factor, _ = _factor(covariance(functionals, functionals, axes, learnt, tables), functionals, jitter)
        half = torch.linalg.solve_triangular(factor, y.unsqueeze(1), upper=False)
        return len(y) * math.log(float(half.square().sum())) + 2.0 * float(factor.diagonal().log().sum())

    start = np.array([value / units[name] for name, value in unknowns.items()])
    for i in range(len(start)):  # near a resonance of the equation the likelihood has a valley of its own
        tries = np.repeat(start[None], len(FACTORS), 0)
        tries[:, i] = np.where(start[i] == 0.0, 1.0, start[i]) * FACTORS
        start = min(tries, key=objective)
    found = minimize(objective, start, method="Nelder-Mead", options={"maxiter": 100 * len(start), "xatol": 1e-5})
    return {name: float(unit * r) for (name, unit), r in zip(units.items(), found.x, strict=True)}


@dataclass
class FunctionalPosterior:
    """What is known of the solution after functionals of it were observed.

    Attributes:
        functionals: with their targets.
        kernels: one an axis.
        coefficients: of the equation.
        jitter: added to the diagonal, as a share of the mean variance of each kind of observation.
    """

    functionals: list[Functionals]
    kernels: list[Kernel]
    coefficients: dict[str, float] = field(default_factory=dict)
    jitter: float = 1e-10

    def __post_init__(self) -> None:
        n = sum(map(len, self.functionals))
        config.require_memory(
            24 * n * n,
            asked=f"The covariance of {n} observations of the solution",
            instead="Take fewer nodes, or method='collocation' on a grid.",
        )
        self._axes = [AxisKernel.of(kernel) for kernel in self.kernels]
        learnt = {name: torch.tensor(v, dtype=torch.float64) for name, v in self.coefficients.items()}
        self.functionals = [_with_numbers(f, learnt) for f in self.functionals]
        with torch.no_grad():
            K = covariance(self.functionals, self.functionals, self._axes)
            self._factor, self.noise = _factor(K, self.functionals, self.jitter, overwrite=True)
            y = torch.cat([f.targets / f.scale for f in self.functionals])
            self._dual = torch.cholesky_solve(y.unsqueeze(1), self._factor).squeeze(1)
        #: by how much variances are multiplied so that the data are of the size expected
        self.amplitude = float(y @ self._dual) / len(y)

    @torch.no_grad()
    def mean(self, points: Tensor, orders: Sequence[int]) -> Tensor:
        """Of a derivative at points, ``(m,)``."""
        return torch.cat([self._cross(chunk, orders) @ self._dual for chunk in points.split(BLOCK)])

    @torch.no_grad()
    def std(self, points: Tensor, orders: Sequence[int]) -> Tensor:
        """Standard deviation of the same, ``(m,)``."""
        found = []
        for chunk in points.split(BLOCK):
            half = torch.linalg.solve_triangular(self._factor, self._cross(chunk, orders).mT, upper=False)
            known = variances(_at(chunk, orders), self._axes) - half.square().sum(0)
            found.append(known.clamp(min=0.0))
        return (self.amplitude * torch.cat(found)).sqrt()

    def _cross(self, points: Tensor, orders: Sequence[int]) -> Tensor:
        return covariance([_at(points, orders)], self.functionals, self._axes)


def _at(points: Tensor, orders: Sequence[int]) -> Functionals:
    part = Part(points, tuple(orders), torch.ones((), dtype=torch.float64))
    return Functionals((part,), torch.zeros(len(points), dtype=torch.float64))


def _with_numbers(f: Functionals, learnt: Mapping[str, Tensor]) -> Functionals:
    parts = tuple(Part(p.points, p.orders, p.value(learnt)) for p in f.parts)
    return Functionals(parts, f.targets, f.scale, f.noise)


def _factor(
    K: Tensor, functionals: Sequence[Functionals], jitter: float, *, overwrite: bool = False
) -> tuple[Tensor, float]:
    """The Cholesky factor of K plus noise, with the least share of the diagonal that lets it be."""
    diagonal = K.diagonal().clone()
    base, start = torch.empty_like(diagonal), 0
    for f in functionals:
        base[start : start + len(f)] = diagonal[start : start + len(f)].mean()
        start += len(f)
    own = torch.cat([torch.full((len(f),), f.noise / f.scale**2, dtype=torch.float64) for f in functionals])
    M = K if overwrite else K.clone()
    for share in (jitter * more for more in MORE):
        M.diagonal().copy_(diagonal + own + share * base)
        factor, failed = torch.linalg.cholesky_ex(M)
        if not int(failed):
            return factor, share
    raise np.linalg.LinAlgError(
        "The covariance of the equation and the boundary data is not positive definite: kernels with long lengthscales "
        "and many waves do that. Use envelope='student_t', a shorter lengthscale, or fewer nodes."
    )
