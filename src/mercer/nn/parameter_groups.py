"""Groups of parameters for an optimiser: each with the learning rate and the decay that its layer asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

__all__ = ["group_parameters", "parameter_groups"]

Settings = Mapping[str, float]


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """What an optimiser takes: layers with ``parameter_groups()`` decide for themselves; vectors have no decay.

    Biases, norms and skips are vectors or smaller, and weight decay would only pull them off what they stand for.

    >>> groups = parameter_groups(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)))
    >>> [(len(group["params"]), group.get("weight_decay")) for group in groups]
    [(1, None), (3, 0.0)]
    """
    return group_parameters(_with_settings(module, is_root=True))


def group_parameters(pairs: Iterable[tuple[nn.Parameter, Settings]]) -> list[dict[str, Any]]:
    """Parameters of equal settings in one group; a parameter that comes twice counts once."""
    groups: dict[tuple[tuple[str, float], ...], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for parameter, settings in pairs:
        if id(parameter) not in seen:
            seen.add(id(parameter))
            groups.setdefault(tuple(sorted(settings.items())), []).append(parameter)
    return [{"params": parameters, **dict(key)} for key, parameters in groups.items()]


def _with_settings(module: nn.Module, *, is_root: bool) -> Iterable[tuple[nn.Parameter, Settings]]:
    own = getattr(module, "parameter_groups", None)
    if own is not None and not is_root:
        for group in own():
            settings = {name: value for name, value in group.items() if name != "params"}
            yield from ((parameter, settings) for parameter in group["params"])
        return
    for parameter in module.parameters(recurse=False):
        yield parameter, {"weight_decay": 0.0} if parameter.dim() < 2 else {}
    for child in module.children():
        yield from _with_settings(child, is_root=False)
