"""Attention within blocks, and softmax attention as the case of one block."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from mercer.nn.attention import blocks
from mercer.nn.attention.layer import AttentionLayer, after, merge, places
from mercer.nn.attention.positions import Positions
from mercer.nn.attention.srms_norm import SRMSNorm
from mercer.nn.attention.states import AttentionState, BlockState
from mercer.nn.lengths import kept_rows

__all__ = ["DiagAttention", "SoftmaxAttention"]

Score = Literal["softmax", "relu"]


class _BlockAttention(AttentionLayer):
    """Scores between rows of the same block (of one block: all rows), scaled by ``e^-1/2``."""

    _state_kind = BlockState

    def __init__(
        self, width: int, heads: int, block: int | None, score: Score, window: bool, positions: Positions, causal: bool
    ) -> None:
        super().__init__(width, heads, positions=positions, causal=causal, gain=1.0)
        name = type(self).__name__
        if block is not None and not (block == int(block) and block >= 1):
            raise ValueError(f"{name}(block={block}): it is a whole number of rows >= 1.")
        if score not in ("softmax", "relu"):
            raise ValueError(f'{name}(score={score!r}): choose "softmax" or "relu".')
        self.block, self.score, self.window = block, score, window
        self.norm = SRMSNorm() if score == "relu" else None

    def weights(self, x: Tensor) -> Tensor:
        """What each row takes of each value before any norm, ``(B, H, n, n)``, zeros outside the blocks."""
        n = x.shape[1]
        q, k, _ = self._turned(x, None)
        row = torch.arange(n, device=x.device)
        allowed = row[:, None] >= row if self.causal else torch.ones(n, n, dtype=torch.bool, device=x.device)
        if self.block is not None:
            allowed = allowed & ((row[:, None] // self.block - row // self.block).abs() <= int(self.window))
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        if self.score == "softmax":
            return scores.masked_fill(~allowed, -torch.inf).softmax(-1)
        return scores.relu() * allowed

    def _turned(self, x: Tensor, state: AttentionState | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values with positions, which begin anew in each block that sees nothing else."""
        q, k, v = self._heads(x)
        if self.rotary is None:
            return q, k, v
        position = places(x, state)
        if self.block is not None and not self.window:
            position = position % self.block
        table = self.rotary.table(position, x.dtype)
        return self.rotary.rotate(q, table), self.rotary.rotate(k, table), v

    def _mix(self, x: Tensor, state: AttentionState | None, lengths: Tensor | None) -> tuple[Tensor, BlockState]:
        q, k, v = self._turned(x, state)
        n = x.shape[1]
        first, count = self._first(x, state), after(x, state, lengths)
        kept = None if self.causal else kept_rows(x, lengths)  # causal rows see no padding: it comes after them
        if isinstance(state, BlockState):
            q = blocks.place(torch.zeros_like(state.keys), q, first)
            k, v = blocks.place(state.keys, k, first), blocks.place(state.values, v, first)
            kept = self._past(state, k.shape[2])
        block = max(k.shape[2], 1) if self.block is None else self.block
        o = blocks.attend(q, k, v, kept, block=block, score=self.score, window=self.window, causal=self.causal)
        if state is not None:
            o = blocks.take(o, first, n)
        return self._out(o, x), self._after(k, v, count, first, state)

    def step(self, x: Tensor, state: AttentionState | None = None) -> tuple[Tensor, AttentionState]:
        """One row of each sequence, ``(B, width)``, and the state after it; without a state it is the first one."""
        state = self.initial_state(x.shape[0]) if state is None else state
        if not isinstance(state, BlockState) or x.dim() != 2 or x.shape[-1] != self.width:
            return super().step(x, state)  # which says what is wrong
        self._check_state(state, x.shape[0])
        x = x[:, None]
        q, k, v = self._turned(x, state)
        slot, keys, values = self._first(x, state), state.keys, state.values
        if self.block is None:  # a place for the new row
            keys, values = (functional.pad(t, (0, 0, 0, 1)) for t in (keys, values))
        places_ = torch.arange(keys.shape[2], device=x.device)
        here = (places_ == slot[:, None])[:, None, :, None]
        q, k, v = (t.to(keys.dtype) for t in (q, k, v))  # under autocast they are shorter
        keys, values = torch.where(here, k, keys), torch.where(here, v, values)
        seen = places_ <= slot[:, None]
        past = self._past(state, keys.shape[2])
        seen = seen if past is None else seen & past
        o = blocks.scored(q, keys, values, seen[:, None, None], self.score)
        position = state.position + 1
        if self.window and self.block is not None:  # a block that is full becomes the one before
            is_full = (position % self.block == 0)[:, None, None, None]
            keys, values = (
                torch.where(is_full, torch.cat([t[:, :, self.block :], torch.zeros_like(t[:, :, self.block :])], 2), t)
                for t in (keys, values)
            )
        return self._out(o, x)[:, 0], BlockState(position, keys, values)

    def _sizes(self, state: AttentionState, batch: int) -> dict[str, tuple[int, ...]]:
        assert isinstance(state, BlockState)
        m = state.keys.shape[2] if self.block is None else self.block * (2 if self.window else 1)
        held = (batch, self.heads, m, self.width // self.heads)
        return {"position": (batch,), "keys": held, "values": held}

    def _nothing(self, batch: int) -> BlockState:
        weight = self.query.weight
        m = 0 if self.block is None else self.block * (2 if self.window else 1)
        keys = weight.new_zeros(batch, self.heads, m, self.width // self.heads)
        return BlockState(torch.zeros(batch, dtype=torch.long, device=weight.device), keys, torch.zeros_like(keys))

    def _out(self, o: Tensor, x: Tensor) -> Tensor:
        merged = merge(o)
        out: Tensor = self.out((merged if self.norm is None else self.norm(merged)).to(x.dtype))
        return out

    def _first(self, x: Tensor, state: AttentionState | None) -> Tensor:
        """Where the first new row stands among the places that a state keeps, ``(B,)``."""
        if state is None:
            return torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
        if self.block is None:
            return state.position
        return state.position % self.block + (self.block if self.window else 0)

    def _past(self, state: BlockState, m: int) -> Tensor | None:
        """Which of m places hold a row, as far as the causal mask does not know, ``(B, m)``."""
        if not self.window or self.block is None:
            return None
        return (torch.arange(m, device=state.position.device) >= self.block) | (state.position >= self.block)[:, None]

    def _after(self, k: Tensor, v: Tensor, count: Tensor, first: Tensor, state: Any) -> BlockState:
        """The state after rows whose keys and values stand at ``first``."""
        if self.block is None:
            return BlockState(count, k, v)
        end = first + count - (0 if state is None else state.position)
        begin = end // self.block * self.block - (self.block if self.window else 0)
        size = self.block * (2 if self.window else 1)
        return BlockState(count, blocks.take(k, begin, size), blocks.take(v, begin, size))


class DiagAttention(_BlockAttention):
    r"""Attention of each row to the rows of its own block, in time linear in the length.

    The sequence is cut into blocks of ``block`` rows, scores are :math:`q_i \cdot k_j / \sqrt{e}` between rows of one
    block, and positions begin anew in each. Weights are the softmax of the scores (variant T2), or their positive
    parts, whose outputs are normed over all heads together (T1).

    Args:
        width: d.
        heads: they divide d.
        block: w, rows; longer than the sequence, it is one block.
        score: ``"softmax"`` or ``"relu"``.
        window: rows also see the block before theirs, and where it is not causal the one after.
        positions: as of :class:`NormAttention`.
        causal: rows see themselves and what is before them.

    Raises:
        ValueError: heads that do not divide the width, an odd head size with rotations, a block below 1.

    Padding, that of the last block too, is seen by no row; in the official code without ``causal`` it is.

    Cost: ``2 w e`` multiply-adds a token and head (half of that in a causal step, on average);
    the state holds one block.

    Source: Qin et al. 2022 (arXiv 2210.10340), section 4.

    >>> layer = DiagAttention(16, 2, block=4)
    >>> x = torch.randn(1, 10, 16)
    >>> layer.weights(x)[0, 0].ne(0.0).sum(1)
    tensor([1, 2, 3, 4, 1, 2, 3, 4, 1, 2])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        block: int = 64,
        score: Score = "softmax",
        window: bool = False,
        positions: Positions = "lrpe",
        causal: bool = True,
    ) -> None:
        super().__init__(width, heads, block, score, window, positions, causal)


class SoftmaxAttention(_BlockAttention):
    r"""The attention of transformers, :math:`o_i = \sum_j \mathrm{softmax}_j(q_i \cdot k_j / \sqrt{e}) \, v_j`.

    Here to compare with: same projections, positions and calls as the linear layers. Its state grows with the length.

    Args:
        width, heads, positions, causal: as of :class:`DiagAttention`.

    Raises:
        ValueError: as :class:`DiagAttention`.

    Source: Vaswani et al. 2017.

    >>> layer = SoftmaxAttention(16, 2)
    >>> _, state = layer.prefill(torch.randn(1, 10, 16))
    >>> layer.step(torch.randn(1, 16), state)[1].keys.shape
    torch.Size([1, 2, 11, 8])
    """

    def __init__(self, width: int, heads: int, *, positions: Positions = "lrpe", causal: bool = True) -> None:
        super().__init__(width, heads, None, "softmax", False, positions, causal)
