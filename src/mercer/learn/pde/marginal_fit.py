"""An equation solved by conditioning a Gaussian process on it: kernels learnt once, then Newton steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.kernels import Kernel, SpectralMixture
from mercer.learn.pde.domain import Domain
from mercer.learn.pde.equation import Equation
from mercer.learn.pde.functionals import Functionals, functionals_of, some_rows
from mercer.learn.pde.marginal import FunctionalPosterior, Learnt, learn_kernels, round_off

__all__ = ["MarginalResult", "fit_marginal"]

MOST_LEARNT = 500  # observations on which hyperparameters are learnt in two axes or more
NEWTON_STEPS = 12
SETTLED = 1e-10  # relative change of the solution at which Newton's method ends


@dataclass(frozen=True)
class MarginalResult:
    """What was found.

    Attributes:
        posterior: the process, conditioned.
        kernels: one an axis.
        coefficients: of the equation, by name.
        curve: log marginal likelihood at each step.
        values: the solution at the points of the domain.
        residual: of the equation there, relative to the source.
    """

    posterior: FunctionalPosterior
    kernels: list[Kernel]
    coefficients: dict[str, float]
    curve: list[float]
    values: Tensor
    residual: float


def fit_marginal(
    equation: Equation,
    kernels: Sequence[Kernel],
    observations: tuple[Tensor, Tensor, float] | None,
    *,
    lr: float,
    max_iter: int,
    tol: float,
    jitter: float | None,
    random_state: Any,
) -> MarginalResult:
    """Learn the kernels, where all are mixtures and ``max_iter`` > 0, and condition on the equation.

    Args:
        equation: at points or on a grid.
        kernels: where learning begins, or what is kept.
        observations: points, values and the variance of their error, beside the equation.
        lr: rate of Adam.
        max_iter: steps of Adam.
        tol: relative growth of the likelihood at which it ends.
        jitter: as a share of the variance of each kind of observation; None: that of :func:`round_off`.
        random_state: which observations kernels are learnt on where there are too many.
    """
    domain, zero = equation.domain, (0,) * equation.domain.d
    mixtures = [k for k in kernels if isinstance(k, SpectralMixture)]
    learnt = Learnt(mixtures, {}, [])
    found: list[Kernel] = list(kernels)
    arguments = [[torch.zeros(domain.shape, dtype=torch.float64) for _ in inner] for _, _, inner in equation.functions]
    points, before = domain.all_points(), None
    for step in range(1 if equation.is_linear else NEWTON_STEPS):
        products, source = equation.linearised(arguments)
        data = functionals_of(equation, products, source, observations)
        jitter = round_off(data, kernels) if jitter is None else jitter
        if step == 0 and max_iter > 0 and len(mixtures) == len(found):
            own = _subset(data, domain, random_state)
            learnt = learn_kernels(own, mixtures, equation.unknowns, lr=lr, max_iter=max_iter, tol=tol, jitter=jitter)
            found = list(learnt.kernels)
        posterior = FunctionalPosterior(data, found, dict(learnt.coefficients), jitter)
        u = posterior.mean(points, zero)
        if before is not None and float((u - before).norm()) <= SETTLED * float(u.norm()):
            break
        before = u
        arguments = equation.arguments(posterior.mean)
    numbers = {n: torch.tensor(v, dtype=torch.float64) for n, v in learnt.coefficients.items()}
    value = torch.zeros(domain.shape, dtype=torch.float64)
    for p in products:
        value += p.value(numbers) * posterior.mean(points, p.orders).reshape(domain.shape)
    residual = float((value - source).norm()) / (float(source.norm()) or 1.0)
    return MarginalResult(posterior, found, learnt.coefficients, learnt.curve, u.reshape(domain.shape), residual)


def _subset(data: list[Functionals], domain: Domain, random_state: Any) -> list[Functionals]:
    """In two axes or more MOST_LEARNT observations."""
    if domain.d == 1 or sum(map(len, data)) <= MOST_LEARNT:
        return data
    return some_rows(data, MOST_LEARNT, generator(random_state if random_state is not None else 0))
