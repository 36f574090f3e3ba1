"""Lanczos: conjugate gradients that remember their coefficients, and what those say about functions of a matrix."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.operators.solvers.system import Inverse, Products

__all__ = ["LanczosSolve", "lanczos_solve", "quadrature"]


@dataclass(frozen=True)
class LanczosSolve:
    """Solutions of ``A X = B``, column by column, with the tridiagonal matrices met on the way.

    Attributes:
        X: ``(n, t)``.
        diagonal: ``(t, k)`` of the Lanczos matrices of ``P^-1/2 A P^-1/2``, started at ``P^-1/2 b``; 1 past the end.
        off_diagonal: ``(t, k - 1)``; 0 past the end.
        n_iter: the most iterations of any column.
        broke_down: whether the matrix turned out not to be positive definite at this precision.
    """

    X: Tensor
    diagonal: Tensor
    off_diagonal: Tensor
    n_iter: int
    broke_down: bool


def lanczos_solve(
    system: Products,
    B: Tensor,
    P: Inverse,
    *,
    rtol: Tensor,
    max_iter: int,
    dtype: torch.dtype = torch.float32,
    watch: Callable[[int, float], None] | None = None,
) -> LanczosSolve:
    """Preconditioned conjugate gradients for all columns at once, each with its own coefficients.

    Args:
        B: ``(n, t)`` float64.
        rtol: ``(t,)``, relative residual by recurrence; a column that is there takes no part any more.
        dtype: of the products with A; all vectors are float64.
        watch: told the iteration and the largest residual over tolerance.

    Source: Saad, Iterative Methods for Sparse Linear Systems (2003), section 6.7.3; with several right-hand sides and
    a preconditioner: Gardner et al., GPyTorch (2018), algorithm 2.
    """
    t = B.shape[1]
    X, R = torch.zeros_like(B), B.clone()
    norms = torch.linalg.vector_norm(B, dim=0)
    Z = P.solve(R)
    D = Z.clone()
    rho = (R * Z).sum(0)
    active = (norms > 0).nonzero().squeeze(1)
    diagonal, off_diagonal = [], []
    alpha, beta = torch.ones_like(rho), torch.zeros_like(rho)
    n_iter, broke_down = 0, False
    while len(active) and n_iter < max_iter:
        AD = system.product(D[:, active], dtype=dtype)
        curvature = (D[:, active] * AD).sum(0)
        if not bool((curvature > 0).all()):
            broke_down = True
            break
        step = rho[active] / curvature
        entry, next_off = B.new_ones(t), B.new_zeros(t)
        entry[active] = 1.0 / step + beta[active] / alpha[active]
        X[:, active] += step * D[:, active]
        R[:, active] -= step * AD
        Z = P.solve(R[:, active])
        rho_next = (R[:, active] * Z).sum(0)
        ratio = rho_next / rho[active]
        next_off[active] = ratio.clamp(min=0.0).sqrt() / step
        alpha[active], beta[active], rho[active] = step, ratio, rho_next
        D[:, active] = Z + ratio * D[:, active]
        diagonal.append(entry)
        n_iter += 1
        residual = torch.linalg.vector_norm(R[:, active], dim=0) / norms[active]
        if watch is not None:
            watch(n_iter, float((residual / rtol[active]).max()))
        going = residual > rtol[active]
        # What has ended must not be coupled to the ones that fill its matrix up.
        next_off[active[~going]] = 0.0
        off_diagonal.append(next_off)
        active = active[going]
    if not diagonal:
        return LanczosSolve(X, B.new_ones(t, 1), B.new_zeros(t, 0), 0, broke_down)
    return LanczosSolve(
        X,
        torch.stack(diagonal, 1),
        torch.stack(off_diagonal[:-1], 1) if n_iter > 1 else B.new_zeros(t, 0),
        n_iter,
        broke_down,
    )


def quadrature(run: LanczosSolve, function: Callable[[Tensor], Tensor]) -> Tensor:
    """``u' f(M) u`` for the unit start vectors u of the Lanczos runs, ``(t,)``, by Gauss quadrature."""
    T = torch.diag_embed(run.diagonal)
    if run.off_diagonal.shape[1]:
        T = T + torch.diag_embed(run.off_diagonal, 1) + torch.diag_embed(run.off_diagonal, -1)
    values, vectors = torch.linalg.eigh(T)
    values = values.clamp(min=torch.finfo(torch.float64).tiny)
    result: Tensor = (vectors[:, 0, :].square() * function(values)).sum(-1)
    return result
