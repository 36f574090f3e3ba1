"""Solve ``(A + noise I) x = y`` to a stated residual, by Cholesky or by conjugate gradients: the one that is faster."""

import itertools
import math
import os
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
from linear_operator import LinearOperator
from torch import Tensor

from mercer.arrays import broadcast_shapes, check_finite
from mercer.config import fits_memory
from mercer.errors import NotConverged, ShapeError
from mercer.operators.solvers.direct import solve_by_cholesky, solve_by_least_squares
from mercer.operators.solvers.iterative import solve_by_cg
from mercer.operators.solvers.methods import Attempt, Options, choose_method
from mercer.operators.solvers.structured import solve_by_structure, structure_of
from mercer.operators.solvers.system import Matrix, System

__all__ = ["Solution", "solve"]

Method = Literal["cholesky", "cg", "lstsq"]
_LEAST_SQUARES = 4000  # rows; an eigendecomposition takes ten times a Cholesky factorisation


@dataclass(frozen=True)
class Solution:
    """What :func:`solve` gives.

    Attributes:
        x: float64 whatever the input, in the shape of y (with the batch dimensions of A).
        residual: the largest of ``residuals``.
        n_iter: iterations of conjugate gradients, or steps of refinement after a Cholesky factorisation.
        converged: whether the residual, its own round-off included, is at most the ``rtol`` asked for.
        method: "cholesky", "cg" or "lstsq".
        precision: of the products: "float64", "float32 (residuals float64)" or where the first gave way to the second.
        reason: why this method, in a sentence.
        rank: of the preconditioner; 0 without.
        residuals: ``norm(y - (A + noise) x) / norm(y)`` of every column, recomputed at the end with A in float64;
            the shape of y without its rows.
        seconds: wall time.
    """

    x: Tensor
    residual: float
    n_iter: int
    converged: bool
    method: str
    precision: str
    reason: str
    rank: int
    residuals: Tensor
    seconds: float


@torch.no_grad()
def solve(
    A: Matrix,
    y: Tensor,
    *,
    noise: float | Tensor = 0.0,
    rtol: float = 1e-6,
    max_iter: int | None = None,
    method: Method | None = None,
    rank: int | None = None,
    initial: Tensor | None = None,
    precision: Literal["float64"] | None = None,
    random_state: Any = 0,
    preconditioner: Literal["pivoted_cholesky", "nystrom"] = "pivoted_cholesky",
    checkpoint: str | os.PathLike[str] | None = None,
    raise_on_failure: bool = True,
) -> Solution:
    """``x`` with ``(A + diag(noise)) x = y`` for a symmetric positive definite matrix that need not be stored.

    The residual in the answer is true: it is recomputed at the end with A in float64 (for a kernel matrix: formed in
    float64 from the points as given), however the answer was found. Not differentiable; :func:`solve_tensor` is.

    Args:
        A: ``(*batch, n, n)``, tensor or linear operator. Only symmetry is assumed.
        y: ``(n,)``, ``(n, t)`` or ``(*batch, n, t)``.
        noise: added to the diagonal: a number, one a row ``(n,)``, or one a row of every matrix ``(*batch, n)``.
        rtol: the relative residual asked for, of every column, in the Euclidean norm.
        max_iter: iterations of conjugate gradients; 1000 by default.
        method: "cholesky" (a float32 factor, ``4 n^2`` bytes, refined to float64; up to n = 4000, or where that fails,
            a float64 factor, ``8 n^2``), "cg" (stores ``n * rank`` numbers), "lstsq" (the least-squares solution of
            least norm of a singular system, by eigenvalues; ``24 n^2`` bytes). None takes Cholesky up to n = 4000 and
            cg above, and turns to Cholesky, where that fits the memory, as soon as it is predicted to be faster.
        rank: of the preconditioner; None lets it grow until its cost is half that of the iterations still expected.
        initial: a guess in the shape of y, for conjugate gradients.
        precision: "float64" forbids products in float32. By default they are used as long as they help.
        random_state: of the preconditioner's pivots or test vectors.
        preconditioner: of conjugate gradients. "pivoted_cholesky" reads rows of A; "nystrom" needs products only
            (:func:`nystrom`), for operators whose rows are dear.
        checkpoint: a file for the state of conjugate gradients, written every 30 seconds and at Ctrl-C. The same call
            goes on from it, to the same answer; it is removed at the end, and kept when ``max_iter`` was reached, to go
            on with more. For one matrix; a factorisation has none.
        raise_on_failure: False returns what was reached, with ``converged=False``.

    Raises:
        NotConverged: the residual was not reached; ``.solution`` is the best answer found.
        MemoryBudgetError: the method asked for does not fit; raised before anything is allocated.
        ShapeError, ValueError: shapes that do not fit, NaN or infinity in y, a negative noise, a checkpoint of
            another system.
        FileFormatError: a damaged checkpoint.

    Cost: Cholesky ``n^3 / 3`` multiplications; cg, for every iteration, one product with A and ``2 n rank`` more.

    >>> solution = solve(torch.diag(torch.tensor([4.0, 15.0])), torch.tensor([5.0, 16.0]), noise=1.0)
    >>> solution.x, solution.converged, solution.method
    (tensor([1., 1.], dtype=torch.float64), True, 'cholesky')
    """
    started = time.perf_counter()
    if precision not in (None, "float64"):
        raise ValueError(f"solve: precision must be 'float64' or None, not {precision!r}.")
    if preconditioner not in ("pivoted_cholesky", "nystrom"):
        raise ValueError(f"solve: preconditioner must be 'pivoted_cholesky' or 'nystrom', not {preconditioner!r}.")
    if checkpoint is not None and (A.ndim > 2 or method not in (None, "cg")):
        raise ValueError("solve: a checkpoint is of conjugate gradients on one matrix: no batch, method 'cg' or None.")
    _check(A, y, rtol=rtol, method=method, initial=initial, max_iter=max_iter, rank=rank)
    n, batch = A.shape[-1], torch.Size(A.shape[:-2])
    columns = (y.unsqueeze(-1) if y.ndim == 1 else y).to(torch.float64)
    start = None if initial is None else initial.to(torch.float64).reshape(columns.shape)
    options = Options(rtol, max_iter, method, rank, precision, random_state, preconditioner, checkpoint)
    if not batch:
        # A batch of right-hand sides of one matrix is more columns.
        shape = columns.movedim(-2, 0).shape
        flat = columns.movedim(-2, 0).flatten(1)
        guess = None if start is None else start.movedim(-2, 0).flatten(1)
        attempts = [_solve_one(System(A, noise), flat, guess, options)]
        x = attempts[0].x.reshape(shape).movedim(0, -2)
        residuals = attempts[0].residuals.reshape(shape[1:])
    else:
        batch = broadcast_shapes(batch, columns.shape[:-2])
        matrices, columns = A.expand(*batch, n, n), columns.expand(*batch, *columns.shape[-2:])
        noises = torch.as_tensor(noise, dtype=torch.float64)
        noises = noises.expand(*batch, n if noises.ndim else 1)
        guesses = None if start is None else start.expand(columns.shape)
        attempts = [
            _solve_one(System(matrices[i], noises[i]), columns[i], None if guesses is None else guesses[i], options)
            for i in itertools.product(*(range(size) for size in batch))
        ]
        x = torch.stack([attempt.x for attempt in attempts]).reshape(columns.shape)
        residuals = torch.stack([attempt.residuals for attempt in attempts]).reshape(*batch, -1)
    worst = max(attempts, key=lambda attempt: (not attempt.converged, attempt.residual))
    if y.ndim == 1:
        x, residuals = x.squeeze(-1), residuals.squeeze(-1)
    solution = Solution(
        x=x,
        residual=worst.residual,
        n_iter=max(attempt.n_iter for attempt in attempts),
        converged=worst.converged,
        method=worst.method,
        precision=worst.precision,
        reason=worst.reason,
        rank=worst.rank,
        residuals=residuals,
        seconds=time.perf_counter() - started,
    )
    if raise_on_failure and not solution.converged:
        raise NotConverged(
            f"solve: a relative residual of {rtol:.0e} was asked for, {worst.residual:.1e} was reached by "
            f"{worst.method} (n = {n}, {worst.n_iter} iterations). {worst.advice} "
            f"The best answer is in this error's .solution; raise_on_failure=False returns it.",
            solution,
        )
    return solution


def _solve_one(system: System, B: Tensor, initial: Tensor | None, options: Options) -> Attempt:
    """One matrix, B ``(n, t)``."""
    method, rtol = options.method, options.rtol
    direct = structure_of(system.A, system.noise) if method is None and not system.is_stored else None
    if B.numel() == 0:
        nothing = B.new_zeros(B.shape[1])
        return Attempt(B.clone(), nothing, True, 0, method or "cholesky", "float64", "nothing to solve", 0, "")
    if direct is not None and system.n >= direct.least_rows:
        attempt = solve_by_structure(system, B, options, direct)
        if attempt.converged:
            return attempt
    chosen, reason, alternative = (method, "asked for", math.inf) if method else choose_method(system, B.shape[1])
    if chosen == "lstsq":
        return solve_by_least_squares(system, B, rtol=rtol, reason=reason)
    best = None
    if chosen == "cg":
        best = solve_by_cg(system, B, initial, options, reason=reason, alternative_seconds=alternative)
        if best.converged or math.isinf(alternative):
            return best
        reason = best.reason
    attempt = solve_by_cholesky(system, B, options, reason=reason)
    if method is None and not attempt.converged and system.n <= _LEAST_SQUARES and fits_memory(24 * system.n**2):
        reason = "the Cholesky factorisation did not reach the residual"
        attempt = min(
            attempt,
            solve_by_least_squares(system, B, rtol=rtol, reason=reason),
            key=lambda a: (not a.converged, a.residual if math.isfinite(a.residual) else math.inf),
        )
    return attempt if best is None or not best.residual < attempt.residual else best


def _check(
    A: Matrix,
    y: Tensor,
    *,
    rtol: float,
    method: str | None,
    initial: Tensor | None,
    max_iter: int | None,
    rank: int | None,
) -> None:
    """Everything that can be wrong with the arguments, before any work."""
    if not isinstance(A, (Tensor, LinearOperator)):
        raise TypeError(f"solve: A must be a tensor or a linear operator, not {type(A).__name__}.")
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ShapeError(f"solve: A must be square, but has shape {tuple(A.shape)}.")
    n, batch = A.shape[-1], tuple(A.shape[:-2])
    if not isinstance(y, Tensor):
        raise TypeError(f"solve: y must be a tensor, not {type(y).__name__}. Use torch.as_tensor(y).")
    if y.ndim == 0 or y.shape[0 if y.ndim == 1 else -2] != n:
        raise ShapeError(f"solve: A is {n} x {n}, so y needs {n} rows, but has shape {tuple(y.shape)}.")
    if y.ndim == 1 and batch:
        raise ShapeError(f"solve: A is a batch {batch} of matrices, so y must be ({n}, t) or (*batch, {n}, t).")
    check_finite(y, "solve: y")
    if initial is not None and initial.shape != y.shape:
        raise ShapeError(f"solve: initial must have the shape of y, {tuple(y.shape)}, but has {tuple(initial.shape)}.")
    if not 0.0 < rtol < 1.0:
        raise ValueError(f"solve: rtol must be between 0 and 1, not {rtol}.")
    if method not in (None, "cholesky", "cg", "lstsq"):
        raise ValueError(f"solve: method must be 'cholesky', 'cg', 'lstsq' or None, not {method!r}.")
    for name, value in (("max_iter", max_iter), ("rank", rank)):
        if value is not None and value < 0:
            raise ValueError(f"solve: {name} must be 0 or more, not {value}.")
