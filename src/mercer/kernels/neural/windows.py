"""Covariances of positions through layers with weights, and what pools need: borders, windows, diagonals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from mercer.kernels.neural.covariances import Covariances
from mercer.kernels.neural.layers import Conv, Weighted
from mercer.kernels.neural.shapes import pads

__all__ = ["diagonal", "mean_of_windows", "weighted"]


def weighted(state: Covariances, layer: Weighted, sigmas: tuple[Tensor, Tensor]) -> Covariances:
    """Through a dense layer or a convolution."""
    mine = (layer.sigma_w, layer.sigma_b)
    weight, bias = (
        theirs.to(state.half.dtype) if own is None else state.half.new_tensor(own)
        for own, theirs in zip(mine, sigmas, strict=True)
    )
    if isinstance(layer, Conv):
        state = _windows(_padded(state, layer), layer)
    square, shift = weight * weight, bias * bias
    state = replace(state, half=state.half * square, p=state.p * square + shift, q=state.q * square + shift)
    if state.tangent is None:
        return state
    return replace(state, tangent=state.tangent * square + state.covariance)


def _padded(state: Covariances, layer: Conv) -> Covariances:
    """With what a convolution sees beyond the borders: zeros, or the other end."""
    k = state.n_axes
    around = [pads(n, layer.size, layer.stride, layer.padding) for n in state.q.shape[state.q.dim() - k :]]
    if not any(low or high for low, high in around):
        return state
    if layer.padding == "circular":

        def wrap(K: Tensor, axes: list[tuple[int, ...]]) -> Tensor:
            for group, (low, high) in zip(axes, around, strict=True):
                for axis in group:
                    places = torch.arange(-low, K.shape[axis] + high, device=K.device) % K.shape[axis]
                    K = K.index_select(axis, places)
            return K

        own: list[tuple[int, ...]] = [(i - k,) for i in range(k)]
        moved = state.mapped(lambda K: wrap(K, state.axes()))
        return replace(moved, p=wrap(state.p, own), q=wrap(state.q, own))
    widths = [n for pair in reversed(around) for n in pair]
    p, q = (pad(v, widths) for v in (state.p, state.q))
    both = state.mapped(lambda K: pad(K, widths * 2 if state.full else widths))
    after = replace(both, p=p, q=q)
    if not state.full:
        return after
    # Where one position is inside and the other beyond, S is 0 and Q half of a variance.
    inside = pad(torch.ones(state.q.shape[state.q.dim() - k :], dtype=q.dtype, device=q.device), widths)
    left, right = after.sides
    beyond = 1.0 - inside.reshape(*inside.shape, *[1] * k) * inside
    return replace(after, half=after.half + (left + right) * 0.5 * beyond)


def _windows(state: Covariances, layer: Conv) -> Covariances:
    """The mean over the windows of a convolution; both positions of a pair move together."""
    k = state.n_axes

    def windows(K: Tensor, axes: list[tuple[int, ...]]) -> Tensor:
        for group in axes:
            K = mean_of_windows(K, group, layer.size, layer.stride)
        return K

    own: list[tuple[int, ...]] = [(i - k,) for i in range(k)]
    moved = state.mapped(lambda K: windows(K, state.axes()))
    return replace(moved, p=windows(state.p, own), q=windows(state.q, own))


def mean_of_windows(K: Tensor, group: tuple[int, ...], size: int, stride: int) -> Tensor:
    """The mean over ``size`` positions, ``stride`` apart, along axes that move together."""
    if size == 1 and stride == 1:
        return K
    count = (K.shape[group[0]] - size) // stride + 1
    total: Any = 0.0
    for first in range(size):
        part = K
        for axis in group:
            part = part.narrow(axis, first, stride * (count - 1) + 1)
            if stride > 1:
                part = part.index_select(axis, torch.arange(0, part.shape[axis], stride, device=K.device))
        total = part + total
    mean: Tensor = total * (1.0 / size)
    return mean


def diagonal(K: Tensor, axes: int) -> Tensor:
    """The entries of a position with itself: the last ``2 axes`` axes become ``axes``."""
    for left in range(axes, 0, -1):
        # the first of the left axes and its partner; what is found goes to the end, in order
        K = K.diagonal(dim1=-left - axes, dim2=-axes) if left else K
    return K
