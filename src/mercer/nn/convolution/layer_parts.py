"""What layers of long convolutions share: checks of their options, what mixes channels, groups for an optimiser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from mercer.nn.parameter_groups import group_parameters

__all__ = ["ACTIVATIONS", "OUTPUTS", "layer_groups", "require_options"]

ACTIVATIONS: dict[str | None, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, None: nn.Identity}
OUTPUTS = ("glu", "linear", None)


def require_options(owner: str, **options: tuple[Any, Sequence[Any]]) -> None:
    """Every option is ``(value, allowed values)``.

    Raises:
        ValueError: a value that is not among them.
    """
    for name, (value, allowed) in options.items():
        if value not in allowed:
            raise ValueError(f"{owner}: {name}={value!r} is not one of {', '.join(map(repr, allowed))}.")


def layer_groups(kernel: nn.Module, skip: nn.Parameter, output: nn.Module) -> list[dict[str, Any]]:
    """For an optimiser: a kernel as it wants it, and without decay; skip and biases without decay; the rest."""
    pairs: list[tuple[nn.Parameter, Mapping[str, float]]] = []
    own = getattr(kernel, "parameter_groups", None)
    groups: Iterable[dict[str, Any]]
    groups = [{"params": list(kernel.parameters()), "weight_decay": 0.0}] if own is None else own()
    for group in groups:
        settings = {name: value for name, value in group.items() if name != "params"}
        pairs += [(p, settings) for p in group["params"] if p.requires_grad]
    pairs.append((skip, {"weight_decay": 0.0}))
    pairs += [(p, {"weight_decay": 0.0} if p.dim() < 2 else {}) for p in output.parameters()]
    return group_parameters(pairs)
