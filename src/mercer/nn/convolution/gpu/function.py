"""The fused long convolution as a differentiable function."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from mercer.nn.convolution.gpu.launch import options, over_heads, per_program
from mercer.nn.convolution.gpu.plans import TilePlan, device_plan, kernel_spectrum, matrices
from mercer.nn.convolution.gpu.reference import by_spectrum
from mercer.nn.convolution.gpu.three_passes import ThreePasses

__all__ = ["fused_long_conv"]

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
    plan: TilePlan | None = None,
) -> Tensor:
    """:func:`mercer.nn.functional.long_conv` of ``(..., H, L)`` in one kernel, which reads u and gates once; or, where
    a sequence does not fit on the chip, in three passes.

    Args:
        u, gate_in, gate_out: ``(..., H, L)``, float32, bfloat16 or float16, L up to that of the longest plan.
        k, skip: ``(H, K)`` and ``(H,)``, or with heads ``(C, H, K)`` and ``(C, H)``.
        causal: False: two-sided, taps in cyclic order.
        sequences: how many of the batch a program takes one after the other; None asks the device.
        plan: tile and outer rows, for at least L steps; None asks the device
            (:func:`mercer.nn.convolution.gpu.device_plan`).

    Returns:
        ``(..., H, L)`` or ``(..., C, H, L)`` in u's type.

    Products on the tensor cores have operands in bfloat16 for bfloat16; in TF32 for float16, which has as many digits
    and does not overflow; float32 takes three TF32 products. Sums are float32. Second derivatives go through
    :mod:`torch.fft`.
    """
    L = u.shape[-1]
    plan = device_plan(L, u.dtype, u.device) if plan is None else plan
    assert plan is not None, "callers ask why_not_fused first"
    assert plan.length >= L
    if plan.outer > 1 and skip is not None:
        # A skip is a tap at lag 0: nothing more to read. The single kernel has x at hand, and rounds it less.
        k, skip = torch.cat([k[..., :1].float() + skip.float().unsqueeze(-1), k[..., 1:].float()], -1), None
    S = kernel_spectrum(k, L, causal=causal, plan=plan)
    flat = [None if x is None else x.reshape(-1, *x.shape[-2:]).contiguous() for x in (u, gate_in, gate_out)]
    D = None if skip is None else skip.reshape(-1).contiguous()
    spectra = S.reshape(-1, *S.shape[-4:])
    if plan.outer > 1:
        y: Tensor = ThreePasses.apply(flat[0], spectra, *flat[1:], plan, sequences)  # type: ignore[no-untyped-call]
    else:
        y = _Fused.apply(flat[0], spectra, D, *flat[1:], plan, sequences)  # type: ignore[no-untyped-call]
    return y.reshape(*u.shape[:-2], *k.shape[:-1], L)


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
    programs = -(-B // per_program(u, R, sequences))
    dS = torch.empty(programs, *S.shape, device=u.device)
    dD = None if D is None else torch.empty(programs, R, device=u.device)
    _launch("pull", tensors, (dy, du, dS, dD, dgate_in, dgate_out), plan, sequences)
    return (
        over_heads(du, u),
        dS.sum(0),
        None if dD is None else dD.sum(0).to(D.dtype),
        over_heads(dgate_in, gate_in),
        over_heads(dgate_out, gate_out),
    )


def _launch(name: str, tensors: Any, results: tuple[Tensor | None, ...], plan: TilePlan, sequences: int | None) -> None:
    """Run a kernel of :mod:`mercer.nn.convolution.gpu.kernels`, which needs triton."""
    from mercer.nn.convolution.gpu import kernels

    u, S, D, gate_in, gate_out = tensors
    (B, H, L), R = u.shape, S.shape[0]
    F1, F2, T = matrices(plan, torch.bfloat16 if u.dtype == torch.bfloat16 else torch.float32, u.device)
    count = per_program(u, R, sequences)
    given = [u if x is None else x for x in (u, S, D, gate_in, gate_out, *results)]  # what is not there is not read
    with torch.cuda.device(u.device) if u.device.type == "cuda" else nullcontext():
        getattr(kernels, name)[(R, -(-B // count))](
            *given, F1, F2, T, L, count, B, H, R,
            N1=plan.n1, N2=plan.n2, HAS_SKIP=D is not None, HAS_IN=gate_in is not None, HAS_OUT=gate_out is not None,
            **options(u, plan),
        )  # fmt: skip
