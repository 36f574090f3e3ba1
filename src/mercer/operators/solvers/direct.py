"""Solve with a stored float64 matrix: a Cholesky factorisation with refinement, or least squares by eigenvalues."""

import torch
from torch import Tensor

from mercer.config import require_memory
from mercer.operators.solvers.cg import block_cg
from mercer.operators.solvers.cholesky import NotPositiveDefinite, cholesky
from mercer.operators.solvers.methods import Attempt, Options, finish
from mercer.operators.solvers.system import System

__all__ = ["solve_by_cholesky", "solve_by_least_squares"]

_REFINEMENTS = 5
_REFINEMENTS_IN_SINGLE = 30
_DOUBLE = 4000  # rows up to which the factor is float64: refining costs as much as it saves
_BLOCK = 64  # right-hand sides refined at a time
_ADVICE = "Give a larger noise or a larger rtol; if A is not symmetric, solve with torch.linalg.solve instead."


def solve_by_cholesky(system: System, B: Tensor, options: Options, *, reason: str) -> Attempt:
    """Factorise in float32 and refine to float64 above n = 4000; where that does not do, factorise in float64.

    A matrix that is not positive definite gives an attempt that has not converged, with x = 0.
    """
    if system.n > _DOUBLE and options.precision != "float64":
        attempt = _by_single_factor(system, B, options, reason)
        if attempt is not None and attempt.converged:
            return attempt
    return _by_double_factor(system, B, options, reason)


def _by_single_factor(system: System, B: Tensor, options: Options, reason: str) -> Attempt | None:
    """A float32 factor as the preconditioner of conjugate gradients, which forgive more of it than plain refinement."""
    try:
        factor = cholesky(system, dtype=torch.float32)
    except NotPositiveDefinite:
        return None
    X, n_iter = torch.empty_like(B), 0
    for j in range(0, B.shape[1], _BLOCK):
        columns = slice(j, j + _BLOCK)
        state = block_cg(
            system, B[:, columns], rtol=0.8 * options.rtol, max_iter=_REFINEMENTS_IN_SINGLE, precondition=factor.solve
        )
        X[:, columns], n_iter = state.X, max(n_iter, state.n_iter)
        if state.stopped != "converged":
            return None
    precision = "float32 factor, refined with float64 residuals"
    return finish(
        system,
        B,
        X,
        rtol=options.rtol,
        method="cholesky",
        reason=reason,
        advice=_ADVICE,
        n_iter=n_iter,
        precision=precision,
    )


def _by_double_factor(system: System, B: Tensor, options: Options, reason: str) -> Attempt:
    rtol = options.rtol
    try:
        factor = cholesky(system)
    except NotPositiveDefinite as error:
        zero = torch.zeros_like(B)
        return finish(system, B, zero, rtol=rtol, method="cholesky", reason=reason, advice=str(error))
    X = factor.solve(B)
    attempt = finish(system, B, X, rtol=rtol, method="cholesky", reason=reason, advice=_ADVICE)
    for step in range(1, _REFINEMENTS + 1):
        if attempt.converged or not bool(torch.isfinite(X).all()):
            break
        X = X + factor.solve(B - system.product(X))
        refined = finish(system, B, X, rtol=rtol, method="cholesky", reason=reason, advice=_ADVICE, n_iter=step)
        if not refined.residual < attempt.residual:
            break
        attempt = refined
    return attempt


def solve_by_least_squares(system: System, B: Tensor, *, rtol: float, reason: str) -> Attempt:
    """The least-squares solution of least norm; eigenvalues below ``n * 2^-52`` of the largest count as zero.

    Raises:
        MemoryBudgetError: three matrices of float64 do not fit; before anything is allocated.
    """
    n = system.n
    require_memory(24 * n * n, asked=f"method='lstsq' for {n} x {n}", instead="Give a positive noise and method='cg'.")
    dense = system.block(slice(0, n), slice(0, n)).clone()
    dense.diagonal().add_(system.noise)
    if not bool(torch.isfinite(dense).all()):
        zero = torch.zeros_like(B)
        return finish(system, B, zero + torch.nan, rtol=rtol, method="lstsq", reason=reason, advice="")
    values, vectors = torch.linalg.eigh(dense)
    significant = values.abs() > n * torch.finfo(torch.float64).eps * values.abs().max()
    inverse = torch.where(significant, 1.0 / torch.where(significant, values, 1.0), 0.0)
    X = vectors @ (inverse[:, None] * (vectors.mT @ B))
    advice = (
        f"{n - int(significant.sum())} of {n} eigenvalues are zero to round-off and y has a part along them: no x can "
        f"do better; give a positive noise."
    )
    return finish(system, B, X, rtol=rtol, method="lstsq", reason=reason, advice=advice)
