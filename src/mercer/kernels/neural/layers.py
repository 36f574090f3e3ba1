"""Layers of infinite networks, the building blocks of :class:`mercer.kernels.InfiniteNetwork`.

A layer with weights multiplies by ``sigma_w / sqrt(fan in)`` times standard normal numbers and adds ``sigma_b`` times
such: the NTK parametrisation. None takes the network's ``sigma_w`` or ``sigma_b``, which are hyperparameters of its
kernels; a number of its own is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mercer.kernels.neural.activations import (
    BY_NAME,
    GELU,
    Abs,
    Activation,
    Cos,
    Erf,
    Gaussian,
    Hermite,
    LeakyReLU,
    Poly,
    ReLU,
    Sin,
    Unit,
    as_unit,
)
from mercer.kernels.parameters import is_count

__all__ = [
    "BY_NAME",
    "GELU",
    "Abs",
    "Activation",
    "AvgPool",
    "Conv",
    "Cos",
    "Dense",
    "Erf",
    "Flatten",
    "Gaussian",
    "GlobalAvgPool",
    "Hermite",
    "LayerNorm",
    "LeakyReLU",
    "Poly",
    "ReLU",
    "Residual",
    "Sin",
    "Unit",
    "as_unit",
    "vocabulary",
]

PADDINGS = ("same", "valid", "circular")


@dataclass(frozen=True)
class Weighted:
    """Base of layers with weights of their own; ``sigma_w`` and ``sigma_b`` are numbers or None, the network's."""

    sigma_w: float | None = None
    sigma_b: float | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.sigma_w is not None and not self.sigma_w > 0.0:
            raise ValueError(f"{name}(sigma_w={self.sigma_w!r}): sigma_w must be > 0, or None for the network's.")
        if self.sigma_b is not None and not self.sigma_b >= 0.0:
            raise ValueError(f"{name}(sigma_b={self.sigma_b!r}): sigma_b must be >= 0, or None for the network's.")


@dataclass(frozen=True)
class Dense(Weighted):
    """A fully connected layer. On images it acts on the channels of each position; flatten first to see all."""


@dataclass(frozen=True)
class Conv(Weighted):
    """A convolution over windows of ``size`` positions along each axis.

    Args:
        size: positions along each axis.
        stride: between windows.
        padding: "same" (zeros, as many outputs as inputs at stride 1), "valid" or "circular".
    """

    size: int = 3
    stride: int = 1
    padding: str = "same"

    def __init__(
        self,
        size: int = 3,
        stride: int = 1,
        padding: str = "same",
        sigma_w: float | None = None,
        sigma_b: float | None = None,
    ) -> None:
        for name, value in {
            "size": size,
            "stride": stride,
            "padding": padding,
            "sigma_w": sigma_w,
            "sigma_b": sigma_b,
        }.items():
            object.__setattr__(self, name, value)
        super().__post_init__()
        _require_counts("Conv", size=size, stride=stride)
        if padding not in PADDINGS:
            raise ValueError(f"Conv(padding={padding!r}): the padding is one of {', '.join(PADDINGS)}.")


@dataclass(frozen=True)
class AvgPool:
    """The mean over windows of ``size`` positions along each axis, ``stride`` apart (None: side by side)."""

    size: int = 2
    stride: int | None = None

    def __post_init__(self) -> None:
        _require_counts("AvgPool", size=self.size, stride=self.step)

    @property
    def step(self) -> int:
        """Positions between windows."""
        return self.size if self.stride is None else self.stride


@dataclass(frozen=True)
class GlobalAvgPool:
    """The mean over all positions; what is left are channels."""


@dataclass(frozen=True)
class Flatten:
    """All positions and channels as features of one vector."""


@dataclass(frozen=True)
class LayerNorm:
    """Features of each point (of each position, on images) divided by their root mean square over the channels.

    Follows a layer with weights, where the features have mean 0. ``eps`` is added to the variance.
    """

    eps: float = 1e-12

    def __post_init__(self) -> None:
        if not self.eps >= 0.0:
            raise ValueError(f"LayerNorm(eps={self.eps!r}): eps must be >= 0.")


class Residual:
    """x + layers(x); the layers end with weights of their own, so that both parts are independent.

    Args:
        layers: of the branch, as arguments or as one list.
        shortcut: layers on the other side, where shapes change; none is the identity.

    >>> Residual(ReLU(), Dense())
    Residual([ReLU(), Dense(sigma_w=None, sigma_b=None)])
    """

    def __init__(self, *layers: Any, shortcut: Sequence[Any] = ()) -> None:
        self.layers: list[Any] = list(layers[0]) if len(layers) == 1 and isinstance(layers[0], list) else list(layers)
        self.shortcut: list[Any] = list(shortcut)

    def __repr__(self) -> str:
        return f"Residual({self.layers!r}{f', shortcut={self.shortcut!r}' if self.shortcut else ''})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Residual) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


LAYERS = (Dense, Conv, AvgPool, GlobalAvgPool, Flatten, LayerNorm, Residual)


def vocabulary() -> dict[str, Any]:
    """The layers that a text can build, by name."""
    units = (ReLU, LeakyReLU, Abs, Erf, GELU, Sin, Cos, Gaussian, Poly, Hermite, Activation)
    return {c.__name__: c for c in (*LAYERS, *units)}


def _require_counts(layer: str, **counts: Any) -> None:
    for name, value in counts.items():
        if not is_count(value):
            raise ValueError(f"{layer}({name}={value!r}): {name} is a whole number >= 1.")
