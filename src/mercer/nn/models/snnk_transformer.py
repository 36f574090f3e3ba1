"""A Transformer whose feed-forward layers and adapters are kernels of random features, by one argument."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mercer.arguments import check_sizes
from mercer.errors import ShapeError
from mercer.nn.models.registry import register_model
from mercer.nn.random_features import SNNKAdapter, SNNKLinear

__all__ = ["SNNKTransformer", "SNNKTransformerBlock"]

FEED_FORWARDS = ("dense", "snnk", "bundled")


class SelfAttention(nn.Module):
    """Softmax attention of heads, with a mask of the positions that count."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.projections = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(batch, length, width)`` to the same; ``mask`` ``(batch, length)`` is True where a key counts."""
        q, k, v = self.projections(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        allowed = None if mask is None else mask[:, None, None, :]
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        result: Tensor = self.output(mixed.transpose(1, 2).flatten(-2))
        return result


class SNNKTransformerBlock(nn.Module):
    """Attention and a feed-forward part, each behind a layer norm and with a residual.

    Args:
        width: columns; a multiple of ``n_heads``.
        n_heads: of attention.
        feed_forward: "dense" (linear, GELU, linear); "snnk", where a :class:`mercer.nn.SNNKLinear` takes the place of
            the first two; "bundled", where the last one is merged into it too: one matrix ``(width, n_features)``.
        hidden: units of the feed-forward part; None is four times the width.
        n_features: of the kernel layer.
        adapter_features: of a :class:`mercer.nn.SNNKAdapter` after each part; None has none.
        random_state: of the features.

    Raises:
        ValueError: an unknown feed-forward, or a width that the heads do not divide.

    >>> block = SNNKTransformerBlock(32, 4, feed_forward="bundled", n_features=16)
    >>> block(torch.randn(2, 9, 32)).shape, sum(p.numel() for p in block.feed_forward.parameters())
    (torch.Size([2, 9, 32]), 512)
    """

    adapter_places = ("attention", "feed_forward")  # where mercer.nn.add_adapters puts adapters

    def __init__(
        self,
        width: int,
        n_heads: int,
        *,
        feed_forward: str = "snnk",
        hidden: int | None = None,
        n_features: int = 64,
        adapter_features: int | None = None,
        random_state: int = 0,
    ) -> None:
        super().__init__()
        if feed_forward not in FEED_FORWARDS:
            raise ValueError(f"feed_forward={feed_forward!r}: choose from: {', '.join(FEED_FORWARDS)}.")
        check_sizes("SNNKTransformerBlock", width=width, n_heads=n_heads, hidden=hidden, n_features=n_features)
        if width % n_heads:
            raise ValueError(f"width={width} is no multiple of n_heads={n_heads}.")
        self.width, inner = width, 4 * width if hidden is None else hidden
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, n_heads)
        if feed_forward == "dense":
            parts: list[nn.Module] = [nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width)]
        else:
            # Inputs come from a layer norm, so their length is about the root of the width: that of weights is 1.
            outputs = inner if feed_forward == "snnk" else width
            parts = [SNNKLinear(width, outputs, n_features, random_state=random_state)]
            parts += [nn.Linear(inner, width)] if feed_forward == "snnk" else []
        self.feed_forward = nn.Sequential(*parts)
        self.attention_adapter, self.feed_forward_adapter = (
            nn.Identity()
            if adapter_features is None
            else SNNKAdapter(width, adapter_features, random_state=random_state + number)
            for number in (1, 2)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(batch, length, width)`` to the same; ``mask`` ``(batch, length)`` is True where a position counts."""
        x = x + self.attention_adapter(self.attention(self.norm1(x), mask))
        result: Tensor = x + self.feed_forward_adapter(self.feed_forward(self.norm2(x)))
        return result


class SNNKTransformer(nn.Module):
    """An encoder of tokens or vectors, and a linear head over the mean of its positions.

    Args:
        n_outputs: of the head; None gives the states of all positions instead.
        vocabulary: tokens, of which 0 is padding that nothing sees; or give ``in_features``.
        in_features: columns of vectors.
        width, n_heads, hidden, n_features, adapter_features: as in :class:`SNNKTransformerBlock`.
        depth: blocks.
        max_length: positions that have an embedding.
        feed_forward: "dense", "snnk" or "bundled", for the last ``n_snnk_blocks`` blocks; those before are dense.
        n_snnk_blocks: None is all.
        random_state: of the features; each block has its own.

    Raises:
        ValueError: not exactly one of ``vocabulary`` and ``in_features``, or as the block.

    Source: Sehanobish et al., Scalable neural network kernels (ICLR 2024), section 4; the block is today's usual one.

    >>> model = SNNKTransformer(10, vocabulary=20, max_length=64, width=32, depth=2, n_heads=4, n_features=16)
    >>> model(torch.randint(1, 20, (3, 50))).shape
    torch.Size([3, 10])
    """

    def __init__(
        self,
        n_outputs: int | None = None,
        *,
        vocabulary: int | None = None,
        in_features: int | None = None,
        width: int = 128,
        depth: int = 4,
        n_heads: int = 4,
        hidden: int | None = None,
        max_length: int = 1024,
        feed_forward: str = "snnk",
        n_snnk_blocks: int | None = None,
        n_features: int = 64,
        adapter_features: int | None = None,
        random_state: int = 0,
    ) -> None:
        super().__init__()
        if (vocabulary is None) == (in_features is None):
            raise ValueError("SNNKTransformer: give vocabulary for tokens or in_features for vectors, and not both.")
        check_sizes(
            "SNNKTransformer",
            n_outputs=n_outputs,
            vocabulary=vocabulary,
            in_features=in_features,
            depth=depth,
            max_length=max_length,
        )
        count = depth if n_snnk_blocks is None else n_snnk_blocks
        if not 0 <= count <= depth:
            raise ValueError(f"n_snnk_blocks={count}: it is from 0 to depth={depth}.")
        self.max_length, self.is_tokens = max_length, vocabulary is not None
        self.embedding: Any = (
            nn.Linear(in_features, width)
            if in_features is not None
            else nn.Embedding(vocabulary or 0, width, padding_idx=0)
        )
        self.positions = nn.Parameter(0.02 * torch.randn(max_length, width))
        self.blocks = nn.ModuleList(
            SNNKTransformerBlock(
                width,
                n_heads,
                feed_forward=feed_forward if i >= depth - count else "dense",
                hidden=hidden,
                n_features=n_features,
                adapter_features=adapter_features,
                random_state=random_state + 3 * i,
            )
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = None if n_outputs is None else nn.Linear(width, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(batch, length)`` or vectors ``(batch, length, in_features)`` to ``(batch, n_outputs)``."""
        columns = None if self.is_tokens else self.embedding.in_features
        fits = x.dim() == (2 if self.is_tokens else 3) and columns in (None, x.shape[-1])
        if not (fits and 1 <= x.shape[1] <= self.max_length):
            kind = "tokens (batch, length)" if self.is_tokens else f"vectors (batch, length, {columns})"
            raise ShapeError(f"SNNKTransformer takes {kind} of 1 to {self.max_length} positions, not {tuple(x.shape)}.")
        mask = x != 0 if self.is_tokens else None
        if mask is not None:  # a row of nothing but padding has one position, or its mean would be that of none
            mask = mask | (torch.arange(x.shape[1], device=x.device) == 0)
        states: Tensor = self.embedding(x) + self.positions[: x.shape[1]]
        for block in self.blocks:
            states = block(states, mask)
        states = self.norm(states)
        if self.head is None:
            return states
        if mask is not None:
            states = states * mask[..., None]
        count = x.shape[1] if mask is None else mask.sum(1, keepdim=True)
        result: Tensor = self.head(states.sum(1) / count)
        return result


register_model("snnk_transformer", SNNKTransformer)
