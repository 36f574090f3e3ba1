"""Attention of rows to their block: cutting, masks, and the places that a state keeps."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["attend", "place", "scored", "take"]


def attend(
    q: Tensor, k: Tensor, v: Tensor, kept: Tensor | None, *, block: int, score: str, window: bool, causal: bool
) -> Tensor:
    """Outputs ``(B, H, n, e)`` of rows that see their block, or it and its neighbours.

    Args:
        q, k, v: ``(B, H, n, e)``.
        kept: which keys may be seen, ``(B, n)``; None is all.
    """
    n = q.shape[2]
    block = min(block, max(n, 1))
    m = -(-n // block)
    q, k, v = (functional.pad(x, (0, 0, 0, m * block - n)).unflatten(2, (m, block)) for x in (q, k, v))
    exact = kept is None and not window and (causal or m * block == n)
    if exact:
        o = scored(q, k, v, None, score, causal=causal)
        return o.flatten(2, 3)[:, :, :n]
    if kept is None:
        kept = torch.ones(1, n, dtype=torch.bool, device=q.device)
    kept = functional.pad(kept, (0, m * block - n)).unflatten(1, (m, block))  # (B, m, block)
    place = torch.arange(block, device=q.device)
    keys = place
    if window:
        shifts = (-1, 0) if causal else (-1, 0, 1)
        k, v = (torch.cat([_shifted(x, s, axis=2) for s in shifts], 3) for x in (k, v))
        kept = torch.cat([_shifted(kept, s, axis=1) for s in shifts], 2)
        keys = torch.cat([place + s * block for s in shifts])
    # Every row sees itself, for a softmax over nothing is NaN, also where nobody looks.
    allowed = kept[:, :, None] | (place[:, None] == keys)  # (B, m, block, keys)
    if causal:
        allowed = allowed & (place[:, None] >= keys)
    return scored(q, k, v, allowed[:, None], score).flatten(2, 3)[:, :, :n]


def scored(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, score: str, *, causal: bool = False) -> Tensor:
    """Softmax or positive parts of scaled scores, times values.

    Args:
        q: ``(..., a, e)``.
        k, v: ``(..., b, e)``.
        allowed: which keys a query may see, broadcast to ``(..., a, b)``; None is all.
        causal: instead of a mask: query i sees keys up to i.
    """
    if score == "softmax":
        shape = q.shape
        if q.dim() == 5:  # four axes are what the fused kernels know
            q, k, v = (x.flatten(1, 2) for x in (q, k, v))
            allowed = None if allowed is None else allowed.expand(-1, shape[1], -1, -1, -1).flatten(1, 2)
        o = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=causal)
        return o.view(shape) if len(shape) == 5 else o
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).relu()
    if causal:
        weights = weights.tril()
    return (weights if allowed is None else weights * allowed) @ v


def place(cache: Tensor, rows: Tensor, first: Tensor) -> Tensor:
    """The cache ``(B, H, m, e)`` made longer by n places, with n rows written from place ``first`` ``(B,)`` on."""
    B, H, n, e = rows.shape
    longer = functional.pad(cache, (0, 0, 0, n))
    index = first[:, None] + torch.arange(n, device=rows.device)
    return longer.scatter(2, index[:, None, :, None].expand(B, H, n, e), rows.to(cache.dtype))


def take(x: Tensor, first: Tensor, n: int) -> Tensor:
    """n places of ``(B, H, m, e)`` from place ``first`` ``(B,)`` on; those outside hold zeros."""
    B, H, m, e = x.shape
    index = first[:, None] + torch.arange(n, device=x.device)
    inside = (index >= 0) & (index < m)
    found = functional.pad(x, (0, 0, 0, 1)).gather(
        2, torch.where(inside, index, m)[:, None, :, None].expand(B, H, n, e)
    )
    return found


def _shifted(x: Tensor, by: int, *, axis: int) -> Tensor:
    """Block b holds what block ``b + by`` held; beyond the ends zeros."""
    if by == 0:
        return x
    empty = torch.zeros_like(x.narrow(axis, 0, 1))
    m = x.shape[axis]
    parts = [empty, x.narrow(axis, 0, m - 1)] if by < 0 else [x.narrow(axis, 1, m - 1), empty]
    return torch.cat(parts, axis)
