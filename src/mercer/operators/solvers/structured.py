"""Solve by what a plan knows of its matrix: weight space, eigenvalues of Kronecker factors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer.operators.solvers.direct_solution import DirectSolution
from mercer.operators.solvers.methods import Attempt, Options, finish
from mercer.operators.solvers.system import System

__all__ = ["solve_by_structure", "structure_of"]

_REFINEMENTS = 5


def structure_of(A: Any, noise: Tensor) -> DirectSolution | None:
    """What A's plan knows about ``(A + diag(noise))^-1``, if anything."""
    found: DirectSolution | None = A.direct() if hasattr(A, "direct") and A.dim() == 2 else None
    return found if found is not None and found.applies(noise) is None else None


def solve_by_structure(system: System, B: Tensor, options: Options, direct: DirectSolution) -> Attempt:
    """The plan's own solution, refined with products of A while that helps."""
    X = direct.solve(B, system.noise)
    reason = f"the plan {system.A.plan.name!r} solves without iterations over the points"
    advice = "Give a larger noise or rtol, or method='cg'."

    def judge(X: Tensor, step: int) -> Attempt:
        return finish(system, B, X, rtol=options.rtol, method=direct.name, reason=reason, advice=advice, n_iter=step)

    attempt = judge(X, 0)
    for step in range(1, _REFINEMENTS + 1):
        if attempt.converged or not bool(torch.isfinite(attempt.x).all()):
            break
        refined = judge(attempt.x + direct.solve(B - system.product(attempt.x), system.noise), step)
        if not refined.residual < attempt.residual:
            break
        attempt = refined
    return attempt
