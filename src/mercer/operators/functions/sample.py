"""Draws from a normal distribution whose covariance need not be stored."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.config import fits_memory, memory_budget
from mercer.errors import NotConverged
from mercer.operators.solvers import (
    Matrix,
    NotPositiveDefinite,
    PivotedCholesky,
    Preconditioner,
    System,
    build_preconditioner,
    cholesky,
    pivoted_cholesky,
    structure_of,
)
from mercer.progress import Progress, track

__all__ = ["Draws", "sample"]

_EXACT = 4000  # rows up to which a Cholesky factorisation is quick
_MAX_RANK = 4000
_SAMPLES = 16  # at a time: each keeps a Lanczos basis of its own


@dataclass(frozen=True)
class Draws:
    """What :func:`sample` gives.

    Attributes:
        values: ``(n_samples, n)`` float64.
        error: how far the covariance of the draws is from the one asked for, relative to its mean diagonal: the jitter
            of a Cholesky factor, the trace that a pivoted factor has missed, or the last change of a Lanczos draw.
        method: "cholesky", "pivoted", "lanczos", or what a plan with structure has of its own.
        rank: columns of the pivoted factor or of the preconditioner; 0 with Cholesky.
    """

    values: Tensor
    error: float
    method: str
    rank: int


@torch.no_grad()
def sample(
    A: Matrix,
    n_samples: int = 1,
    *,
    noise: float | Tensor = 0.0,
    rtol: float = 1e-4,
    max_iter: int = 200,
    method: Literal["cholesky", "pivoted", "lanczos"] | None = None,
    rank: int | None = None,
    random_state: Any = None,
) -> Draws:
    """Draws of ``N(0, A + diag(noise))``.

    Args:
        A: ``(n, n)``, symmetric positive semidefinite, singular or not: tensor or linear operator.
        n_samples: how many, independent.
        noise: a number or ``(n,)``.
        rtol: the largest ``error`` to accept of the last two methods.
        max_iter: Lanczos steps.
        method: "cholesky" (``L u``; ``8 n^2`` bytes), "pivoted" (``F u`` with a pivoted Cholesky factor; smooth kernels
            in few dimensions), "lanczos" (``P^1/2 (P^-1/2 A P^-1/2)^1/2 u`` with a preconditioner P). None: Cholesky up
            to n = 4000, then the pivoted factor if it gets to ``rtol``, then Lanczos.
        rank: of the pivoted factor or the preconditioner; chosen if None.
        random_state: int, generator or None.

    Raises:
        NotConverged: ``error`` is above ``rtol``; ``.solution`` is the :class:`Draws` reached.

    Source: Lanczos square roots: Chow & Saad, SIAM J. Sci. Comput. 36 (2014).

    >>> sample(torch.eye(3), 5, random_state=0).values.shape
    torch.Size([5, 3])
    """
    system = System(A, noise)
    draw = generator(random_state)
    if n_samples < 1:
        raise ValueError(f"sample: n_samples must be 1 or more, not {n_samples}.")
    if method is None and (direct := structure_of(A, system.noise)) is not None:
        noise_root = system.noise.sqrt().expand(system.n)[:, None]
        values = direct.sample(n_samples, draw) + noise_root * _white(system.n, n_samples, draw, system.device)
        return Draws(values.mT, direct.error, direct.name, 0)
    if method is None and system.n <= _EXACT:
        method = "cholesky"
    if method == "cholesky":
        return _by_cholesky(system, n_samples, draw)
    if method != "lanczos":
        largest = rank or _largest_rank(system.n)
        trace = float(system.diagonal().sum())
        factor = pivoted_cholesky(system, largest, tolerance=rtol * trace, random_state=draw)
        draws = _by_factor(system, factor, n_samples, draw, trace)
        if draws.error <= rtol or method == "pivoted":
            return _checked(draws, rtol, "rank")
        del factor
    P = build_preconditioner(system, rtol=rtol, columns=n_samples, rank=rank, random_state=draw)
    return _checked(_by_lanczos(system, P, n_samples, draw, rtol, max_iter), rtol, "max_iter or rank")


def _largest_rank(n: int) -> int:
    """Of a factor that takes a quarter of the memory budget."""
    most = min(n, _MAX_RANK)
    return most if fits_memory(4 * 8 * n * most) else max(1, memory_budget() // (4 * 8 * n))


def _by_cholesky(system: System, n_samples: int, draw: torch.Generator) -> Draws:
    """``L u``; a singular matrix gets the least jitter of a few that makes it positive definite."""
    scale = float(system.diagonal().abs().mean())
    for jitter in (0.0, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10):
        try:
            factor = cholesky(System(system.A, system.noise + jitter * system.n * scale), description="sample")
        except NotPositiveDefinite as error:
            last = error
            continue
        white = _white(system.n, n_samples, draw, system.device)
        return Draws(factor.multiply_lower(white).mT, jitter * system.n, "cholesky", 0)
    raise last


def _by_factor(system: System, factor: PivotedCholesky, n_samples: int, draw: torch.Generator, trace: float) -> Draws:
    values = factor.factor @ _white(factor.rank, n_samples, draw, system.device)
    extra = system.noise.sqrt().expand(system.n)[:, None] * _white(system.n, n_samples, draw, system.device)
    return Draws((values + extra).mT, float(factor.remainder.sum()) / max(trace, 1e-300), "pivoted", factor.rank)


def _by_lanczos(
    system: System, P: Preconditioner, n_samples: int, draw: torch.Generator, rtol: float, max_iter: int
) -> Draws:
    values = torch.empty(n_samples, system.n, dtype=torch.float64, device=system.device)
    error = 0.0
    progress: Progress[int] = track(None, description="sample")
    with progress:
        for i in range(0, n_samples, _SAMPLES):
            white = _white(system.n, min(_SAMPLES, n_samples - i), draw, system.device)
            part, change = _root_times(system, P, white, rtol, max_iter, progress)
            values[i : i + _SAMPLES] = part.mT
            error = max(error, change)
    return Draws(values, error, "lanczos", P.rank)


def _root_times(
    system: System, P: Preconditioner, U: Tensor, rtol: float, max_iter: int, progress: Progress[int]
) -> tuple[Tensor, float]:
    """``P^1/2 M^1/2 u`` for the columns of U, with ``M = P^-1/2 (A + noise) P^-T/2``, and its last relative change."""
    half, inverse_half = P.roots()
    norms = torch.linalg.vector_norm(U, dim=0)
    basis = [U / norms]
    diagonal: list[Tensor] = []
    off_diagonal: list[Tensor] = []
    weights = U.new_zeros(0, U.shape[1])
    change = float("inf")
    for _ in range(min(max_iter, system.n)):
        image = inverse_half(system.product(inverse_half(basis[-1], transposed=True)))
        diagonal.append((basis[-1] * image).sum(0))
        T = torch.diag_embed(torch.stack(diagonal, 1))
        if off_diagonal:
            between = torch.stack(off_diagonal, 1)
            T = T + torch.diag_embed(between, 1) + torch.diag_embed(between, -1)
        values, vectors = torch.linalg.eigh(T)
        root = (vectors * values.clamp(min=0.0).sqrt().unsqueeze(-2)) @ vectors[:, 0, :, None]
        longer = root.squeeze(-1).mT  # (k, samples)
        change = float(
            torch.linalg.vector_norm(torch.cat([longer[:-1] - weights, longer[-1:]]), dim=0).max()
            / torch.linalg.vector_norm(longer, dim=0).min()
        )
        weights = longer
        progress.advance(note=f"change {change:.0e}")
        if change <= rtol:
            break
        for _ in range(2):  # full reorthogonalisation, twice for round-off
            for q in basis:
                image = image - (q * image).sum(0) * q
        length = torch.linalg.vector_norm(image, dim=0)
        if bool((length <= 1e-12).any()):
            change = 0.0
            break
        off_diagonal.append(length)
        basis.append(image / length)
    combined = sum((q * w for q, w in zip(basis, weights, strict=False)), torch.zeros_like(U))
    return half(combined * norms), change


def _checked(draws: Draws, rtol: float, change: str) -> Draws:
    if draws.error <= rtol:
        return draws
    raise NotConverged(
        f"sample: an error of {rtol:.0e} was asked for, {draws.error:.1e} was reached by method '{draws.method}' with "
        f"rank {draws.rank}. Give a larger {change}, or a larger rtol.",
        draws,
    )


def _white(n: int, columns: int, draw: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal ``(n, columns)``, drawn on the CPU: the same on every device."""
    return torch.randn(n, columns, dtype=torch.float64, generator=draw).to(device)
