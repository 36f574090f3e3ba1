"""Block conjugate gradients: several right-hand sides in one Krylov space, with true residuals and mixed precision."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mercer.operators.system import System

__all__ = ["Progress", "block_cg"]

_DROP = {torch.float32: 1e-2, torch.float64: 1e-6}  # how far the residual may fall between two true ones
_STALLED = 0.2  # a true residual that fell by less than this, where 1e-2 was promised: the products are too coarse


@dataclass
class Progress:
    """What block_cg has reached; the answer it returns and what its ``watch`` is shown.

    Attributes:
        X: ``(n, t)`` solution.
        residual: ``(t,)`` relative residuals; true ones (float64 products) once block_cg has returned.
        n_iter: block iterations.
        products: number of products in float32 and in float64, true residuals included.
        switched_at: the iteration at which float32 products had stopped helping, or None.
        history: the largest relative residual after every iteration.
        stopped: why it ended: "converged", "max_iter", "stagnation", "breakdown" or "given up".
    """

    X: Tensor
    residual: Tensor
    n_iter: int = 0
    products: dict[str, int] = field(default_factory=lambda: {"float32": 0, "float64": 0})
    switched_at: int | None = None
    history: list[float] = field(default_factory=list)
    stopped: str = ""


def block_cg(
    system: System,
    B: Tensor,
    *,
    rtol: float,
    max_iter: int,
    precondition: Callable[[Tensor], Tensor],
    initial: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    watch: Callable[[Progress], bool] | None = None,
) -> Progress:
    """Solve ``system @ X = B`` for B ``(n, t)``; columns that have converged leave the block.

    All vectors are float64. In float32 mode only the product with A is rounded: whenever the residual has fallen by
    100, the true one is computed in float64 and the iteration goes on from it without losing its directions. When a
    true residual has not followed, the products become float64.

    Args:
        rtol: for ``norm(b - A x) / norm(b)`` of every column.
        max_iter: block iterations.
        precondition: gives ``P^-1 V``.
        initial: ``(n, t)`` start; zero by default.
        dtype: of the first products: float32 or float64.
        watch: called after every iteration; True ends the iteration ("given up").

    Source: Ji & Li, A breakdown-free block conjugate gradient method, BIT 57 (2017), algorithm 2; residual
    replacement: van der Vorst & Ye, SIAM J. Sci. Comput. 22 (2000).
    """
    norms = torch.linalg.vector_norm(B, dim=0)
    norms = torch.where(norms > 0, norms, 1.0)
    dtype = dtype if system.has_single else torch.float64
    X = torch.zeros_like(B) if initial is None else initial.clone()
    R = B.clone()
    state = Progress(X, torch.ones_like(norms))

    def multiply(V: Tensor, kind: torch.dtype) -> Tensor:
        state.products["float32" if kind == torch.float32 else "float64"] += 1
        return system.product(V, dtype=kind)

    def relative(columns: Tensor) -> Tensor:
        result: Tensor = torch.linalg.vector_norm(R[:, columns], dim=0) / norms[columns]
        return result

    if initial is not None:
        R = B - multiply(X, torch.float64)
    everything = torch.arange(B.shape[1], device=B.device)
    state.residual = relative(everything)
    verified = state.residual.clone()  # the last true residuals
    is_true = True  # nothing has been updated since
    active = everything[~(state.residual <= rtol)]
    Q, AQ, factor = None, None, None
    while True:
        if not len(active):
            state.stopped = "converged"
            break
        if not bool(torch.isfinite(state.residual).all()):
            state.stopped = "breakdown"
            break
        if state.n_iter >= max_iter:
            state.stopped = "max_iter"
            break
        Z = precondition(R[:, active])
        if Q is not None and AQ is not None and factor is not None:
            Z = Z - Q @ torch.cholesky_solve(AQ.mT @ Z, factor)
        Q = _basis(Z)
        AQ = multiply(Q, dtype)
        factor, failed = torch.linalg.cholesky_ex(_symmetric(Q.mT @ AQ))
        if int(failed) or not bool(torch.isfinite(factor).all()):
            if dtype == torch.float64:
                state.stopped = "breakdown"
                break
            # Rounded to float32 the matrix is not positive definite any more.
            dtype, state.switched_at, Q = torch.float64, state.n_iter, None
            R[:, active] = B[:, active] - multiply(X[:, active], dtype)
            continue
        step = torch.cholesky_solve(Q.mT @ R[:, active], factor)
        X[:, active] += Q @ step
        R[:, active] -= AQ @ step
        state.n_iter += 1
        is_true = False
        state.residual[active] = relative(active)
        state.history.append(float(state.residual.max()))
        if watch is not None and watch(state):
            state.stopped = "given up"
            break
        fell = state.residual[active] <= (_DROP[dtype] * verified[active]).clamp(min=rtol)
        if bool(fell.any()):
            R[:, active] = B[:, active] - multiply(X[:, active], torch.float64)
            true = relative(active)
            stalled = bool((fell & (true > rtol) & (true > _STALLED * verified[active])).any())
            state.residual[active] = verified[active] = true
            is_true = True
            if stalled and dtype == torch.float64:
                state.stopped = "stagnation"
                break
            if stalled:
                dtype, state.switched_at = torch.float64, state.n_iter
            active = active[~(true <= rtol)]
    if not is_true:
        R[:, active] = B[:, active] - multiply(X[:, active], torch.float64)
        state.residual[active] = relative(active)
    return state


def _symmetric(H: Tensor) -> Tensor:
    return 0.5 * (H + H.mT)


def _basis(P: Tensor) -> Tensor:
    """A well-conditioned basis of the columns of P; columns that depend on others to 1e-10 are dropped."""
    P = P / torch.linalg.vector_norm(P, dim=0).clamp(min=1e-300)
    if P.shape[1] == 1:
        return P
    values, vectors = torch.linalg.eigh(P.mT @ P)
    kept = values > 1e-10 * values[-1]
    basis: Tensor = P @ (vectors[:, kept] / values[kept].sqrt())
    return basis
