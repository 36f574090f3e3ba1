"""The convolution along one axis as an operator of torch, which ``torch.compile`` and ``torch.export`` take as it is.

Compilers trace Python, and the convolution of :mod:`mercer.operators.convolution` leaves torch for transforms in cache.
So to them it is one node, with a shape and a derivative.
"""

from typing import Any

import torch
from torch import Tensor

from mercer.operators.convolution import convolve_planned
from mercer.operators.convolution_plan import Geometry, Method

__all__ = ["convolution"]

_METHODS: dict[str, Method | None] = {"": None, "direct": "direct", "whole": "whole"}


# torch reads the types of the arguments, so they are no strings here (no `from __future__ import annotations`).
@torch.library.custom_op("mercer::convolution", mutates_args=())
def convolution(u: Tensor, kernel: Tensor, start: int, length: int, method: str) -> Tensor:
    """``sum_j kernel[..., j] u[..., t - j]`` for ``start <= t < start + length``; batches broadcast, types are equal.

    Args:
        u: ``(..., L)``.
        kernel: ``(..., K)``.
        start: the first t.
        length: how many.
        method: "direct", "whole", or "" for the planner's choice.
    """
    geometry = Geometry((u.shape[-1],), (kernel.shape[-1],), (start,), (length,))
    return convolve_planned(u.detach(), kernel.detach(), geometry, _METHODS[method], None).contiguous()


@convolution.register_fake
def _shape(u: Tensor, kernel: Tensor, start: int, length: int, method: str) -> Tensor:
    return u.new_empty(*torch.broadcast_shapes(u.shape[:-1], kernel.shape[:-1]), length)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    u, kernel, ctx.start, ctx.length, ctx.method = inputs
    ctx.save_for_backward(u, kernel)


def _gradients(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    """Convolutions with the other factor, reversed: twice differentiable, as the operator itself."""
    u, kernel = ctx.saved_tensors
    du = dk = None
    if ctx.needs_input_grad[0]:
        every = convolution(g, kernel.flip(-1).conj(), kernel.shape[-1] - 1 - ctx.start, u.shape[-1], ctx.method)
        du = every.sum_to_size(u.shape)
    if ctx.needs_input_grad[1]:
        every = convolution(g, u.flip(-1).conj(), u.shape[-1] - 1 - ctx.start, kernel.shape[-1], ctx.method)
        dk = every.sum_to_size(kernel.shape)
    return du, dk, None, None, None


convolution.register_autograd(_gradients, setup_context=_keep)
