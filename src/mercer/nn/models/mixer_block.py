"""One layer of a sequence network: mix along the sequence, then each place by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mercer.nn.attention.gated_mlp import GatedMLP
from mercer.nn.attention.layer import AttentionLayer
from mercer.nn.attention.srms_norm import SRMSNorm

__all__ = ["CausalMixer", "MixerBlock", "Norm", "build_norm"]

Norm = str | Callable[[int], nn.Module]


@runtime_checkable
class CausalMixer(Protocol):
    """What mixes a sequence and can go on token by token; all causal layers of mercer do, and yours may.

    ``forward(x)`` takes ``(B, n, width)`` to the same, ``step(x, state)`` one row of each sequence ``(B, width)`` to
    ``(y, state)``, and ``initial_state(batch)`` begins. With ``prefill(x)`` to outputs and a state, prompts are taken
    at once. The states of attentions are not changed by a step; those of long convolutions are.
    """

    def __call__(self, x: Tensor) -> Tensor: ...

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]: ...

    def initial_state(self, batch: int) -> Any: ...


class MixerBlock(nn.Module):
    """``x + mixer(norm(x))``, then ``x + mlp(norm(x))``.

    Args:
        mixer: from ``(B, n, width)`` to the same; with ``step`` and ``initial_state`` it can generate.
        width: of the rows.
        hidden: of the gated layer; None is ``8 width / 3``.
        norm: as of :class:`LanguageModel`.
        dropout: of both branches.
    """

    def __init__(self, mixer: nn.Module, width: int, *, hidden: int | None, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.mixer: Any = mixer
        self.mlp = GatedMLP(width, hidden)
        self.mixer_norm, self.mlp_norm = build_norm(norm, width), build_norm(norm, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """``(B, n, width)`` to the same."""
        options = {} if lengths is None else {"lengths": lengths}
        return self._rest(x, self.mixer(self.mixer_norm(x), **options))

    def prefill(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        """Many rows after a state, and the state after them."""
        mixed, state = prefill(self.mixer, self.mixer_norm(x), state, lengths)
        return self._rest(x, mixed), state

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One row of each sequence, ``(B, width)``."""
        mixed, state = self.mixer.step(self.mixer_norm(x), state)
        return self._rest(x, mixed), state

    def _rest(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + self.dropout(mixed)
        out: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return out


def prefill(mixer: Any, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
    """Rows at once where the mixer can do that after a state, else one by one."""
    if isinstance(mixer, AttentionLayer):
        return mixer.prefill(x, state, lengths=lengths)
    if lengths is not None:
        name = type(mixer).__name__
        raise ValueError(f"{name} takes prompts of one length only: give sequences of other lengths each by itself.")
    if state is None and hasattr(mixer, "prefill"):
        found: tuple[Tensor, Any] = mixer.prefill(x)
        return found
    state = mixer.initial_state(len(x)) if state is None else state
    rows = []
    for t in range(x.shape[1]):
        y, state = mixer.step(x[:, t], state)
        rows.append(y)
    return torch.stack(rows, 1), state


def build_norm(norm: Norm, width: int) -> nn.Module:
    """A norm of each row by itself.

    Raises:
        ValueError: an unknown name, or one that mixes rows.
    """
    if callable(norm):
        built = norm(width)
        refuse_batch_norm(built)
        return built
    if norm == "batch":
        raise ValueError(_LEAK)
    if norm == "srms":
        return SRMSNorm()
    if norm == "rms":
        return nn.RMSNorm(width, eps=1e-6)
    if norm == "layer":
        return nn.LayerNorm(width)
    raise ValueError(f'norm={norm!r}: choose "rms", "srms" or "layer", or give a function of the width.')


def refuse_batch_norm(module: nn.Module) -> None:
    """Raise where a part of a causal model is a batch norm.

    Raises:
        ValueError: it is.
    """
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        raise ValueError(_LEAK)


_LEAK = (
    "A batch norm takes its mean over all places, later ones too: in training the model would see the future. "
    'Take norm="rms".'
)
