"""Which method solves a system, predicted from its size and the memory, and what every method reports."""

import math
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.config import fits_memory, format_bytes, memory_budget
from mercer.operators.machine import rates
from mercer.operators.planning import format_seconds
from mercer.operators.solvers.cholesky import cholesky_bytes
from mercer.operators.solvers.system import System

__all__ = ["ITERATIONS", "Attempt", "Options", "cholesky_seconds", "choose_method", "finish", "product_seconds"]

ITERATIONS = 32  # products that a solver is planned with, before more is known
_SMALL = 4000  # up to here a Cholesky factorisation takes well under a second
_SINGLE_FACTOR = 2.3  # speed of a factorisation in float32 over one in float64: 2.4 at n = 8000, 2.2 at 20,000
_REFINEMENTS = 5  # typical


@dataclass(frozen=True)
class Options:
    """What :func:`mercer.operators.solve` was asked for."""

    rtol: float
    max_iter: int | None = None
    method: str | None = None
    rank: int | None = None
    precision: str | None = None
    random_state: Any = 0
    preconditioner: str = "pivoted_cholesky"
    checkpoint: str | os.PathLike[str] | None = None


@dataclass(frozen=True)
class Attempt:
    """What one method has reached for one matrix; see :class:`mercer.operators.Solution` for the fields."""

    x: Tensor
    residuals: Tensor
    converged: bool
    n_iter: int
    method: str
    precision: str
    reason: str
    rank: int
    advice: str

    @property
    def residual(self) -> float:
        """The largest residual."""
        return float(self.residuals.max()) if self.residuals.numel() else 0.0


def finish(
    system: System,
    B: Tensor,
    X: Tensor,
    *,
    rtol: float,
    method: str,
    reason: str,
    advice: str,
    n_iter: int = 0,
    precision: str = "float64",
    rank: int = 0,
) -> Attempt:
    """Recompute the residual in float64 and judge it together with its own round-off.

    The round-off of a computed residual is near ``2^-53`` times the norm of a column of A times the norm of x. Where it
    alone is larger than ``rtol``, no float64 answer can be shown to be right, so none is called converged.
    """
    norms = torch.linalg.vector_norm(B, dim=0)
    norms = torch.where(norms > 0, norms, 1.0)
    residuals = torch.linalg.vector_norm(B - system.product(X), dim=0) / norms
    round_off = 2.0**-53 * system.column_norm_bound() * torch.linalg.vector_norm(X, dim=0) / norms
    if bool((round_off > 0.5 * rtol).any()):
        advice = (
            f"The system is so ill-conditioned that round-off of float64 alone is {float(round_off.max()):.0e}: "
            f"give a larger noise or a larger rtol."
        )
    if not bool(torch.isfinite(residuals).all()):
        advice = "A @ x is NaN or infinite: look for NaN, infinities or overflow in A."
    converged = bool((residuals + round_off <= rtol).all())
    return Attempt(X, residuals, converged, n_iter, method, precision, reason, rank, advice)


def product_seconds(system: System, columns: int, dtype: torch.dtype = torch.float32) -> float:
    """Predicted time of one product of many with A: from the operator's own plan, else as for a stored matrix."""
    planner = getattr(system.operator(dtype), "plan_for", None)
    if planner is not None:
        return float(planner(columns=columns, products=ITERATIONS).seconds) / ITERATIONS
    table = rates()
    itemsize = system.A.dtype.itemsize
    flops = 2.0 * system.n**2 * columns / table.gemm_flops * (table.double_cost if itemsize == 8 else 1.0)
    return float(max(itemsize * system.n**2 / table.memory, flops))


def cholesky_seconds(system: System, columns: int) -> float:
    """Predicted time of a solution by a float32 Cholesky factor and a few refinements."""
    factor = system.n**3 / 3 / (_SINGLE_FACTOR * rates().cholesky_flops)
    return factor + _REFINEMENTS * product_seconds(system, min(columns, 64), torch.float64) * -(-columns // 64)


def choose_method(system: System, columns: int) -> tuple[str, str, float]:
    """What to begin with, "cholesky" or "cg", why, and the predicted seconds of the alternative to cg (inf: none)."""
    n = system.n
    if n <= _SMALL:
        return "cholesky", f"up to n = {_SMALL} a Cholesky factorisation takes a fraction of a second", math.inf
    need = cholesky_bytes(n, torch.float32)
    if not fits_memory(need):
        reason = f"a Cholesky factor needs {format_bytes(need)}, the memory budget is {format_bytes(memory_budget())}"
        return "cg", reason, math.inf
    seconds = cholesky_seconds(system, columns)
    return "cg", f"expected to take less than a Cholesky factorisation, {format_seconds(seconds)}", seconds
