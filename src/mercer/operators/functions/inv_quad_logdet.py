"""``y' M^-1 y`` and ``log det M`` in one pass, with gradients: what a Gaussian process's marginal likelihood needs."""

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mercer.arrays import broadcast_shapes, generator
from mercer.errors import NotConverged, ShapeError
from mercer.operators.functions.control_variate import preconditioner_slope
from mercer.operators.functions.representation import tracks_gradient
from mercer.operators.solvers import (
    LanczosSolve,
    Matrix,
    Preconditioner,
    System,
    block_cg,
    build_preconditioner,
    check_noise,
    dense_inv_quad_logdet,
    lanczos_solve,
    quadrature,
    rounding_ratio,
    structure_of,
)
from mercer.progress import Progress, track

__all__ = ["InvQuadLogdet", "inv_quad_logdet"]

_EXACT = 4000  # rows up to which a Cholesky factorisation is quicker than enough probes
_PROBE_RTOL = 1e-3  # enters the log-determinant squared and the gradient once; the probes' own spread is larger
_MAX_ITER = 1000


@dataclass(frozen=True)
class InvQuadLogdet:
    """What :func:`inv_quad_logdet` gives, for ``M = A + diag(noise)``.

    Attributes:
        inv_quad: ``y' M^-1 y`` for every column of y, ``(*batch, t)`` or ``(*batch,)`` for a vector; differentiable.
        logdet: the natural logarithm of det M, ``(*batch,)``; differentiable.
        standard_error: of ``logdet`` over the probes, ``(*batch,)``; 0 where it is exact.
        x: ``M^-1 y`` in the shape of y (with the batch of A); not differentiable.
        method: "cholesky", "lanczos", or what a plan with structure has of its own: "weights", "kronecker".
        n_iter: iterations; 0 with Cholesky.
        rank: of the preconditioner; 0 with Cholesky.
    """

    inv_quad: Tensor
    logdet: Tensor
    standard_error: Tensor
    x: Tensor
    method: str
    n_iter: int
    rank: int


def inv_quad_logdet(
    A: Matrix,
    y: Tensor,
    *,
    noise: float | Tensor = 0.0,
    rtol: float = 1e-6,
    n_probes: int = 10,
    max_iter: int | None = None,
    method: Literal["cholesky", "lanczos"] | None = None,
    rank: int | None = None,
    random_state: Any = 0,
) -> InvQuadLogdet:
    """``y' M^-1 y`` and ``log det M`` for ``M = A + diag(noise)``, symmetric positive definite, in float64.

    With Lanczos, one run of preconditioned conjugate gradients on y and the probes together gives everything: the
    solution, the quadrature of the logarithm, and the vectors of the gradient. Probes are drawn from N(0, P), P being
    the preconditioner, so that only ``tr log(P^-1/2 M P^-1/2)`` is estimated and log det P is exact; likewise for the
    gradient. With Cholesky the result can be differentiated twice, with Lanczos once.

    Args:
        A: ``(*batch, n, n)``, tensor or linear operator.
        y: ``(n,)``, ``(n, t)`` or ``(*batch, n, t)``; ``(n, 0)`` for the log-determinant alone.
        noise: a number, ``(n,)`` or ``(*batch, n)``; differentiable too.
        rtol: relative residual of the solution for y; the true one, as in :func:`solve`.
        n_probes: the standard error falls with its square root; so does that of the gradient.
        max_iter: 1000 by default.
        method: "cholesky" (exact; ``32 n^2`` bytes), "lanczos", or by size (exact up to n = 4000).
        rank: of the preconditioner; chosen if None.
        random_state: of pivots and probes. Keep it fixed while hyperparameters are optimised.

    Raises:
        NotConverged: ``rtol`` was not reached; or, as NotPositiveDefinite, M is not positive definite.

    Source: Gardner et al., GPyTorch (2018); variance reduction: Wenger et al., Preconditioning for scalable Gaussian
    process hyperparameter optimization (2022); quadrature: Ubaru, Chen & Saad, SIAM J. Matrix Anal. 38 (2017).

    >>> inv_quad_logdet(torch.eye(3), torch.ones(3), noise=1.0).inv_quad
    tensor(1.5000, dtype=torch.float64)
    """
    n, batch = A.shape[-1], torch.Size(A.shape[:-2])
    _check(A, y, n_probes, method)
    columns = (y.unsqueeze(-1) if y.ndim == 1 else y).to(torch.float64)
    variance = torch.as_tensor(noise, dtype=torch.float64, device=y.device)
    batch = broadcast_shapes(batch, columns.shape[:-2])
    matrices, columns = (A.expand(*batch, n, n) if batch else A), columns.expand(*batch, *columns.shape[-2:])
    check_noise(variance.reshape(-1)[:n] if variance.ndim > 1 else variance, n, y.device)
    n_iter, used_rank = 0, 0
    used: str = method or "lanczos"
    direct = structure_of(A, variance) if method is None and not batch else None
    if direct is not None:
        used = direct.name
        quad, logdet, error = direct.inv_quad_logdet(columns, variance)
        x = direct.solve(columns.detach(), variance.detach())
    elif method == "cholesky" or (method is None and n <= _EXACT):
        used = "cholesky"
        quad, logdet, x = dense_inv_quad_logdet(matrices, columns, variance)
        error = torch.zeros_like(logdet)
    else:
        options = _Options(rtol, n_probes, _MAX_ITER if max_iter is None else max_iter, rank, random_state)
        variances = variance.expand(*batch, n) if variance.ndim and batch else variance
        parts = [
            _one(matrices[i], columns[i], variances[i] if variances.ndim > 1 else variances, options)
            for i in itertools.product(*(range(size) for size in batch))
        ]
        quad, logdet, error, x = (
            torch.stack([getattr(part, name) for part in parts]).reshape((*batch, *getattr(parts[0], name).shape))
            for name in ("inv_quad", "logdet", "standard_error", "x")
        )
        n_iter, used_rank = max(part.n_iter for part in parts), parts[0].rank
    if y.ndim == 1:
        quad, x = quad.squeeze(-1), x.squeeze(-1)
    return InvQuadLogdet(quad, logdet, error, x, used, n_iter, used_rank)


@dataclass(frozen=True)
class _Options:
    rtol: float
    n_probes: int
    max_iter: int
    rank: int | None
    random_state: Any


def _one(A: Matrix, y: Tensor, noise: Tensor, options: _Options) -> InvQuadLogdet:
    """One matrix by conjugate gradients, with the gradient attached to the numbers."""
    with torch.no_grad():
        system = System(A, noise)
        n, t = y.shape
        draw = generator(options.random_state)
        P = build_preconditioner(system, rtol=options.rtol, columns=t, rank=options.rank, random_state=draw)
        Z = P.sample(options.n_probes, draw)  # (n, probes)
        run = _run(system, torch.cat([y.detach(), Z], 1), P, t, options)
        x, residual = _polish(system, y.detach(), run.X[:, :t], P, options)
        probes = LanczosSolve(run.X[:, t:], run.diagonal[t:], run.off_diagonal[t:], run.n_iter, False)
        estimates = n * quadrature(probes, torch.log)
        logdet = P.logdet() + estimates.mean()
        error = (
            estimates.std() / math.sqrt(options.n_probes) if options.n_probes > 1 else estimates.new_tensor(math.inf)
        )
        # The residual enters to second order only: y' M^-1 y = y' x + r' x + r' M^-1 r.
        quad = ((y + residual) * x).sum(0)
        V = P.solve(Z)
        # On the sphere instead of with Gaussian lengths, as the quadrature does.
        weights = n / (options.n_probes * (Z * V).sum(0))
        W = probes.X * weights
    if tracks_gradient(A, y, noise):
        left, right = torch.cat([-x, W], 1), torch.cat([x, V], 1)
        products = (left * (A @ right.to(A.dtype)).to(torch.float64)).sum(0) + (noise * (left * right).mT).sum(-1)
        slope = 2.0 * (x * y).sum(0) + products[:t]
        quad = quad + slope - slope.detach()
        slope = products[t:].sum() + preconditioner_slope(A, noise, P, V, weights)
        logdet = logdet + slope - slope.detach()
    return InvQuadLogdet(quad, logdet, error, x, "lanczos", run.n_iter, P.rank)


def _run(system: System, B: Tensor, P: Preconditioner, t: int, options: _Options) -> LanczosSolve:
    """Conjugate gradients on y and probes in float32 products, in float64 where those are too coarse for the probes."""
    rtol = torch.full((B.shape[1],), _PROBE_RTOL, dtype=torch.float64, device=B.device)
    rtol[:t] = options.rtol
    progress: Progress[int] = track(None, description="log-determinant")
    with progress:
        for dtype in _precisions(system, B[:, t:], P):

            def watch(n_iter: int, ratio: float) -> None:
                progress.advance(note=f"residual {ratio:.0e} of what is asked")

            run = lanczos_solve(system, B, P, rtol=rtol, max_iter=options.max_iter, dtype=dtype, watch=watch)
            if not run.broke_down:
                residual = torch.linalg.vector_norm((B - system.product(run.X))[:, t:], dim=0)
                if bool((residual <= 5.0 * _PROBE_RTOL * torch.linalg.vector_norm(B[:, t:], dim=0)).all()):
                    return run
    if run.broke_down:
        raise NotConverged("log-determinant: A + noise is not positive definite to round-off. Give a larger noise.")
    raise NotConverged(
        f"log-determinant: the probes did not reach a residual of {_PROBE_RTOL:.0e} in {run.n_iter} iterations with "
        f"rank {P.rank}. Give a larger noise, rank or max_iter."
    )


def _precisions(system: System, Z: Tensor, P: Preconditioner) -> tuple[torch.dtype, ...]:
    """What to try in turn: float32 only where its rounding leaves the probes their digits."""
    if not system.has_single:
        return (torch.float64,)
    V = P.solve(Z)
    ratio = rounding_ratio(V, system.product(V), system.product(V, dtype=torch.float32), P.solve)
    return (torch.float32, torch.float64) if ratio <= _PROBE_RTOL else (torch.float64,)


def _polish(system: System, y: Tensor, x: Tensor, P: Preconditioner, options: _Options) -> tuple[Tensor, Tensor]:
    """The solution for y to its true residual, which is returned too."""
    state = block_cg(
        system, y, rtol=options.rtol, max_iter=options.max_iter, precondition=P.solve, initial=x, dtype=torch.float32
    )
    reached = float(state.residual.max()) if y.shape[1] else 0.0
    if not reached <= options.rtol:
        raise NotConverged(
            f"inv_quad_logdet: a relative residual of {options.rtol:.0e} was asked for, {reached:.1e} "
            f"was reached with rank {P.rank}. Give a larger noise, rank, max_iter or rtol.",
            state.X,
        )
    return state.X, y - system.product(state.X)


def _check(A: Matrix, y: Tensor, n_probes: int, method: str | None) -> None:
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ShapeError(f"inv_quad_logdet: A must be square, but has shape {tuple(A.shape)}.")
    n = A.shape[-1]
    if y.ndim == 0 or y.shape[0 if y.ndim == 1 else -2] != n or (y.ndim == 1 and A.ndim > 2):
        raise ShapeError(f"inv_quad_logdet: A is {tuple(A.shape)}, so y of shape {tuple(y.shape)} does not fit.")
    if n_probes < 1:
        raise ValueError(f"inv_quad_logdet: n_probes must be 1 or more, not {n_probes}.")
    if method not in (None, "cholesky", "lanczos"):
        raise ValueError(f"inv_quad_logdet: method must be 'cholesky', 'lanczos' or None, not {method!r}.")
