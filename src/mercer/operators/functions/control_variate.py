"""The exact gradient of a preconditioner's log-determinant, which takes most of the noise out of that of the matrix."""

from dataclasses import dataclass
from typing import Any

import torch
from linear_operator import LinearOperator
from torch import Tensor

from mercer.operators.functions.representation import Rebuild, take_apart
from mercer.operators.solvers import Matrix, Preconditioner

__all__ = ["preconditioner_slope"]

_ROWS = 256  # rows of A that are differentiated at a time


def preconditioner_slope(A: Matrix, noise: Tensor, P: Preconditioner, V: Tensor, weights: Tensor) -> Tensor:
    r"""A zero whose gradient is that of ``log det P - sum_i weights_i v_i' P v_i``, the pivots of P held fixed.

    P stands for ``C' C_SS^-1 C + diag(noise) + const`` with C the rows S of A. Added to ``sum_i weights_i w_i' M v_i``
    with ``v_i = P^-1 z_i`` and ``w_i = M^-1 z_i`` for probes z of covariance P, the sum has the expectation of the
    gradient of log det M, and its spread vanishes as P approaches M.

    Args:
        A: ``(n, n)``, whose tensors get the gradient.
        noise: ``()`` or ``(n,)``.
        V: ``(n, m)``, ``P^-1`` times the probes.
        weights: ``(m,)``.

    Cost: two products of ``rank x rank`` by ``rank x n``, and ``rank * n`` entries of A with their derivatives.
    Source: Wenger et al., Preconditioning for scalable Gaussian process hyperparameter optimization (2022), section 3.
    """
    rebuild, tensors = take_apart(A)
    result: Tensor = _Slope.apply(_Call(rebuild, P, V, weights), noise, *tensors)  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True)
class _Call:
    rebuild: Rebuild
    P: Preconditioner
    V: Tensor
    weights: Tensor


class _Slope(torch.autograd.Function):
    @staticmethod
    def forward(call: _Call, noise: Tensor, *tensors: Tensor) -> Tensor:
        return call.V.new_zeros(())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.call, noise, *tensors = inputs
        ctx.noise_shape = noise.shape
        ctx.save_for_backward(*tensors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        P, V, weights = call.P, call.V, call.weights
        by_noise = None
        if ctx.needs_input_grad[1]:
            by_row = (1.0 - P.basis.square().sum(0)) / P.root.square() - V.square() @ weights
            by_noise = gradient * (by_row if len(ctx.noise_shape) else by_row.sum())
        wanted = list(ctx.needs_input_grad[2:])
        by_tensor: list[Tensor | None] = [None] * len(wanted)
        if any(wanted) and P.rank:
            slope = gradient * _slope_of_rows(P, V, weights)  # (rank, n)
            with torch.enable_grad():
                aliases = [t.detach().requires_grad_(w) for t, w in zip(ctx.saved_tensors, wanted, strict=True)]
                A = call.rebuild(*aliases)
                A = A.double() if isinstance(A, LinearOperator) else A
                for i in range(0, P.rank, _ROWS):
                    rows = A[P.pivots[i : i + _ROWS], :]
                    rows = rows.to_dense() if isinstance(rows, LinearOperator) else rows
                    value = (slope[i : i + _ROWS] * rows.to(torch.float64)).sum()
                    targets = [alias for alias, want in zip(aliases, wanted, strict=True) if want]
                    parts = iter(torch.autograd.grad(value, targets, allow_unused=True, retain_graph=True))
                    by_tensor = [
                        _add(total, next(parts)) if w else None for total, w in zip(by_tensor, wanted, strict=True)
                    ]
        return (None, by_noise, *by_tensor)


def _slope_of_rows(P: Preconditioner, V: Tensor, weights: Tensor) -> Tensor:
    """The derivative by the rows ``A[pivots]``, ``(rank, n)``.

    With ``F = R' Q' D^(1/2)`` the factor, L its pivot rows: ``C_SS^-1 C = L^-T F`` and ``F P^-1 = R^-1 Q' D^(-1/2)``.
    """
    R, basis, root = P.triangle, P.basis, P.root
    lower: Tensor = (R.mT @ (basis[:, P.pivots] * root[P.pivots])).mT
    FV = R.mT @ (basis @ (root[:, None] * V))  # (rank, m)
    FG = torch.linalg.solve_triangular(R, basis / root, upper=True) - (FV * weights) @ V.mT
    inverse = torch.linalg.solve_triangular(R, torch.eye(P.rank, dtype=R.dtype, device=R.device), upper=True)
    FGF = torch.eye(P.rank, dtype=R.dtype, device=R.device) - inverse @ inverse.mT - (FV * weights) @ FV.mT
    slope: Tensor = 2.0 * torch.linalg.solve_triangular(lower.mT, FG, upper=True)
    left = torch.linalg.solve_triangular(lower.mT, FGF, upper=True)
    slope[:, P.pivots] -= torch.linalg.solve_triangular(lower, left, upper=False, left=False)
    return slope


def _add(total: Tensor | None, part: Tensor | None) -> Tensor | None:
    return part if total is None else total if part is None else total + part
