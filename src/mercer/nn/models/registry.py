"""Networks by name."""

from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

from torch import nn

_BUILDERS: dict[str, Callable[..., nn.Module]] = {}


def register_model(name: str, builder: Callable[..., nn.Module]) -> None:
    """Make a network available to `create_model`.

    Args:
        name: what users write, in lower case with underscores: "soft_tiny".
        builder: called with the keyword arguments of `create_model`; returns a new network.

    Raises:
        ValueError: the name is taken by another builder.
    """
    if _BUILDERS.setdefault(name, builder) is not builder:
        raise ValueError(f"a model is already called {name!r}: choose another name")


def create_model(name: str, **arguments: Any) -> nn.Module:
    """A new network of this name, its weights drawn from torch's global generator.

    Args:
        name: one of `list_models()`.
        **arguments: of the network's own class, beyond what the name decides.

    Raises:
        ValueError: no network has this name; the message has those that come near.
    """
    if name not in _BUILDERS:
        stem = name.split("_")[0]
        near = list_models(f"{stem}*") or list_models()
        raise ValueError(f"no model is called {name!r}: choose one of {', '.join(near)}")
    return _BUILDERS[name](**arguments)


def list_models(pattern: str = "*") -> list[str]:
    """Names for `create_model` that match a shell pattern, in alphabetical order."""
    return sorted(name for name in _BUILDERS if fnmatch(name, pattern))
