"""The state of a whole network between tokens."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer import store
from mercer.errors import FileFormatError
from mercer.nn.attention.states import BlockState, LinearState
from mercer.nn.convolution.h3 import H3State
from mercer.nn.convolution.states import CONVOLUTION_STATES

__all__ = ["SequenceState"]

KIND, VERSION = "sequence state", 2
# Convolutions have a BlockState too, so theirs are told by a prefix.
_KINDS: dict[str, Any] = {
    "LinearState": LinearState,
    "BlockState": BlockState,
    "H3State": H3State,
    **{f"Conv{name}": kind for name, kind in CONVOLUTION_STATES.items()},
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True)
class SequenceState:
    """What a network remembers of its sequences: a state a layer.

    Attentions do not change theirs in a step, convolutions do: :meth:`clone` keeps a copy to go on from again. States
    of convolutions hold their kernels, so what is restored goes on as before even where the network was trained since.

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

    def clone(self) -> SequenceState:
        """A copy that goes its own way."""
        return SequenceState(
            tuple(layer.clone() if hasattr(layer, "clone") else copy.deepcopy(layer) for layer in self.layers)
        )

    def to(self, device: torch.device | str) -> SequenceState:
        """The same on another device."""
        return SequenceState(tuple(layer.to(device) for layer in self.layers))

    def select(self, rows: Any) -> SequenceState:
        """Some of the sequences, in any order and as often as wanted: a list, a slice or a tensor of indices."""
        return SequenceState(
            tuple(layer[rows] if isinstance(layer, Tensor) else layer.select(rows) for layer in self.layers)
        )

    @classmethod
    def stack(cls, states: Sequence[SequenceState]) -> SequenceState:
        """The sequences of several states as one batch.

        Raises:
            ValueError: states of convolutions after other numbers of steps.
        """
        by_layer = zip(*(state.layers for state in states), strict=True)
        return cls(
            tuple(
                torch.cat(layers) if isinstance(layers[0], Tensor) else type(layers[0]).stack(layers)
                for layers in by_layer
            )
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to one safetensors file, whole or not at all.

        States of mercer's layers are written, and of yours those that are a tensor.

        Raises:
            TypeError: a layer whose state is another thing.
        """
        tensors: dict[str, Tensor] = {}
        layers = []
        for i, layer in enumerate(self.layers):
            kind = "Tensor" if isinstance(layer, Tensor) else _NAMES.get(type(layer))
            if kind is None:
                raise TypeError(
                    f"SequenceState.save: layer {i} has a {type(layer).__name__}, which has no safe form in a file. "
                    f"States of mercer's layers can be saved, and tensors."
                )
            parts = {"": layer} if isinstance(layer, Tensor) else layer.tensors()
            # Files have no complex numbers of double precision; pairs of real ones say the same.
            pairs = [name for name, x in parts.items() if x.is_complex()]
            tensors |= {f"{i}.{name}": torch.view_as_real(x) if x.is_complex() else x for name, x in parts.items()}
            numbers = {} if isinstance(layer, Tensor) else layer.numbers()
            layers.append({"kind": kind, "numbers": numbers, "complex": pairs})
        store.save_state(path, tensors=tensors, meta={"kind": KIND, "version": VERSION, "layers": layers})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SequenceState:
        """Read what :meth:`save` wrote; on the CPU.

        Raises:
            FileFormatError: the file is damaged or of another kind.
        """
        tensors, meta = store.load_state(path, kind=KIND, version=VERSION)
        layers = []
        for i, about in enumerate(meta["layers"]):
            found = {name.split(".", 1)[1]: x for name, x in tensors.items() if name.startswith(f"{i}.")}
            try:
                layers.append(_restored(found, about))
            except (KeyError, TypeError, AttributeError):
                raise FileFormatError(f"{path}: layer {i} is no state that this mercer knows.") from None
        return cls(tuple(layers))


def _restored(tensors: dict[str, Tensor], about: Mapping[str, Any]) -> Any:
    for name in about["complex"]:
        tensors[name] = torch.view_as_complex(tensors[name])
    if about["kind"] == "Tensor":
        return tensors[""]
    return _KINDS[about["kind"]].restore(tensors, about["numbers"])
