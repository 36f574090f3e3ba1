"""Solutions that gradients flow through: the implicit function theorem, one more solve for every gradient."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import broadcast_shapes
from mercer.operators.functions.logdet import logdet
from mercer.operators.functions.representation import Rebuild, bilinear_gradients, take_apart
from mercer.operators.solvers import Matrix, solve

__all__ = ["logdet_tensor", "solve_tensor"]


def solve_tensor(
    A: Matrix,
    y: Tensor,
    left: Tensor | None = None,
    *,
    noise: float | Tensor = 0.0,
    rtol: float | None = None,
    **options: Any,
) -> Tensor:
    """``(A + diag(noise))^-1 y``, or ``left @`` that; differentiable, as often as wanted.

    The gradient by y is ``w = (A + diag(noise))^-1 g``; by what A is made of, that of ``-w' (A x)``; by the noise,
    ``-w * x``: one more solve and one differentiable product.

    Args:
        A: ``(*batch, n, n)``, symmetric positive definite: tensor or linear operator.
        y: ``(n,)``, ``(n, t)`` or ``(*batch, n, t)``.
        left: ``(..., o, n)``.
        noise: as in :func:`solve`.
        rtol: relative residual; by default 1e-6 for float32 and 1e-8 for float64 of y.
        options: further arguments of :func:`solve`.

    Returns:
        In the dtype of y.

    Raises:
        NotConverged: the residual was not reached, of the solution or (in backward) of its gradient.
    """
    if rtol is None:
        rtol = 1e-8 if y.dtype == torch.float64 else 1e-6
    columns = y.unsqueeze(-1) if y.ndim == 1 else y
    batch, n = tuple(A.shape[:-2]), A.shape[-1]
    if batch:
        batch = broadcast_shapes(batch, columns.shape[:-2])
        A, columns = A.expand(*batch, n, n), columns.expand(*batch, *columns.shape[-2:])
    rebuild, tensors = take_apart(A)
    variance = torch.as_tensor(noise, dtype=torch.float64, device=y.device)
    call = _Call(rebuild, rtol, options)
    x: Tensor = _Solve.apply(call, columns.to(torch.float64), variance, *tensors)  # type: ignore[no-untyped-call]
    x = (x.squeeze(-1) if y.ndim == 1 else x).to(y.dtype)
    return x if left is None else left @ x


def logdet_tensor(A: Matrix, *, noise: float | Tensor = 0.0, **options: Any) -> Tensor:
    """``log det(A + diag(noise))``, ``(*batch,)``, in the dtype of A; differentiable. See :func:`logdet`."""
    return logdet(A, noise=noise, **options).value.to(A.dtype)


@dataclass(frozen=True)
class _Call:
    rebuild: Rebuild
    rtol: float
    options: dict[str, Any]


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(call: _Call, y: Tensor, noise: Tensor, *tensors: Tensor) -> Tensor:
        return solve(call.rebuild(*tensors), y, noise=noise, rtol=call.rtol, **call.options).x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        call, _, noise, *tensors = inputs
        ctx.call = call
        ctx.save_for_backward(output, noise, *tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, noise, *tensors = ctx.saved_tensors
        call: _Call = ctx.call
        options = {**call.options, "initial": None}
        again = _Call(call.rebuild, call.rtol, options)
        w: Tensor = _Solve.apply(again, gradient, noise, *tensors)  # type: ignore[no-untyped-call]
        by_noise = None
        if ctx.needs_input_grad[2]:
            by_row = -(w * x).sum(-1)  # (*batch, n)
            by_noise = by_row.sum_to_size(noise.shape) if noise.ndim else by_row.sum()
        wanted = list(ctx.needs_input_grad[3:])
        return (None, w, by_noise, *bilinear_gradients(call.rebuild, tuple(tensors), wanted, -w, x))
