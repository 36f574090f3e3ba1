"""Activations of infinite networks: what stands between two layers with weights.

Each is a small frozen object with the name and arguments by which a text can build it, its dual
(``mercer.kernels.duals``) and the function itself, for networks of finite width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.kernels.duals import Dual, ErrorFunction, GaussianErrorUnit, Ramp, Wave
from mercer.kernels.duals_series import Powers, Quadrature
from mercer.kernels.neural.functions import FUNCTIONS, name_of
from mercer.kernels.parameters import is_count


class Unit:
    """Base of activations: ``dual`` and ``function``."""

    @property
    def dual(self) -> Dual:
        """What it does to covariances."""
        raise NotImplementedError

    def function(self, z: Tensor) -> Tensor:
        """The activation itself, elementwise."""
        raise NotImplementedError


@dataclass(frozen=True)
class ReLU(Unit):
    """max(z, 0)."""

    @property
    def dual(self) -> Dual:
        return Ramp()

    def function(self, z: Tensor) -> Tensor:
        return torch.relu(z)


@dataclass(frozen=True)
class LeakyReLU(Unit):
    """max(z, 0) + slope * min(z, 0)."""

    slope: float = 0.01

    @property
    def dual(self) -> Dual:
        return Ramp(float(self.slope), 1.0)

    def function(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, z, z * self.slope)


@dataclass(frozen=True)
class Abs(Unit):
    """The absolute value."""

    @property
    def dual(self) -> Dual:
        return Ramp(-1.0, 1.0)

    def function(self, z: Tensor) -> Tensor:
        return z.abs()


@dataclass(frozen=True)
class Erf(Unit):
    """The error function, close to tanh(1.2 z)."""

    @property
    def dual(self) -> Dual:
        return ErrorFunction()

    def function(self, z: Tensor) -> Tensor:
        return torch.erf(z)


@dataclass(frozen=True)
class GELU(Unit):
    """z times the normal distribution function (the erf form, not the tanh approximation)."""

    @property
    def dual(self) -> Dual:
        return GaussianErrorUnit()

    def function(self, z: Tensor) -> Tensor:
        return torch.nn.functional.gelu(z)


@dataclass(frozen=True)
class Sin(Unit):
    """amplitude * sin(frequency * z + phase)."""

    amplitude: float = 1.0
    frequency: float = 1.0
    phase: float = 0.0

    @property
    def dual(self) -> Dual:
        return Wave(float(self.amplitude), float(self.frequency), float(self.phase))

    def function(self, z: Tensor) -> Tensor:
        return self.amplitude * torch.sin(self.frequency * z + self.phase)


@dataclass(frozen=True)
class Cos(Unit):
    """amplitude * cos(frequency * z)."""

    amplitude: float = 1.0
    frequency: float = 1.0

    @property
    def dual(self) -> Dual:
        return Wave(float(self.amplitude), float(self.frequency), math.pi / 2.0)

    def function(self, z: Tensor) -> Tensor:
        return self.amplitude * torch.cos(self.frequency * z)


@dataclass(frozen=True)
class Gaussian(Unit):
    """sqrt(2) sin(sqrt(2 gamma) z + pi / 4), whose NNGP kernel is ``exp(-gamma |z - z'|^2)``: an RBF kernel."""

    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not self.gamma > 0.0:
            raise ValueError(f"Gaussian(gamma={self.gamma!r}): gamma must be > 0.")

    @property
    def dual(self) -> Dual:
        return Wave(math.sqrt(2.0), math.sqrt(2.0 * self.gamma), math.pi / 4.0)

    def function(self, z: Tensor) -> Tensor:
        return math.sqrt(2.0) * torch.sin(math.sqrt(2.0 * self.gamma) * z + math.pi / 4.0)


class Poly(Unit):
    """c_0 + c_1 z + c_2 z^2 + ... for ``coefficients`` c of degree 12 at most: ``Poly([0, 0, 1])`` squares."""

    def __init__(self, coefficients: Sequence[float]) -> None:
        self.coefficients = [float(c) for c in coefficients]
        if not self.coefficients or len(self.coefficients) > 13:
            raise ValueError(f"Poly({coefficients!r}): give 1 to 13 coefficients, the constant first.")

    @property
    def dual(self) -> Dual:
        return Powers(tuple(self.coefficients))

    def function(self, z: Tensor) -> Tensor:
        total = torch.zeros_like(z)
        for c in reversed(self.coefficients):
            total = total * z + c
        return total

    def __repr__(self) -> str:
        return f"Poly(coefficients={self.coefficients!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.coefficients == other.coefficients

    def __hash__(self) -> int:
        return hash(tuple(self.coefficients))


@dataclass(frozen=True)
class Hermite(Unit):
    """The normalised Hermite polynomial of degree 1 to 12: for inputs of variance 1, the covariance to a power."""

    degree: int

    def __post_init__(self) -> None:
        if isinstance(self.degree, bool) or not isinstance(self.degree, int) or not 1 <= self.degree <= 12:
            raise ValueError(f"Hermite(degree={self.degree!r}): the degree is a whole number from 1 to 12.")

    @property
    def coefficients(self) -> tuple[float, ...]:
        """Of z^0, z^1, ...: k! (-1/2)^i / (i! (k - 2 i)! sqrt(k!)) of z^(k - 2 i)."""
        k = self.degree
        found = [0.0] * (k + 1)
        for i in range(k // 2 + 1):
            weight = math.factorial(k) * (-0.5) ** i / (math.factorial(i) * math.factorial(k - 2 * i))
            found[k - 2 * i] = weight / math.sqrt(math.factorial(k))
        return tuple(found)

    @property
    def dual(self) -> Dual:
        return Powers(self.coefficients)

    def function(self, z: Tensor) -> Tensor:
        return Poly(self.coefficients).function(z)


def hermite_degree(name: Any) -> int | None:
    """The k of "hermite<k>", which is :func:`hermite_sum`; None for other activations, and for "hermite" alone."""
    found = re.fullmatch(r"hermite(\d+)", name) if isinstance(name, str) else None
    if found and not 1 <= int(found[1]) <= 12:
        raise ValueError(f"activation {name!r}: the degree is a whole number from 1 to 12, as in 'hermite3'.")
    return int(found[1]) if found else None


def hermite_sum(degree: int) -> Poly:
    """h_1 + ... + h_degree, normalised Hermite polynomials: an activation that sees each degree up to that one.

    Raises:
        ValueError: a degree that is no whole number from 1 to 12.
    """
    total = [0.0] * (degree + 1 if isinstance(degree, int) else 1)
    for k in range(1, len(total)):
        for j, c in enumerate(Hermite(k).coefficients):
            total[j] += c
    if len(total) < 2:
        raise ValueError(f"hermite_sum({degree!r}): the degree is a whole number from 1 to 12.")
    return Poly(total)


@dataclass(frozen=True)
class Activation(Unit):
    """Any smooth elementwise function, by its Hermite coefficients: 1e-6 and better for sigma_w up to 5.

    Functions with a class above (``torch.relu``, ``torch.erf``, ...) use its closed form. Others cost tiles instead of
    a map. At kinks the series is poor, and a warning says how poor.

    Args:
        apply: on float64 tensors of any shape; or the name of one of torch's, such as "tanh", "silu", "softplus", as
            which those are kept: so that a text can hold them. No text holds another function.
        order: terms of the series at most.

    Raises:
        TypeError: ``apply`` is no elementwise function of tensors.
        ValueError: an unknown name; an order that is no whole number >= 1; where it is computed, values that are not
            finite.

    >>> Activation(torch.tanh).dual.slope(torch.tensor(0.5), torch.tensor(1.0), torch.tensor(1.0))
    tensor(0.3847)
    """

    apply: Callable[[Tensor], Tensor] | str
    order: int = 512

    def __post_init__(self) -> None:
        if not is_count(self.order):
            raise ValueError(f"Activation(order={self.order!r}): the order is a whole number >= 1.")
        if isinstance(self.apply, str):
            if self.apply not in FUNCTIONS:
                raise ValueError(f"Activation({self.apply!r}): the names are {', '.join(FUNCTIONS)}.")
            return
        name = name_of(self.apply)
        if name is not None:
            object.__setattr__(self, "apply", name)
        elif not _is_elementwise(self.apply):
            raise TypeError(
                f"Activation needs an elementwise function of tensors, such as torch.tanh, not {self.apply!r}. Write "
                f"it with torch's functions."
            )

    @property
    def dual(self) -> Dual:
        if isinstance(self.apply, str) and self.apply in BY_NAME:
            return as_unit(self.apply).dual
        name = self.apply if isinstance(self.apply, str) else getattr(self.apply, "__name__", repr(self.apply))
        return Quadrature(self.function, name, self.order)

    def function(self, z: Tensor) -> Tensor:
        return FUNCTIONS[self.apply][0](z) if isinstance(self.apply, str) else self.apply(z)


def _is_elementwise(apply: Any) -> bool:
    z = torch.linspace(-1.0, 1.0, 3, dtype=torch.float64, requires_grad=True)
    try:
        out = apply(z)
    except (TypeError, RuntimeError, AttributeError):
        return False
    return isinstance(out, Tensor) and out.shape == z.shape


BY_NAME: dict[str, type[Any]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "abs": Abs,
    "erf": Erf,
    "gelu": GELU,
    "sin": Sin,
    "cos": Cos,
    "gaussian": Gaussian,
}


def as_unit(activation: str | Unit) -> Unit:
    """An activation by name, or itself.

    Raises:
        ValueError: an unknown name, with those that are known.
        TypeError: neither a name nor an activation.
    """
    if isinstance(activation, Unit):
        return activation
    if not isinstance(activation, str):
        raise TypeError(
            f"activation={activation!r} is neither a name nor a layer of mercer.kernels.neural.layers. "
            f"A function becomes one as Activation(function)."
        )
    if activation not in BY_NAME:
        raise ValueError(
            f"activation={activation!r} has no closed form here. Use one of {', '.join(BY_NAME)}, or "
            f"Activation(function) of mercer.kernels.neural.layers for any smooth function."
        )
    unit: Unit = BY_NAME[activation]()
    return unit
