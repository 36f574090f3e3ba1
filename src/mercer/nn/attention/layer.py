"""What attention layers share: projections into heads, lengths, and the ways to call them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from mercer.errors import ShapeError
from mercer.nn.attention.positions import Positions, rotary
from mercer.nn.attention.states import AttentionState
from mercer.nn.lengths import Lengths, kept_rows

__all__ = ["AttentionLayer", "after", "merge", "places"]


class AttentionLayer(nn.Module):
    """A layer from ``(B, n, width)`` to the same, with heads; subclasses say how rows see each other."""

    _state_kind: ClassVar[type[AttentionState]]

    def __init__(self, width: int, heads: int, *, positions: Positions, causal: bool, gain: float) -> None:
        super().__init__()
        name = type(self).__name__
        if heads < 1 or width < 1 or width % heads:
            raise ValueError(f"{name}(width={width}, heads={heads}): the width must be a multiple of the heads.")
        self.width, self.heads, self.causal, self.positions = width, heads, causal, positions
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.rotary = rotary(positions, width // heads)
        for layer, size in ((self.query, gain), (self.key, gain), (self.value, gain), (self.out, 1.0)):
            nn.init.xavier_uniform_(layer.weight, gain=size)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, *, state: AttentionState | None = None, lengths: Lengths | None = None) -> Tensor:
        """All rows at once.

        Args:
            x: ``(B, n, width)``.
            state: of the rows before them, where there are any; causal layers only.
            lengths: ``(B,)``, how many rows of each sequence there are; the others are padding, which nothing sees and
                whose outputs mean nothing.

        Raises:
            ShapeError: another width, lengths that do not fit, or a state of another batch, of other heads or blocks.
            ValueError: a state for a layer that is not causal.
            TypeError: a state of another kind of layer.
        """
        return self._run(x, state, lengths)[0]

    def prefill(
        self, x: Tensor, state: AttentionState | None = None, *, lengths: Lengths | None = None
    ) -> tuple[Tensor, AttentionState]:
        """:meth:`forward` that also gives the state after the last row of each sequence."""
        self._ask_for_causal("prefill")
        return self._run(x, state, lengths)

    def step(self, x: Tensor, state: AttentionState | None = None) -> tuple[Tensor, AttentionState]:
        """One row of each sequence, ``(B, width)``, and the state after it; without a state it is the first one."""
        self._ask_for_causal("step")
        out, after = self._run(x[:, None], state, None)
        return out[:, 0], after

    def initial_state(self, batch: int) -> AttentionState:
        """The state of sequences that have not begun."""
        self._ask_for_causal("initial_state")
        return self._nothing(batch)

    def weights(self, x: Tensor) -> Tensor:
        """What each row takes of each value, ``(B, H, n, n)``: the definition, quadratic in the length."""
        raise NotImplementedError

    def _nothing(self, batch: int) -> AttentionState:
        raise NotImplementedError

    def _sizes(self, state: AttentionState, batch: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors of a state of so many sequences."""
        raise NotImplementedError

    def _mix(self, x: Tensor, state: AttentionState | None, lengths: Tensor | None) -> tuple[Tensor, AttentionState]:
        raise NotImplementedError

    def _run(self, x: Tensor, state: AttentionState | None, lengths: Lengths | None) -> tuple[Tensor, AttentionState]:
        if x.dim() != 3 or x.shape[-1] != self.width:
            name = type(self).__name__
            raise ShapeError(f"{name}: x must be (B, n, {self.width}), but is {tuple(x.shape)}.")
        if state is not None:
            self._ask_for_causal("a state")
            self._check_state(state, x.shape[0])
        lengths = None if lengths is None else torch.as_tensor(lengths)
        kept = kept_rows(x, lengths)
        # Zeros, so that not even NaN in the padding reaches a row that counts.
        return self._mix(x if kept is None else x.masked_fill(~kept[..., None], 0.0), state, lengths)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each ``(B, H, n, e)``."""
        sizes = (self.heads, self.width // self.heads)
        q, k, v = (layer(x).unflatten(-1, sizes).transpose(1, 2) for layer in (self.query, self.key, self.value))
        return q, k, v

    def _check_state(self, state: AttentionState, batch: int) -> None:
        name, kind = type(self).__name__, self._state_kind
        if not isinstance(state, kind):
            wanted, given = (f"{cls.__module__}.{cls.__qualname__}" for cls in (kind, type(state)))
            raise TypeError(f"{name}: its state is a {wanted}, as prefill and initial_state give it, not a {given}.")
        if torch.compiler.is_compiling():
            return
        sizes, found = self._sizes(state, batch), {key: tuple(t.shape) for key, t in state.tensors().items()}
        if found != sizes:
            raise ShapeError(
                f"{name}: for {batch} sequences its state has tensors of shapes {sizes}, but those given are {found}. "
                f"Was it made for another batch, or by a layer with other arguments?"
            )

    def _ask_for_causal(self, what: str) -> None:
        if not self.causal:
            name = type(self).__name__
            raise ValueError(f"{name}(causal=False) has no {what}: rows wait for later ones. Make it causal=True.")


def merge(o: Tensor) -> Tensor:
    """``(B, H, n, e)`` to ``(B, n, H e)``."""
    return o.transpose(1, 2).flatten(2)


def places(x: Tensor, state: AttentionState | None) -> Tensor:
    """The positions of the rows of x: ``(n,)``, or ``(B, n)`` after a state."""
    steps = torch.arange(x.shape[1], device=x.device)
    return steps if state is None else state.position[:, None] + steps


def after(x: Tensor, state: AttentionState | None, lengths: Tensor | None) -> Tensor:
    """The positions ``(B,)`` after the rows of x."""
    n = torch.full((x.shape[0],), x.shape[1], device=x.device) if lengths is None else lengths.to(x.device)
    return n if state is None else state.position + n
