"""A copy of a network with some of its modules replaced."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from torch import nn

__all__ = ["replaced"]


def replaced(
    network: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...], change: Callable[[Any], nn.Module]
) -> nn.Module:
    """A copy with ``change(module)`` in the place of every module of these kinds; of a network of one, that.

    Raises:
        ValueError: there is none.
    """
    if isinstance(network, kinds):
        return change(network)
    made = deepcopy(network)
    places = [
        (parent, name) for parent in made.modules() for name, own in parent.named_children() if isinstance(own, kinds)
    ]
    if not places:
        names = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        raise ValueError(f"{type(network).__name__} has no {names}.")
    for parent, name in places:
        setattr(parent, name, change(getattr(parent, name)))
    return made
