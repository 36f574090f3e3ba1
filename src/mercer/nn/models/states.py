"""The state of a whole network between tokens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mercer import store
from mercer.errors import FileFormatError
from mercer.nn.attention.states import AttentionState, BlockState, LinearState

__all__ = ["SequenceState"]

KIND, VERSION = "sequence state", 1
_KINDS: dict[str, type[AttentionState]] = {"LinearState": LinearState, "BlockState": BlockState}


@dataclass(frozen=True)
class SequenceState:
    """What a network remembers of its sequences: a state a layer. Attentions do not change theirs in a step.

    Attributes:
        layers: the states of the mixers, from the first layer on.

    >>> model = mc.nn.models.TransNormer(10, layers=2, width=16, heads=2, block=8)
    >>> _, state = model.prefill(torch.tensor([[1, 2, 3]]))
    >>> twice = SequenceState.stack([state, state])
    >>> logits, after = model.step(torch.tensor([4, 5]), twice)
    >>> logits.shape, after.layers[1].position
    (torch.Size([2, 10]), tensor([4, 4]))
    """

    layers: tuple[Any, ...]

    def to(self, device: torch.device | str) -> SequenceState:
        """The same on another device."""
        return SequenceState(tuple(layer.to(device) for layer in self.layers))

    def select(self, rows: Any) -> SequenceState:
        """Some of the sequences, in any order and as often as wanted: a list, a slice or a tensor of indices."""
        return SequenceState(tuple(layer.select(rows) for layer in self.layers))

    @classmethod
    def stack(cls, states: Sequence[SequenceState]) -> SequenceState:
        """The sequences of several states as one batch."""
        by_layer = zip(*(state.layers for state in states), strict=True)
        return cls(tuple(type(layers[0]).stack(layers) for layers in by_layer))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to one safetensors file, whole or not at all.

        Raises:
            TypeError: a layer whose state is not one of mercer's attentions.
        """
        kinds = [type(layer).__name__ for layer in self.layers]
        other = next((kind for kind in kinds if kind not in _KINDS), None)
        if other is not None:
            raise TypeError(f"SequenceState.save: layers with a {other} cannot be saved; those of attentions can.")
        tensors = {f"{i}.{name}": x for i, layer in enumerate(self.layers) for name, x in layer.tensors().items()}
        store.save_state(path, tensors=tensors, meta={"kind": KIND, "version": VERSION, "layers": kinds})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SequenceState:
        """Read what :meth:`save` wrote; on the CPU.

        Raises:
            FileFormatError: the file is damaged or of another kind.
        """
        tensors, meta = store.load_state(path, kind=KIND, version=VERSION)
        layers = []
        for i, kind in enumerate(meta["layers"]):
            found = {name.split(".", 1)[1]: x for name, x in tensors.items() if name.startswith(f"{i}.")}
            try:
                layers.append(_KINDS[kind](**found))
            except (KeyError, TypeError):
                raise FileFormatError(f"{path}: layer {i} is no state that this mercer knows.") from None
        return cls(tuple(layers))
