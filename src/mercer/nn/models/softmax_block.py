"""The block of a vision transformer: ordinary attention and an MLP, each normalised before."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SoftmaxBlock"]


class SoftmaxBlock(nn.Module):
    """``x <- x + attention(LN(x))``, then ``x <- x + mlp(LN(x))``, with ``4 width`` hidden units.

    Args:
        width: of tokens.
        heads: they divide the width.
        drop_path: how often a branch is left out for a whole sample in training.

    Raises:
        ValueError: heads that do not divide the width.

    Parameter names are those of PVT and of the official SOFT.
    """

    def __init__(self, width: int, heads: int, *, drop_path: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"SoftmaxBlock: {heads} heads do not divide a width of {width}.")
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, heads)
        self.mlp = _MLP(width)
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        """``(B, n, width)`` to the same."""
        x = x + self._kept(self.attn(self.norm1(x)))
        return x + self._kept(self.mlp(self.norm2(x)))

    def _kept(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        return branch * torch.empty_like(branch[:, :1, :1]).bernoulli_(keep) / keep


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.proj = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self._heads(x)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out

    def weights(self, x: Tensor) -> Tensor:
        """What each token takes of each value, ``(B, heads, n, n)``."""
        q, k, _ = self._heads(x)
        found: Tensor = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return found

    def _heads(self, x: Tensor) -> list[Tensor]:
        """Queries, keys and values, ``(B, heads, n, e)`` each."""
        k, v = self.kv(x).chunk(2, -1)
        return [t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.q(x), k, v)]


class _MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out
