"""The convolution over the last axes as an operator of torch, which ``torch.compile`` and ``torch.export`` take.

Compilers trace Python, and the convolution of :mod:`mercer.operators.convolution` leaves torch for transforms in cache.
So to them it is one node, with a shape and a derivative.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mercer.operators.convolution import convolve_planned
from mercer.operators.convolution_plan import Geometry, Method

__all__ = ["convolution"]

_METHODS: dict[str, Method | None] = {"": None, "direct": "direct", "whole": "whole"}


# torch reads the types of the arguments, so they are no strings here (no `from __future__ import annotations`).
@torch.library.custom_op("mercer::convolution", mutates_args=())
def convolution(u: Tensor, kernel: Tensor, start: Sequence[int], length: Sequence[int], method: str) -> Tensor:
    """``sum_j kernel[..., j] u[..., t - j]`` for ``start <= t < start + length``; batches broadcast, types are equal.

    Args:
        u: ``(..., *signal)``.
        kernel: ``(..., *kernel)``.
        start: the first t, by axis; there are as many axes as entries.
        length: how many, by axis.
        method: "direct", "whole", or "" for the planner's choice.
    """
    d = len(start)
    geometry = Geometry(tuple(u.shape[-d:]), tuple(kernel.shape[-d:]), tuple(start), tuple(length))
    return convolve_planned(u.detach(), kernel.detach(), geometry, _METHODS[method], None).contiguous()


@convolution.register_fake
def _shape(u: Tensor, kernel: Tensor, start: Sequence[int], length: Sequence[int], method: str) -> Tensor:
    d = len(start)
    return u.new_empty(*torch.broadcast_shapes(u.shape[:-d], kernel.shape[:-d]), *length)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    u, kernel, ctx.start, ctx.length, ctx.method = inputs
    ctx.save_for_backward(u, kernel)


def _gradients(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    """Convolutions with the other factor, reversed: twice differentiable, as the operator itself."""
    u, kernel = ctx.saved_tensors
    du = dk = None
    if ctx.needs_input_grad[0]:
        du = _adjoint(ctx, g, kernel, u).sum_to_size(u.shape)
    if ctx.needs_input_grad[1]:
        dk = _adjoint(ctx, g, u, kernel).sum_to_size(kernel.shape)
    return du, dk, None, None, None


def _adjoint(ctx: Any, g: Tensor, factor: Tensor, wanted: Tensor) -> Tensor:
    """``g`` with a factor reversed, where the other factor, the wanted one, lies."""
    d = len(ctx.start)
    start = [n - 1 - s for n, s in zip(factor.shape[-d:], ctx.start, strict=True)]
    y: Tensor = convolution(g, factor.flip(tuple(range(-d, 0))).conj(), start, list(wanted.shape[-d:]), ctx.method)
    return y


convolution.register_autograd(_gradients, setup_context=_keep)
