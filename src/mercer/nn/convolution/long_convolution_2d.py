"""The long convolution of images as a function."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.operators import convolve
from mercer.operators.convolution_op import convolution

__all__ = ["PLANS_2D", "PlanName2d", "long_conv2d"]

PlanName2d: TypeAlias = Literal["auto", "fft", "direct"]
METHODS: dict[str, Any] = {"auto": None, "fft": "whole", "direct": "direct"}
PLANS_2D = tuple(METHODS)


def long_conv2d(u: Tensor, k: Tensor, *, skip: Tensor | None = None, plan: PlanName2d = "auto") -> Tensor:
    r"""Convolve every channel of an image with a kernel of its own, of any size.

    .. math:: y_{st} = \sum_{ij} k_{ij} u_{s - i, t - j} + D u_{st}

    Args:
        u: ``(B, C, H, W)``. Instead of B there may be any batch dimensions, or none.
        k: ``(C, K, J)``, or ``(heads, C, K, J)``; K and J are odd, and lag (0, 0) is in the centre. Of more than
            ``2 H - 1`` by ``2 W - 1`` taps some meet nothing.
        skip: D, ``(C,)`` or with heads ``(heads, C)``.
        plan: "auto" is the planner of :func:`mercer.operators.convolve`; "fft" one transform an image; "direct" the
            sum.

    Returns:
        As u; with heads ``(B, heads, C, H, W)``.

    Raises:
        ShapeError: channels or a skip that do not fit, or an even number of taps.
        ValueError: an unknown plan.

    Outside the image it is zero. Half types are computed in float32 and rounded once at the end; a float32 kernel stays
    so. Gradients of any order, ``torch.func`` and ``torch.compile`` (one node of the graph) work.
    Cost: ``O(H W log(H W))`` a channel.

    >>> u = torch.ones(1, 1, 2, 3)
    >>> long_conv2d(u, torch.ones(1, 3, 3)).round()
    tensor([[[[4., 6., 4.],
              [4., 6., 4.]]]])
    """
    _check(u, k, skip, plan)
    has_heads = k.dim() == 4
    dtype = torch.promote_types(u.dtype, k.dtype)
    x, k = (u.unsqueeze(-4) if has_heads else u).to(dtype), k.to(dtype)
    if torch.compiler.is_compiling():
        start = [(n - 1) // 2 for n in k.shape[-2:]]
        y: Tensor = convolution(x, k, start, list(x.shape[-2:]), METHODS[plan] or "")
    else:
        y = convolve(x, k, mode="same", dims=2, method=METHODS[plan])
    if skip is not None:
        y = y + skip[..., None, None] * x
    return y.to(u.dtype)


def _check(u: Tensor, k: Tensor, skip: Tensor | None, plan: str) -> None:
    if plan not in PLANS_2D:
        raise ValueError(f"long_conv2d: plan={plan!r} is not one of {', '.join(map(repr, PLANS_2D))}.")
    if u.dim() < 3 or k.dim() not in (3, 4):
        raise ShapeError(
            f"long_conv2d: u is (B, C, H, W) and k (C, K, J) or (heads, C, K, J), but they are {tuple(u.shape)}, "
            f"{tuple(k.shape)}."
        )
    if 0 in (*u.shape[-2:], *k.shape[-2:]):
        raise ShapeError(
            f"long_conv2d needs a pixel and a tap at least, but u is {tuple(u.shape)}, k {tuple(k.shape)}."
        )
    if k.shape[-3] != u.shape[-3]:
        last = u.shape[-1] == k.shape[-3]
        raise ShapeError(
            f"long_conv2d: u {tuple(u.shape)} has {u.shape[-3]} channels, but k {tuple(k.shape)} has {k.shape[-3]}."
            + (" Channels stand before height and width: give u.movedim(-1, -3)." if last else "")
        )
    if 0 in (k.shape[-1] % 2, k.shape[-2] % 2):
        raise ShapeError(
            f"long_conv2d: k {tuple(k.shape)} has no centre: K and J are odd. Append a row or column of zeros."
        )
    if skip is not None and skip.shape != k.shape[:-2]:
        raise ShapeError(f"long_conv2d: skip is {tuple(skip.shape)}, but goes with k's {tuple(k.shape[:-2])}.")
