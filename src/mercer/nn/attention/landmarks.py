"""A few tokens that stand for all: means of segments, windows of a grid, every r-th token."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["from_grid", "segment_means", "to_grid", "window_mask", "window_means", "window_starts"]


def segment_means(x: Tensor, count: int, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Means of ``count`` segments of nearly equal length of the tokens that are there, in their order.

    Args:
        x: ``(B, H, n, e)``.
        count: how many; with fewer tokens than that, as many as there are.
        mask: ``(B, n)``, bool, or None.

    Returns:
        ``(B, H, m, e)``, and which of them are there ``(B, m)``: None for all.
    """
    n = x.shape[-2]
    count = min(count, n)
    number = torch.arange(count, device=x.device)[:, None]
    if mask is None:
        rank, total = torch.arange(n, device=x.device), n
        weights = (rank * count // total == number).to(x.dtype)  # (m, n)
        return (weights / weights.sum(-1, keepdim=True)) @ x, None
    rank, present = mask.cumsum(-1) - 1, mask.sum(-1, keepdim=True).clamp(min=1)
    chosen = (rank * count // present)[:, None] == number
    weights = (chosen & mask[:, None]).to(x.dtype)  # (B, m, n)
    sizes = weights.sum(-1, keepdim=True)
    return (weights / sizes.clamp(min=1.0))[:, None] @ x, sizes[..., 0] > 0


def to_grid(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """``(B, H, h w, e)`` as images ``(B H, e, h, w)``."""
    return x.reshape(-1, *grid, x.shape[-1]).permute(0, 3, 1, 2)


def from_grid(x: Tensor, like: Tensor) -> Tensor:
    """The opposite of :func:`to_grid`, for as many heads as ``like`` ``(B, H, n, e)`` has."""
    tokens = x.flatten(2).mT
    return tokens.reshape(*like.shape[:2], *tokens.shape[1:])


def window_means(x: Tensor, window: tuple[int, int], mask: Tensor | None) -> Tensor:
    """Means over windows of images ``(b, e, h, w)``; those at the border may be smaller. ``mask``: ``(b, 1, h, w)``."""
    if mask is None:
        return F.avg_pool2d(x, window, ceil_mode=True)
    there = mask.to(x.dtype)
    share = F.avg_pool2d(there, window, ceil_mode=True)
    return F.avg_pool2d(x * there, window, ceil_mode=True) / share.clamp(min=torch.finfo(x.dtype).tiny)


def window_mask(mask: Tensor, window: tuple[int, int]) -> Tensor:
    """Whether each window of ``(B, 1, h, w)`` has a token that is there: ``(B, m)``."""
    return F.max_pool2d(mask.float(), window, ceil_mode=True).flatten(1) > 0.0


def window_starts(x: Tensor, window: tuple[int, int], mask: Tensor | None) -> Tensor:
    """The first token of each window of ``(b, e, h, w)``; under a mask ``(b, 1, h, w)`` the first that is there."""
    first = x[..., :: window[0], :: window[1]]
    if mask is None:
        return first
    tokens, there = _windows(x, window), _windows(mask.to(x.dtype), window)
    place = there.argmax(-1, keepdim=True)  # of equal ones the first; 0 in a window without any
    chosen: Tensor = tokens.gather(-1, place.expand(*tokens.shape[:-1], 1))[..., 0].view_as(first)
    return chosen


def _windows(x: Tensor, window: tuple[int, int]) -> Tensor:
    """``(b, e, h, w)`` as ``(b, e, m, tokens of a window)``; what is beyond the border is 0."""
    below, beside = (-side % size for side, size in zip(x.shape[-2:], window, strict=True))
    x = F.pad(x, (0, beside, 0, below))
    blocks: Tensor = x.unflatten(-1, (-1, window[1])).unflatten(-3, (-1, window[0]))
    return blocks.transpose(-3, -2).flatten(-4, -3).flatten(-2)
