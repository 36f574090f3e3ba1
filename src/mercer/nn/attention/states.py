"""What a causal layer remembers between calls: tensors, the batch first, that can be moved, stacked and picked from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["AttentionState", "BlockState", "LinearState"]


@dataclass(frozen=True)
class AttentionState:
    """What all states have.

    Attributes:
        position: how many tokens each sequence has had, ``(B,)``.
    """

    position: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, without those that are None."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return self._with({name: tensor.to(device) for name, tensor in self.tensors().items()})

    def select(self, rows: Any) -> Self:
        """Some of the sequences, in any order and as often as wanted: a list, a slice or a tensor of indices."""
        return self._with({name: tensor[rows] for name, tensor in self.tensors().items()})

    @classmethod
    def stack(cls, states: Sequence[Self]) -> Self:
        """The sequences of several states as one batch."""
        parts = [state.tensors() for state in states]
        return states[0]._with({name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def clone(self) -> Self:
        """Itself: steps of attentions make a new state and leave the old one as it was."""
        return self

    def numbers(self) -> dict[str, Any]:
        """What is no tensor, as JSON: nothing."""
        return {}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> Self:
        """The state that had these tensors."""
        return cls(**tensors)

    def _with(self, tensors: dict[str, Any]) -> Self:
        return replace(self, **tensors)


@dataclass(frozen=True)
class LinearState(AttentionState):
    """Of linear attention: its size does not know the length.

    Attributes:
        memory: the sum of the outer products of keys and values, ``(B, H, e, e)``, float32 or wider.
        total: the sum of the keys where outputs are divided by it, ``(B, H, e, 1)``; else None.
    """

    memory: Tensor
    total: Tensor | None = None


@dataclass(frozen=True)
class BlockState(AttentionState):
    """Of softmax and block attention: the keys and values that later tokens may still see.

    Attributes:
        keys, values: ``(B, H, m, e)``. m is the block, two blocks with a window, and what has been so far without
            blocks. Places after a sequence's position hold anything.
    """

    keys: Tensor
    values: Tensor

    @classmethod
    def stack(cls, states: Sequence[Self]) -> Self:
        """The sequences of several states as one batch; shorter ones get places that hold nothing."""
        most = max(state.keys.shape[2] for state in states)

        def padded(x: Tensor) -> Tensor:
            return functional.pad(x, (0, 0, 0, most - x.shape[2]))

        return super().stack([replace(s, keys=padded(s.keys), values=padded(s.values)) for s in states])
