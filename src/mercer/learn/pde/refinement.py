"""Collocation with the kernel that leaves the least between the nodes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mercer.errors import NotConverged
from mercer.kernels import Kernel
from mercer.learn.pde.between import relative_residual
from mercer.learn.pde.collocation import Result, solve_by_collocation
from mercer.learn.pde.equation import Equation
from mercer.learn.pde.grid_basis import AxisBasis, GridFunction
from mercer.learn.pde.system import Collocation
from mercer.learn.pde.uniqueness import require_unique

__all__ = ["Collocated", "collocate"]

log = logging.getLogger(__name__)
ENOUGH = 1e-6  # of an error, with which no further kernel is tried
LARGEST = 250_000  # nodes with which others are tried: in two axes of 500 each takes a second or two
MOST_CHECKED = 100_000  # nodes of an equation whose solution is checked to be the only one


@dataclass(frozen=True)
class Collocated:
    """A solution, its kernels and its residual.

    Attributes:
        kernels: one an axis.
        system: the equation at the nodes.
        result: on the grid; its residual is that between the nodes where the equation is known there.
        error: what to expect of the solution, relative: a residual that is zero at n nodes makes about a 1 / n of
            itself; what the solution is off at nodes stays.
    """

    kernels: list[Kernel]
    system: Collocation
    result: Result
    error: float


def collocate(
    equation: Equation,
    between: Equation | None,
    kernels: list[Kernel],
    rivals: Sequence[list[Kernel]],
    *,
    tol: float,
    max_iter: int,
) -> Collocated:
    """The solution with the kernels given, or with those among their rivals that leave less between the nodes.

    Raises:
        NotConverged, ValueError: as :func:`solve_by_collocation`, with the kernels given and with their rivals.
    """
    best: Collocated | None = None
    failure: Exception | None = None
    if between is None or equation.domain.size > LARGEST:
        rivals = []
    for tried in (kernels, *rivals):
        try:
            found = _collocated(equation, between, tried, tol, max_iter)
        except (NotConverged, ValueError) as error:
            failure = failure or error
            continue
        log.debug("%r: residual %.1e between the nodes, error %.1e", tried[0], found.result.residual, found.error)
        if best is None or found.error < best.error:
            best = found
        if found.error <= ENOUGH:
            break
    if best is None:
        assert failure is not None
        raise failure
    if equation.is_linear and equation.domain.size <= MOST_CHECKED:
        require_unique(best.system, between, best.result.values)
    return best


def _collocated(
    equation: Equation, between: Equation | None, kernels: list[Kernel], tol: float, max_iter: int
) -> Collocated:
    made: list[AxisBasis] = []
    for kernel, nodes in zip(kernels, equation.domain.nodes, strict=True):
        pairs = zip(made, kernels, strict=False)
        alike = (b for b, k in pairs if repr(k) == repr(kernel) and torch.equal(b.nodes, nodes))
        made.append(next(alike, None) or AxisBasis(nodes, kernel))
    result, system = solve_by_collocation(equation, made, tol=tol, max_iter=max_iter)
    if between is None:
        return Collocated(kernels, system, result, 0.0)
    function = GridFunction(made, result.values)
    residual, misfit = relative_residual(between, function), function.misfit()
    error = residual / max(len(x) for x in equation.domain.nodes) + misfit
    return Collocated(kernels, system, replace(result, residual=max(residual, misfit)), error)
