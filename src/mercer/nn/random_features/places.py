"""Where adapters go in a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

__all__ = ["Place", "find_places", "put_module"]


@dataclass(frozen=True)
class Place:
    """A module whose output gets an adapter.

    Attributes:
        name: as in ``model.named_modules()``.
        width: columns of its output.
    """

    name: str
    width: int


def find_places(model: nn.Module, where: str | Callable[[str, nn.Module], bool], width: int | None) -> list[Place]:
    """The modules after which adapters go, in the order of ``named_modules``.

    Args:
        model: the model.
        where: "auto", or a function of a name and a module that says yes or no.
        width: of all outputs; None finds it.

    Raises:
        ValueError: no place is found, a width cannot be found, or a place lies within another.
    """
    if callable(where):
        chosen = [(name, module) for name, module in model.named_modules() if name and where(name, module)]
        found = [Place(name, width or _width(name, module)) for name, module in chosen]
    elif where == "auto":
        found = [place for name, module in model.named_modules() for place in _of_layer(name, module)]
    else:
        raise ValueError(f"where={where!r}: it is 'auto', or a function of a module's name and the module.")
    if not found:
        layers = sorted({type(m).__name__ for m in model.modules() if any(True for _ in m.children())})
        raise ValueError(
            f"No place for an adapter was found. Say which modules get one by where=lambda name, module: ...; the "
            f"model has {', '.join(layers)}."
        )
    for place in found:
        if any(other is not place and place.name.startswith(f"{other.name}.") for other in found):
            raise ValueError(f"{place.name} lies within another place: let `where` choose one of them.")
    return found


def put_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one that has this name in ``model.named_modules()``."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _of_layer(name: str, module: nn.Module) -> list[Place]:
    """The places of a Transformer layer of any kind known: after attention, and after the feed-forward part."""
    prefix = f"{name}." if name else ""
    kind, children = type(module).__name__, dict(module.named_children())
    own: Any = getattr(module, "adapter_places", None)
    if own is not None:  # layers of mercer say so themselves, and yours may
        return [Place(prefix + child, int(module.width)) for child in own]  # type: ignore[arg-type]
    if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        drops = [child for child in ("dropout1", "dropout2", "dropout3") if child in children]
        return [Place(prefix + child, module.linear2.out_features) for child in drops]
    dense = children.get("dense")
    if kind.endswith("Output") and isinstance(dense, nn.Linear) and "dropout" in children:  # BERT of transformers
        return [Place(f"{prefix}dropout", dense.out_features)]
    norm = children.get("norm1")
    if {"attn", "mlp", "norm2"} <= children.keys() and isinstance(norm, nn.LayerNorm):  # vision transformers of timm
        return [Place(prefix + child, int(norm.normalized_shape[-1])) for child in ("attn", "mlp")]
    norm = children.get("layernorm_before")
    if {"attention", "mlp"} <= children.keys() and isinstance(norm, nn.LayerNorm):  # those of transformers 5
        return [Place(prefix + child, int(norm.normalized_shape[-1])) for child in ("attention", "mlp")]
    return []


def _width(name: str, module: nn.Module) -> int:
    """The columns of a module's output: of its last linear layer or layer norm."""
    for part in reversed(list(module.modules())):
        if isinstance(part, nn.Linear):
            return part.out_features
        if isinstance(part, nn.LayerNorm):
            return int(part.normalized_shape[-1])
    raise ValueError(f"How wide the output of {name} ({type(module).__name__}) is, is not known: give width=.")
