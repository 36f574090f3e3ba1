"""One layer of a sequence network: mix along the sequence, then each place by itself."""

from __future__ import annotations

import inspect
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mercer.nn.lengths import Lengths, kept_rows
from mercer.nn.models.norms import Norm, build_norm, normed, refuse_batch_norm

__all__ = ["CausalMixer", "MixerBlock", "is_causal"]


@runtime_checkable
class CausalMixer(Protocol):
    """What mixes a sequence and can go on token by token; all causal layers of mercer do, and yours may.

    ``forward(x)`` takes ``(B, n, width)`` to the same, ``step(x, state)`` one row of each sequence ``(B, width)`` to
    ``(y, state)``, and ``initial_state(batch)`` begins. With ``prefill(x)``, or ``prefill(x, state)``, to outputs and a
    state, prompts are taken at once. The states of attentions are not changed by a step; those of long convolutions
    are.
    """

    def __call__(self, x: Tensor) -> Tensor: ...

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]: ...

    def initial_state(self, batch: int) -> Any: ...


def is_causal(mixer: nn.Module) -> bool:
    """What a mixer says by its attribute ``causal``; one that says nothing is taken to be where it has steps."""
    return bool(getattr(mixer, "causal", hasattr(mixer, "step")))


class MixerBlock(nn.Module):
    """``x + mixer(norm(x))``, then ``x + mlp(norm(x))``: the residual block of all sequence networks.

    Args:
        mixer: from ``(B, n, width)`` to the same; with ``step`` and ``initial_state`` it can go on token by token.
        width: of the rows.
        feedforward: what each row goes through afterwards, by itself; None leaves that out.
        norm: "rms", "srms", "layer", "batch", or a function of the width. A batch norm is refused for causal mixers,
            inside of them and of their networks too.
        prenorm: False norms the sums instead: ``norm(x + mixer(x))``.
        dropout: of both branches, in training.
        tie_dropout: whether a column is dropped in all rows of a sequence, instead of each number by itself.

    Raises:
        ValueError: an unknown norm, or a batch norm that would let a causal mixer see the future.

    >>> block = MixerBlock(mc.nn.NormAttention(16, 2), 16, feedforward=mc.nn.GatedMLP(16))
    >>> block(torch.randn(2, 30, 16)).shape
    torch.Size([2, 30, 16])
    """

    def __init__(
        self,
        mixer: nn.Module,
        width: int,
        *,
        feedforward: nn.Module | None = None,
        norm: Norm = "rms",
        prenorm: bool = True,
        dropout: float = 0.0,
        tie_dropout: bool = False,
    ) -> None:
        super().__init__()
        self.mixer: Any = mixer
        self.mlp, self.prenorm = feedforward, prenorm
        causal = is_causal(mixer)
        if causal:
            for part in (mixer, feedforward):
                if part is not None:
                    refuse_batch_norm(part)
        self.mixer_norm = build_norm(norm, width, causal=causal)
        self.mlp_norm = None if feedforward is None else build_norm(norm, width, causal=causal)
        self.width = width
        # One a branch, though they are alike: adapters take the place of each.
        drop = _ColumnDropout if tie_dropout else nn.Dropout
        self.mixer_dropout, self.mlp_dropout = drop(dropout), drop(dropout)
        self._takes = inspect.signature(mixer.forward).parameters.keys() & {"lengths", "mask"}

    @property
    def adapter_places(self) -> tuple[str, ...]:
        """Where :func:`mercer.nn.add_adapters` puts adapters: on what each branch adds."""
        return ("mixer_dropout",) if self.mlp is None else ("mixer_dropout", "mlp_dropout")

    def forward(self, x: Tensor, *, lengths: Lengths | None = None) -> Tensor:
        """``(B, n, width)`` to the same.

        Args:
            x: the rows.
            lengths: ``(B,)``, of each sequence where its end is padding.

        Raises:
            ValueError: lengths, and a mixer that would let rows see the padding.
        """
        z = self._before(x, lengths)
        if lengths is None or "lengths" in self._takes:
            mixed = self.mixer(z, **({} if lengths is None else {"lengths": lengths}))
        elif "mask" in self._takes:
            mixed = self.mixer(z, mask=kept_rows(x, lengths))
        elif is_causal(self.mixer):
            mixed = self.mixer(z)  # what is padded comes later
        else:
            raise ValueError(
                f"{type(self.mixer).__name__} takes neither lengths nor a mask, so padding would be mixed in. Give "
                f"sequences of one length, or another mixer."
            )
        return self._after(x, mixed, lengths)

    def prefill(self, x: Tensor, state: Any, lengths: Lengths | None) -> tuple[Tensor, Any]:
        """Many rows after a state, and the state after them."""
        mixed, state = _prefill(self.mixer, self._before(x, lengths), state, lengths)
        return self._after(x, mixed, lengths), state

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One row of each sequence, ``(B, width)``."""
        mixed, state = self.mixer.step(self._before(x, None), state)
        return self._after(x, mixed, None), state

    def _before(self, x: Tensor, lengths: Lengths | None) -> Tensor:
        return normed(self.mixer_norm, x, lengths) if self.prenorm else x

    def _after(self, x: Tensor, mixed: Tensor, lengths: Lengths | None) -> Tensor:
        """The rest of the block, once the rows are mixed."""
        x = x + self.mixer_dropout(mixed)
        if not self.prenorm:
            x = normed(self.mixer_norm, x, lengths)
        if self.mlp is None or self.mlp_norm is None:
            return x
        if self.prenorm:
            out: Tensor = x + self.mlp_dropout(self.mlp(normed(self.mlp_norm, x, lengths)))
            return out
        return normed(self.mlp_norm, x + self.mlp_dropout(self.mlp(x)), lengths)


class _ColumnDropout(nn.Dropout1d):
    """Of whole columns of ``(B, n, width)``."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mT).mT


def _prefill(mixer: Any, x: Tensor, state: Any, lengths: Lengths | None) -> tuple[Tensor, Any]:
    """Rows at once where the mixer can do that, else one by one."""
    takes = inspect.signature(mixer.prefill).parameters if hasattr(mixer, "prefill") else {}
    if lengths is not None:
        if "lengths" not in takes:
            name = type(mixer).__name__
            raise ValueError(
                f"{name} takes prompts of one length only: give sequences of other lengths each by itself."
            )
        return mixer.prefill(x, state, lengths=lengths)  # type: ignore[no-any-return]
    if "state" in takes:
        return mixer.prefill(x, state)  # type: ignore[no-any-return]
    if state is None and takes:
        return mixer.prefill(x)  # type: ignore[no-any-return]
    state = mixer.initial_state(x.shape[0]) if state is None else state
    rows = []
    for t in range(x.shape[1]):
        y, state = mixer.step(x[:, t], state)
        rows.append(y)
    return torch.stack(rows, 1), state
