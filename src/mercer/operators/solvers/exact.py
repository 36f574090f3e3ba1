"""Quadratic forms and log-determinants of stored matrices by Cholesky, with their gradients."""

from typing import Any

import torch
from torch import Tensor

from mercer.config import require_memory
from mercer.operators.solvers.cholesky import CholeskyFactor, NotPositiveDefinite, cholesky
from mercer.operators.solvers.system import Matrix, System

__all__ = ["dense_inv_quad_logdet"]

_IN_PANELS = 5000  # rows above which a factorisation must not block the keyboard


def dense_inv_quad_logdet(A: Matrix, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``y' M^-1 y`` of every column, ``log det M`` and ``M^-1 y`` for ``M = A + diag(noise)``, all in float64.

    The first two are differentiable, twice if need be.

    Args:
        A: ``(*batch, n, n)``, tensor or linear operator.
        y: ``(*batch, n, t)`` float64.
        noise: ``()`` or ``(..., n)`` float64.

    Returns:
        ``(*batch, t)``, ``(*batch,)`` and ``(*batch, n, t)``.

    Raises:
        MemoryBudgetError: before anything is allocated.
        NotPositiveDefinite: the factorisation failed.
    """
    n = A.shape[-1]
    require_memory(
        4 * 8 * A.shape.numel(),
        asked=f"An exact log-determinant of {tuple(A.shape)} with its gradient",
        instead="Use method='lanczos', which stores nothing of size n x n.",
    )
    dense = (A if isinstance(A, Tensor) else A.to_dense()).to(torch.float64)
    dense = dense + torch.diag_embed(noise.expand(*noise.shape[:-1], n))
    quad, logdet, x, _ = _InvQuadLogdet.apply(dense, y)  # type: ignore[no-untyped-call]
    return quad, logdet, x


class _InvQuadLogdet(torch.autograd.Function):
    @staticmethod
    def forward(M: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if _is_large(M):
            lower = cholesky(System(M)).buffer
        else:
            lower, failed = torch.linalg.cholesky_ex(M)
            if bool(failed.any()):
                raise NotPositiveDefinite(int(failed.max()) - 1, M.shape[-1])
        x = CholeskyFactor(lower).solve(y) if _is_large(M) else torch.cholesky_solve(y, lower)
        logdet = 2.0 * lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return (y * x).sum(-2), logdet, x, lower

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        _, _, x, lower = output
        ctx.mark_non_differentiable(x, lower)
        ctx.save_for_backward(*inputs, x, lower)

    @staticmethod
    def backward(ctx: Any, by_quad: Tensor, by_logdet: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        M, y, x, lower = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again: from M, not from what was kept
            lower = torch.linalg.cholesky(M)
            x = torch.cholesky_solve(y, lower)
        if _is_large(M) and not torch.is_grad_enabled():
            inverse = CholeskyFactor(lower).solve(torch.eye(len(M), dtype=M.dtype, device=M.device))
        else:
            inverse = torch.cholesky_inverse(lower)
        by_M = by_logdet[..., None, None] * inverse - (x * by_quad.unsqueeze(-2)) @ x.mT
        return by_M, 2.0 * x * by_quad.unsqueeze(-2)


def _is_large(M: Tensor) -> bool:
    return M.ndim == 2 and len(M) > _IN_PANELS
