"""Adapters put into a trained model, and taken out again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mercer import store
from mercer.arrays import generator
from mercer.nn.checkpoint import load_weights
from mercer.nn.random_features.places import Place, find_places, put_module
from mercer.nn.random_features.snnk_adapter import SNNKAdapter

__all__ = ["Adapted", "AdapterReport", "add_adapters", "load_adapters"]

KIND, VERSION = "adapters", 1


class Adapted(nn.Module):
    """A module and the adapter of its output; of a tuple, of its first part."""

    def __init__(self, module: nn.Module, adapter: SNNKAdapter) -> None:
        super().__init__()
        self.module, self.adapter = module, adapter

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output, adapted."""
        out = self.module(*args, **kwargs)
        return (self.adapter(out[0]), *out[1:]) if isinstance(out, tuple) else self.adapter(out)


# What torch does by itself in evaluation: a fused layer would leave out what stands in place of its dropouts, and under
# a mask of padding an encoder would hand on nested tensors, which few modules know.
FAST_PATHS: tuple[tuple[type[nn.Module], str, Any], ...] = (
    (nn.TransformerEncoderLayer, "activation_relu_or_gelu", 0),
    (nn.TransformerEncoder, "use_nested_tensor", False),
)


@dataclass
class AdapterReport:
    """What :func:`add_adapters` has done to a model.

    Attributes:
        names: of the modules that got an adapter.
        n_adapter_parameters: numbers in the adapters now.
        n_trainable: trainable numbers of the model now.
        n_parameters: all numbers of the model now, adapters included.
    """

    names: list[str]
    _model: nn.Module = field(repr=False)
    _arguments: dict[str, Any] = field(repr=False)
    _places: list[Place] = field(repr=False)
    _was_trainable: list[nn.Parameter] = field(repr=False)
    _also_trained: list[str] = field(repr=False)
    _fused: list[tuple[nn.Module, str, Any]] = field(repr=False)
    _adapted: dict[str, Adapted] = field(repr=False)

    @property
    def n_adapter_parameters(self) -> int:
        """Numbers in the adapters now; fewer after :meth:`merge`."""
        return sum(p.numel() for own in self._adapted.values() for p in own.adapter.parameters())

    @property
    def n_trainable(self) -> int:
        """Trainable numbers of the model now."""
        return sum(p.numel() for p in self.parameters())

    @property
    def n_parameters(self) -> int:
        """All numbers of the model now, adapters included."""
        return sum(p.numel() for p in self._model.parameters())

    @property
    def adapters(self) -> dict[str, SNNKAdapter]:
        """The adapters by the name of the module that they follow."""
        found: dict[str, SNNKAdapter] = {}
        for name, own in self._adapted.items():
            if self._model.get_submodule(name) is not own:
                raise ValueError(f"{name} has no adapter of this report any more: it was removed.")
            found[name] = own.adapter
        return found

    def parameters(self) -> list[nn.Parameter]:
        """What an optimiser gets: everything in the model that is trained now."""
        return [p for p in self._model.parameters() if p.requires_grad]

    def merge(self) -> None:
        """Fold each adapter's scale (or map up) into its matrix: the same outputs with fewer numbers."""
        for adapter in self.adapters.values():
            adapter.merge()

    def remove(self) -> None:
        """Put the model back as it was: no adapters, and trained what was trained before."""
        for name in self.adapters:
            put_module(self._model, name, self._model.get_submodule(f"{name}.module"))
        for module, setting, value in self._fused:
            setattr(module, setting, value)
        for name in self._also_trained:
            self._model.get_parameter(name).requires_grad_(False)
        for parameter in self._was_trainable:
            parameter.requires_grad_(True)

    def save_adapter(self, path: str | os.PathLike[str]) -> None:
        """Write the adapters, and what else is trained, to one safetensors file; :func:`load_adapters` reads it.

        Raises:
            TypeError: an argument that a file cannot hold, such as an activation that is no name.
        """
        for name, value in self._arguments.items():
            if not (value is None or isinstance(value, bool | int | float | str)):
                raise TypeError(
                    f"save_adapter: {name} is a {type(value).__name__}, which a file cannot hold: make adapters with a "
                    f"name, a number or None there, or keep the state_dict of the model."
                )
        tensors = {f"{n}/{k}": v for n, adapter in self.adapters.items() for k, v in adapter.state_dict().items()}
        own: dict[str, Tensor] = dict(self._model.named_parameters())
        # Names of the model without adapters, so that they mean the same before and after.
        tensors |= {f"/{name}": own[_adapted_name(name, self.names)] for name in self._also_trained}
        merged = {n: adapter.scale is None and adapter.up is None for n, adapter in self.adapters.items()}
        meta = {
            "kind": KIND,
            "version": VERSION,
            "places": {place.name: place.width for place in self._places},
            "arguments": self._arguments,
            "trained": self._also_trained,
            "merged": merged,
        }
        store.save_state(path, tensors=tensors, meta=meta)


def add_adapters(
    model: nn.Module,
    where: str | Callable[[str, nn.Module], bool] = "auto",
    *,
    width: int | None = None,
    also_train: Sequence[str] = (),
    **arguments: Any,
) -> AdapterReport:
    """Freeze a model and put a :class:`SNNKAdapter` after some of its modules, in place.

    The model computes what it did before, until the adapters are trained.

    Args:
        model: trained.
        where: "auto" finds Transformer layers (torch's own, those of :mod:`mercer.nn.models`, of transformers' BERT and
            timm's vision transformers) and adapts the output of attention and of the feed-forward part; layers of your
            own are found where ``adapter_places`` names such parts of theirs, and ``width`` their columns. Or a
            function of a name and a module that says which modules get one.
        width: of the outputs; None takes the last linear layer or norm of each module.
        also_train: patterns of names of parameters that stay trainable: ``("head.*", "*norm*")``.
        **arguments: of :class:`SNNKAdapter`. ``random_state`` is that of the first; each has its own draw, of the
            numbers that follow. None or a generator draws the first one.

    Returns:
        What was added, with ``merge``, ``remove`` and ``save_adapter``.

    Raises:
        TypeError: ``also_train`` is a single text.
        ValueError: no place was found, a pattern that fits no parameter, adapters from an earlier call, or an argument
            that :class:`SNNKAdapter` refuses. The model is then as it was.

    >>> layer = torch.nn.TransformerEncoderLayer(16, 2, 64, batch_first=True)
    >>> report = add_adapters(layer, n_features=4)
    >>> report.names, report.n_trainable
    (['dropout1', 'dropout2'], 160)
    """
    _refuse_adapted(model)
    return _adapt(model, find_places(model, where, width), also_train, arguments)


def load_adapters(model: nn.Module, path: str | os.PathLike[str]) -> AdapterReport:
    """Put adapters from a file into a model without any; the rest is frozen, as :func:`add_adapters` does.

    Raises:
        FileFormatError: the file is damaged, or of another model.
        ValueError: the model lacks a module that the file names, or has adapters already.
    """
    tensors, meta = store.load_state(path, kind=KIND, version=VERSION)
    _refuse_adapted(model)
    modules = dict(model.named_modules())
    missing = [name for name in meta["places"] if name not in modules]
    if missing:
        raise ValueError(f"{path} has adapters for {', '.join(missing)}, which the model does not have.")
    places = [Place(name, width) for name, width in meta["places"].items()]
    report = _adapt(model, places, meta["trained"], meta["arguments"])
    try:
        for name, adapter in report.adapters.items():
            if meta["merged"][name]:
                adapter.merge()
            own = {k.removeprefix(f"{name}/"): v for k, v in tensors.items() if k.startswith(f"{name}/")}
            load_weights(adapter, own, path)
    except Exception:
        report.remove()
        raise
    parameters = dict(model.named_parameters())
    for name in meta["trained"]:
        parameters[_adapted_name(name, report.names)].data.copy_(tensors[f"/{name}"])
    return report


def _adapt(
    model: nn.Module, places: list[Place], also_train: Sequence[str], arguments: dict[str, Any]
) -> AdapterReport:
    if isinstance(also_train, str):
        raise TypeError(f"also_train={also_train!r}: give a tuple of patterns, such as ({also_train!r},).")
    arguments = {k: v.item() if isinstance(v, np.generic) else v for k, v in arguments.items()}  # as files hold them
    seed = arguments.get("random_state", 0)
    if not isinstance(seed, int):
        # A number, from which load_adapters can draw the same.
        arguments["random_state"] = int(torch.randint(2**31 - 1, (), generator=generator(seed)))
    named = dict(model.named_parameters())
    kept = [name for name in named if any(fnmatch(name, pattern) for pattern in also_train)]
    for pattern in also_train:
        if not any(fnmatch(name, pattern) for name in named):
            raise ValueError(f"also_train={pattern!r} fits no parameter of the model, such as {next(iter(named))!r}.")
    adapted = _adapted(model, places, arguments)  # before anything changes: arguments may be refused
    was_trainable = [p for p in named.values() if p.requires_grad]
    for name, parameter in named.items():
        parameter.requires_grad_(name in kept)
    fused = []
    for module in model.modules():
        for kind, setting, off in FAST_PATHS:
            if isinstance(module, kind):
                fused.append((module, setting, getattr(module, setting)))
                setattr(module, setting, off)
    for name, module in adapted.items():
        put_module(model, name, module)
    return AdapterReport(list(adapted), model, dict(arguments), places, was_trainable, kept, fused, adapted)


def _adapted(model: nn.Module, places: Sequence[Place], arguments: dict[str, Any]) -> dict[str, Adapted]:
    """What takes the place of each module, by its name."""
    first, found = int(arguments.get("random_state", 0)), {}
    example = next(iter(model.parameters()))
    for number, place in enumerate(places):
        module = model.get_submodule(place.name)
        own = {**arguments, "random_state": first + number}
        adapter = SNNKAdapter(place.width, **own).to(device=example.device, dtype=example.dtype)
        found[place.name] = Adapted(module, adapter).train(module.training)
    return found


def _refuse_adapted(model: nn.Module) -> None:
    name = next((name for name, module in model.named_modules() if isinstance(module, Adapted)), None)
    if name is not None:
        raise ValueError(
            f"The model has adapters already, such as that of {name}, and a second set would be mixed up with the "
            f"first in what their reports remove and save. Call remove() of the first report before."
        )


def _adapted_name(name: str, adapted: Sequence[str]) -> str:
    """The name of a parameter once the modules around it are adapted."""
    for place in adapted:
        if name.startswith(f"{place}."):
            return f"{place}.module.{name.removeprefix(f'{place}.')}"
    return name
