"""Functions of torch that an activation knows by name: so that a text can hold it, and closed forms are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["FUNCTIONS", "name_of", "relu6", "tanh_gelu"]

Function = Callable[[Tensor], Tensor]


def tanh_gelu(z: Tensor) -> Tensor:
    """GELU by its approximation with tanh."""
    return functional.gelu(z, approximate="tanh")


def relu6(z: Tensor) -> Tensor:
    """min(max(z, 0), 6)."""
    return z.clamp(0.0, 6.0)


# The first of each name is what is called; in the order of their names.
FUNCTIONS: dict[str, tuple[Function, ...]] = {
    "abs": (torch.abs, torch.absolute, Tensor.abs),
    "arctan": (torch.atan, torch.arctan),
    "celu": (functional.celu, torch.celu),
    "cos": (torch.cos,),
    "elu": (functional.elu,),
    "erf": (torch.erf, torch.special.erf),
    "exp": (torch.exp,),
    "gelu": (functional.gelu,),
    "gelu_tanh": (tanh_gelu,),
    "hardtanh": (functional.hardtanh,),
    "leaky_relu": (functional.leaky_relu,),
    "logsigmoid": (functional.logsigmoid,),
    "mish": (functional.mish,),
    "relu": (torch.relu, functional.relu, Tensor.relu),
    "relu6": (relu6, functional.relu6),
    "selu": (functional.selu, torch.selu),
    "sigmoid": (torch.sigmoid, functional.sigmoid, torch.special.expit),
    "silu": (functional.silu,),
    "sin": (torch.sin,),
    "softplus": (functional.softplus,),
    "softsign": (functional.softsign,),
    "tanh": (torch.tanh, functional.tanh),
}


def name_of(function: Any) -> str | None:
    """The name of a function; None where it has none here."""
    return next((name for name, known in FUNCTIONS.items() if any(function is f for f in known)), None)
