"""Linear attention with a division, and NormAttention with a norm in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mercer.nn.attention.chunked import accumulator
from mercer.nn.attention.layer import AttentionLayer, after, merge, places
from mercer.nn.attention.linear_attention import attend, two_sided
from mercer.nn.attention.positions import Positions
from mercer.nn.attention.srms_norm import SRMSNorm
from mercer.nn.attention.states import AttentionState, LinearState
from mercer.nn.lengths import kept_rows
from mercer.nn.precision import without_autocast

__all__ = ["Activation", "LinearAttention", "NormAttention"]

Activation = str | Callable[[Tensor], Tensor]


def _elu(x: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        # The same: torch's own gives its gradient other strides than compilers are told (torch 2.13).
        return x.relu() + x.clamp(max=0.0).expm1()
    return functional.elu(x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "1+elu": lambda x: 1.0 + _elu(x),
    "elu": _elu,
    "relu": torch.relu,
    "swish": functional.silu,
}


class _SummedAttention(AttentionLayer):
    """Scores ``act(q_i) . act(k_j)``, so that keys and values can be summed before a query comes."""

    _state_kind = LinearState

    def __init__(
        self,
        width: int,
        heads: int,
        activation: Activation,
        positions: Positions,
        causal: bool,
        decay: float | Sequence[float] | None,
    ) -> None:
        super().__init__(width, heads, positions=positions, causal=causal, gain=2.0**-0.5)
        name = type(self).__name__
        if isinstance(activation, str) and activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"{name}(activation={activation!r}): choose one of {known}, or give a function.")
        if decay is not None and not causal:
            raise ValueError(f"{name}(causal=False): a decay needs an order. Give decay=None.")
        self.activation = activation
        self.decay = None if decay is None else _decays(decay, heads, name)

    def _features(self, x: Tensor, state: AttentionState | None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Queries and keys with their positions, values, and queries and keys without."""
        q, k, v = self._heads(x)
        act = ACTIVATIONS[self.activation] if isinstance(self.activation, str) else self.activation
        q, k = act(q), act(k)
        if self.rotary is None:
            return q, k, v, q, k
        table = self.rotary.table(places(x, state), x.dtype)
        return self.rotary.rotate(q, table), self.rotary.rotate(k, table), v, q, k

    def _sum(self, q: Tensor, k: Tensor, v: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        if not self.causal:
            return two_sided(q, k, v)
        decay = None if self.decay is None else q.new_tensor(self.decay, dtype=accumulator(q.dtype))
        return attend(q, k, v, state=memory, decay=decay)

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        scores = q @ k.mT
        if self.decay is not None:
            row = torch.arange(q.shape[2], device=q.device)
            decay = q.new_tensor(self.decay)
            scores = scores * decay[:, None, None] ** (row[:, None] - row).abs()
        return scores.tril() if self.causal else scores

    def _sizes(self, state: AttentionState, batch: int) -> dict[str, tuple[int, ...]]:
        e = self.width // self.heads
        return {"position": (batch,), "memory": (batch, self.heads, e, e)}

    def _nothing(self, batch: int) -> LinearState:
        weight, e = self.query.weight, self.width // self.heads
        memory = weight.new_zeros(batch, self.heads, e, e, dtype=accumulator(weight.dtype))
        return LinearState(torch.zeros(batch, dtype=torch.long, device=weight.device), memory)


def _decays(decay: float | Sequence[float], heads: int, name: str) -> tuple[float, ...]:
    values = (decay,) * heads if isinstance(decay, int | float) else tuple(decay)
    if len(values) != heads or not all(0.0 < value <= 1.0 for value in values):
        raise ValueError(f"{name}(decay={decay}): give one value, or {heads}, above 0 and at most 1.")
    return values


class NormAttention(_SummedAttention):
    r"""Linear attention whose outputs are normed instead of divided: time linear in the length, bounded gradients.

    .. math:: o_i = \sum_{j \le i} (\phi(q_i) \cdot \phi(k_j)) \, v_j, \qquad y_i = W \, \mathrm{SRMS}(o_i)

    The norm takes all heads of a row together. There is no scale and no denominator, whose derivative has no bound
    where scores are small (see :class:`SRMSNorm`).

    Args:
        width: d.
        heads: they divide d.
        activation: :math:`\phi`: ``"1+elu"`` (variant T2), ``"elu"`` (T1; scores may be negative), ``"relu"``,
            ``"swish"`` (TransNormerLLM) or a function.
        positions: ``"lrpe"``, rotations with learned angles after a random reflection; ``"rope"``, fixed ones; None.
        causal: rows see themselves and what is before them.
        eps: of the norm.
        decay: of scores with the distance, for all heads or one for each, as in TransNormerLLM; None for none.
        gate: multiply what is normed by a linear map of the row, as there: :math:`y_i = W (\mathrm{SRMS}(o_i) \odot
            W_u x_i)`.

    Raises:
        ValueError: heads that do not divide the width, an odd head size with rotations, an unknown activation.

    Cost: ``2 e^2`` multiply-adds a token and head for the state, and as many again within chunks; a step and a state
    of generation take ``e^2``, whatever the length.

    Source: Qin et al. 2022 (arXiv 2210.10340), section 4; decay, swish and gate: Qin et al. 2023 (arXiv 2307.14995).

    >>> layer = NormAttention(16, 2).double()
    >>> x = torch.randn(3, 10, 16, dtype=torch.float64)
    >>> before, state = layer.prefill(x[:, :9])
    >>> last, state = layer.step(x[:, 9], state)
    >>> torch.allclose(last, layer(x)[:, 9]), state.memory.shape
    (True, torch.Size([3, 2, 8, 8]))
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        activation: Activation = "1+elu",
        positions: Positions = "lrpe",
        causal: bool = True,
        eps: float = 1e-6,
        decay: float | Sequence[float] | None = None,
        gate: bool = False,
    ) -> None:
        super().__init__(width, heads, activation, positions, causal, decay)
        self.norm = SRMSNorm(eps)
        self.gate = nn.Linear(width, width) if gate else None

    def weights(self, x: Tensor) -> Tensor:
        """Scores before the norm, ``(B, H, n, n)``."""
        q, k, *_ = self._features(x, None)
        return self._scores(q, k)

    def _mix(self, x: Tensor, state: AttentionState | None, lengths: Tensor | None) -> tuple[Tensor, LinearState]:
        q, k, v, *_ = self._features(x, state)
        kept = kept_rows(x, lengths)
        if kept is not None:
            # Values and not keys alone: the bias of a padded row is no zero.
            v = v.masked_fill(~kept[:, None, :, None], 0.0)
        before = state.memory if isinstance(state, LinearState) else None
        o, memory = self._sum(q, k, v, before)
        if kept is not None and self.decay is not None:  # the sum's memory has decayed through the padding as well
            memory = self._memory_after(k, v, before, lengths)
        normed = self.norm(merge(o)).to(x.dtype)
        out = self.out(normed if self.gate is None else normed * self.gate(x))
        return out, LinearState(after(x, state, lengths), memory)

    def _memory_after(self, k: Tensor, v: Tensor, before: Tensor | None, lengths: Tensor | None) -> Tensor:
        """The memory after the last row of each sequence that is no padding; values of padding are 0."""
        wide = accumulator(k.dtype)
        decay = k.new_tensor(self.decay, dtype=wide)[:, None]
        n = torch.as_tensor(lengths, device=k.device)[:, None, None]
        steps = (n - 1 - torch.arange(k.shape[2], device=k.device)).clamp(min=0)  # (B, 1, n), to the last row
        with without_autocast(k):
            memory = (k.to(wide) * (decay**steps)[..., None]).mT @ v.to(wide)
            return memory if before is None else memory + (decay**n)[..., None] * before


class LinearAttention(_SummedAttention):
    r"""Linear attention as it was before: every row divided by the sum of its scores.

    .. math:: o_i = \frac{\sum_j (\phi(q_i) \cdot \phi(k_j)) \, v_j}{\sum_j \phi(q_i) \cdot \phi(k_j)}

    Here for comparison: its gradients grow without bound where scores are small, which :class:`NormAttention` repairs.
    With rotations the denominator stays without them, so that it is positive (Su et al. 2021, equation 19).

    Args:
        width, heads, activation, positions, causal: as of :class:`NormAttention`.

    Raises:
        ValueError: as :class:`NormAttention`.

    Source: Katharopoulos et al. 2020 (arXiv 2006.16236).

    >>> layer = LinearAttention(16, 2, positions=None)
    >>> bool(torch.allclose(layer.weights(torch.randn(1, 10, 16)).sum(-1), torch.ones(1, 2, 10)))
    True
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        activation: Activation = "1+elu",
        positions: Positions = "lrpe",
        causal: bool = True,
    ) -> None:
        super().__init__(width, heads, activation, positions, causal, None)

    def weights(self, x: Tensor) -> Tensor:
        """``(B, H, n, n)``; the rows sum to 1 without rotations."""
        q, k, _, plain_q, plain_k = self._features(x, None)
        return self._scores(q, k) / _nonzero(self._scores(plain_q, plain_k).sum(-1, keepdim=True))

    def _mix(self, x: Tensor, state: AttentionState | None, lengths: Tensor | None) -> tuple[Tensor, LinearState]:
        q, k, v, plain_q, plain_k = self._features(x, state)
        ones, kept = torch.ones_like(v[..., :1]), kept_rows(x, lengths)
        if kept is not None:
            v, ones = (t.masked_fill(~kept[:, None, :, None], 0.0) for t in (v, ones))
        memory, total = (state.memory, state.total) if isinstance(state, LinearState) else (None, None)
        o, memory = self._sum(q, k, v, memory)
        z, total = self._sum(plain_q, plain_k, ones, total)
        out = self.out(merge(o / _nonzero(z)).to(x.dtype))
        return out, LinearState(after(x, state, lengths), memory, total)

    def _sizes(self, state: AttentionState, batch: int) -> dict[str, tuple[int, ...]]:
        return super()._sizes(state, batch) | {"total": (batch, self.heads, self.width // self.heads, 1)}

    def _nothing(self, batch: int) -> LinearState:
        state = super()._nothing(batch)
        return replace(state, total=torch.zeros_like(state.memory[..., :1]))


def _nonzero(z: Tensor) -> Tensor:
    return z.masked_fill(z == 0.0, 1.0)
