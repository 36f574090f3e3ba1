"""The fused long convolution as a differentiable function."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from mercer.nn.convolution.gpu.plans import TilePlan, kernel_spectrum, matrices, tile_plan
from mercer.nn.convolution.gpu.reference import by_spectrum

__all__ = ["fused_long_conv"]

PROGRAMS_A_MULTIPROCESSOR = 4  # so that the last ones to run leave few multiprocessors idle

Gradients = tuple[Tensor | None, ...]


def fused_long_conv(
    u: Tensor,
    k: Tensor,
    *,
    skip: Tensor | None = None,
    gate_in: Tensor | None = None,
    gate_out: Tensor | None = None,
    causal: bool = True,
    sequences: int | None = None,
) -> Tensor:
    """:func:`mercer.nn.functional.long_conv` of ``(..., H, L)`` in one kernel, which reads u and gates once.

    Args:
        u, gate_in, gate_out: ``(..., H, L)``, float32, bfloat16 or float16, L up to that of the longest plan.
        k, skip: ``(H, K)`` and ``(H,)``, or with heads ``(C, H, K)`` and ``(C, H)``.
        causal: False: two-sided, taps in cyclic order.
        sequences: how many of the batch a program takes one after the other; None asks the device.

    Returns:
        ``(..., H, L)`` or ``(..., C, H, L)`` in u's type.

    Products on the tensor cores have operands in bfloat16 for bfloat16; in TF32 for float16, which has as many digits
    and does not overflow; float32 takes three TF32 products. Sums are float32. Second derivatives go through
    :mod:`torch.fft`.
    """
    plan = tile_plan(u.shape[-1], u.dtype)
    assert plan is not None, "callers ask why_not_fused first"
    S = kernel_spectrum(k, u.shape[-1], causal=causal, plan=plan)
    flat = [None if x is None else x.reshape(-1, *x.shape[-2:]).contiguous() for x in (u, gate_in, gate_out)]
    D = None if skip is None else skip.reshape(-1).contiguous()
    spectra = S.reshape(-1, *S.shape[-3:])
    y: Tensor = _Fused.apply(flat[0], spectra, D, flat[1], flat[2], plan, sequences)  # type: ignore[no-untyped-call]
    return y.reshape(*u.shape[:-2], *k.shape[:-1], u.shape[-1])


class _Fused(torch.autograd.Function):
    """(u, spectra, skip, gate_in, gate_out, plan, sequences) -> y; u and gates ``(B, H, L)``, y ``(B, R, L)``."""

    @staticmethod
    def forward(
        u: Tensor,
        S: Tensor,
        D: Tensor | None,
        gate_in: Tensor | None,
        gate_out: Tensor | None,
        plan: TilePlan,
        sequences: int | None,
    ) -> Tensor:
        y = u.new_empty(u.shape[0], S.shape[0], u.shape[-1])
        _launch("convolve", (u, S, D, gate_in, gate_out), (y,), plan, sequences)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.plan, ctx.sequences = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Gradients:
        tensors = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient will be differentiated
            wanted = [x for x in tensors if x is not None and x.requires_grad]
            with torch.enable_grad():
                found = iter(torch.autograd.grad(by_spectrum(*tensors, plan=ctx.plan), wanted, dy, create_graph=True))
            return (*(next(found) if x is not None and x.requires_grad else None for x in tensors), None, None)
        return (*_gradients(tensors, dy.contiguous(), ctx.plan, ctx.sequences), None, None)


def _gradients(tensors: Any, dy: Tensor, plan: TilePlan, sequences: int | None) -> Gradients:
    u, S, D, gate_in, gate_out = tensors
    (B, H, L), R = u.shape, S.shape[0]
    # A program sees one head; where there are several, their sum is rounded once.
    dtype = u.dtype if R == H else torch.float32
    du, dgate_in, dgate_out = (
        None if x is None else torch.empty(B, R, L, dtype=dtype, device=u.device) for x in (u, gate_in, gate_out)
    )
    programs = -(-B // _per_program(u, R, sequences))
    dS = torch.empty(programs, *S.shape, device=u.device)
    dD = None if D is None else torch.empty(programs, R, device=u.device)
    _launch("pull", tensors, (dy, du, dS, dD, dgate_in, dgate_out), plan, sequences)

    def summed(x: Tensor | None, like: Tensor | None) -> Tensor | None:
        if x is None or like is None:
            return None
        return (x if R == H else x.unflatten(1, (R // H, H)).sum(1)).to(like.dtype)

    return (
        summed(du, u),
        dS.sum(0),
        None if dD is None else dD.sum(0).to(D.dtype),
        summed(dgate_in, gate_in),
        summed(dgate_out, gate_out),
    )


def _per_program(u: Tensor, R: int, sequences: int | None) -> int:
    """Sequences a program, so that programs fill the device."""
    if sequences is not None:
        return sequences
    if u.device.type != "cuda":
        return u.shape[0]
    wanted = PROGRAMS_A_MULTIPROCESSOR * torch.cuda.get_device_properties(u.device).multi_processor_count
    return max(1, u.shape[0] * R // wanted)


def _launch(name: str, tensors: Any, results: tuple[Tensor | None, ...], plan: TilePlan, sequences: int | None) -> None:
    """Run a kernel of :mod:`mercer.nn.convolution.gpu.kernels`, which needs triton."""
    from triton.language import bfloat16, float32

    from mercer.nn.convolution.gpu import kernels

    u, S, D, gate_in, gate_out = tensors
    (B, H, L), R = u.shape, S.shape[0]
    half = u.dtype == torch.bfloat16
    F1, F2, T = matrices(plan.n1, plan.n2, torch.bfloat16 if half else torch.float32, u.device)
    count = _per_program(u, R, sequences)
    given = [u if x is None else x for x in (u, S, D, gate_in, gate_out, *results)]  # what is not there is not read
    with torch.cuda.device(u.device) if u.device.type == "cuda" else nullcontext():
        getattr(kernels, name)[(R, -(-B // count))](
            *given, F1, F2, T, L, count, B, H, R,
            N1=plan.n1, N2=plan.n2, HAS_SKIP=D is not None, HAS_IN=gate_in is not None, HAS_OUT=gate_out is not None,
            ROUNDED=bfloat16 if half else float32,
            OPERAND=bfloat16 if half and u.device.type == "cuda" else float32,
            PRECISION="tf32x3" if u.dtype == torch.float32 else "tf32",
            num_warps=plan.warps, num_stages=1,
        )  # fmt: skip
