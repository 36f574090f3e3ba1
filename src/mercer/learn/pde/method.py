"""Which method solves an equation, whether it can, and with which kernels it begins."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from mercer.arguments import check_device, check_not_negative, check_positive, check_random_state, check_whole
from mercer.errors import ApproximationWarning, ShapeError
from mercer.kernels import Kernel, SpectralMixture, parse
from mercer.learn.pde.domain import Domain
from mercer.learn.pde.equation import Equation
from mercer.learn.pde.operators import DifferentialOperator
from mercer.learn.pde.symbols import Unknown
from mercer.learn.pde.waves import mixtures_from_data

__all__ = [
    "DEFAULTS",
    "METHODS",
    "MOST_CONDITIONED",
    "check_settings",
    "choose_method",
    "note_frequencies",
    "note_residual",
    "require_method",
    "starting_kernels",
]

log = logging.getLogger(__name__)
METHODS = ("auto", "collocation", "marginal", "joint", "extra")
MOST_CONDITIONED = 10_000  # points of an equation that a Gaussian process is conditioned on, in two axes or more
N_COMPONENTS = 30
LARGE = 0.1  # a residual that is told
DEFAULTS = {  # lr, max_iter, tol
    "collocation": (0.0, 30, 1e-6),
    "marginal": (0.05, 240, 1e-6),
    "joint": (0.01, 10_000, 1e-4),
    "extra": (0.01, 10_000, 1e-4),
}


def check_settings(solver: Any, method: str) -> None:
    """Raise ValueError or TypeError for numbers among the arguments of a solver that its method cannot use."""
    check_positive("boundary_weight", solver.boundary_weight)
    check_positive("lr", solver.lr, or_none=True)
    # Of marginal, 0 steps keep the kernel as it is.
    check_whole("max_iter", solver.max_iter, least=0 if method == "marginal" else 1, or_none=True)
    for name in ("tol", "jitter"):
        check_not_negative(name, getattr(solver, name), or_none=True)
    check_not_negative("change_point", solver.change_point)
    if solver.change_point > 1.0:
        raise ValueError(f"change_point must be a share of the steps, from 0 to 1, not {solver.change_point!r}.")
    check_random_state(solver.random_state)
    if solver.device is not None:
        check_device(solver.device)
        if method not in ("joint", "extra") and torch.device(solver.device).type != "cpu":
            raise ValueError(f"device={solver.device!r}: method={method!r} is done on the CPU: leave device out.")


def choose_method(method: str, operator: DifferentialOperator, domain: Domain, observations: Any) -> str:
    """The method asked for; of ``"auto"`` the one that the data need.

    Raises:
        ValueError: an unknown name.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}: choose from {', '.join(METHODS)}.")
    if method != "auto":
        return method
    has_unknowns = any(isinstance(s, Unknown) for t in operator.terms for s in t.symbols)
    return "marginal" if domain.points is not None or observations is not None or has_unknowns else "collocation"


def require_method(method: str, equation: Equation, observations: Any, noise: Any, callback: Any) -> None:
    """Raise ValueError where the method cannot solve this equation, or would ignore an argument of ``fit``."""
    if observations is None and noise != 0.0:
        raise ValueError(f"noise={noise!r} is that of observations, and there are none: fit(..., observations=...).")
    if callback is not None and method not in ("joint", "extra"):
        raise ValueError(f"method={method!r} calls no callback: leave it out, or use 'joint' or 'extra'.")
    if method != "marginal":
        if equation.domain.points is not None:
            raise ValueError(f"method={method!r} needs a grid: scattered points are for method='marginal'.")
        if observations is not None or equation.unknowns:
            raise ValueError(f"method={method!r} takes no observations or unknown coefficients: use 'marginal'.")
    elif equation.domain.d > 1 and equation.domain.size > MOST_CONDITIONED:
        raise ValueError(
            f"method='marginal' conditions on all points at once, at most {MOST_CONDITIONED}, and the grid has "
            f"{equation.domain.size}: take fewer nodes, or method='collocation'."
        )
    if equation.unknowns and observations is None:
        raise ValueError(
            f"The coefficient {next(iter(equation.unknowns))!r} is unknown, so values of the solution inside are "
            f"needed: fit(source, boundary, observations=(points, values))."
        )


def starting_kernels(kernel: Kernel | str | Sequence[Kernel] | None, equation: Equation) -> list[Kernel]:
    """One an axis: those given, or mixtures of the waves of the data.

    Raises:
        ShapeError: a list of another length than there are axes.
        TypeError: something that is no kernel.
        ValueError: one that is not stationary.
    """
    d = equation.domain.d
    if kernel is None:
        return list(mixtures_from_data(equation, N_COMPONENTS, "student_t"))
    made = parse(kernel) if isinstance(kernel, str) else kernel
    given: list[Any] = list(made) if isinstance(made, list | tuple) else [made] * d
    if len(given) != d:
        raise ShapeError(f"kernel is a list of {len(given)}, but the domain has {d} axes: give one for each.")
    for each in given:
        if not isinstance(each, Kernel):
            raise TypeError(f"kernel={each!r} is no kernel of mercer: use SpectralMixture(30, max_frequency=20).")
        x = torch.tensor([[0.0], [0.3], [1.1]], dtype=torch.float64)
        here, there = (each(points).to_dense() for points in (x, x + 0.7))
        if not torch.allclose(here, there, rtol=1e-9, atol=0.0):
            raise ValueError(
                f"kernel={each!r} is not stationary, and only differences along an axis count here: use "
                f"SpectralMixture(30, max_frequency=20) or RBF(0.1)."
            )
    return given


def note_residual(residual: float, tol: float, n_iter: int, method: str) -> None:
    """A warning where the equation is hardly kept, a line in the log where it is not quite.

    The paper's own methods take tens of thousands of steps: of what fewer leave, a line.
    """
    if residual > LARGE and method in ("collocation", "marginal"):
        warnings.warn(
            f"The equation is left with a relative residual of {residual:.1e} between the nodes after {n_iter} steps: "
            f"the solution found is not one. Take more nodes than two for each wave of the source and the solution; or "
            f"give a kernel.",
            ApproximationWarning,
            stacklevel=3,
        )
    elif residual > tol:
        log.info("The equation is left with a relative residual of %.1e after %d steps.", residual, n_iter)


def note_frequencies(domain: Domain, kernels: Sequence[Kernel]) -> None:
    """A line in the log where a kernel has waves that the grid cannot tell apart."""
    for name, nodes, kernel in zip(domain.names, domain.nodes, kernels, strict=False):
        if isinstance(kernel, SpectralMixture):
            fastest, limit = float(kernel.hyperparameter("frequencies").max()), 0.5 / float(nodes.diff().max())
            if fastest > limit:
                log.info(
                    "Axis %r: the kernel has frequencies up to %.3g, its grid tells them apart up to %.3g.",
                    name,
                    fastest,
                    limit,
                )
