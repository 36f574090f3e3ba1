"""Hyperparameters: values, where they may lie, what is believed about them, whether they are learnt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Prior(Protocol):
    """What is believed about a hyperparameter before data: a log density, up to a constant."""

    def log_density(self, value: Tensor) -> Tensor:
        """Sum of the log densities of the entries of ``value``; differentiable."""


@dataclass(frozen=True)
class LogNormal:
    """log(value) is normal with mean ``mu`` and standard deviation ``sigma``; the median is exp(mu)."""

    mu: float = 0.0
    sigma: float = 1.0

    def __post_init__(self) -> None:
        if not self.sigma > 0.0:
            raise ValueError(f"LogNormal(sigma={self.sigma!r}): sigma must be > 0.")

    def log_density(self, value: Tensor) -> Tensor:
        """Sum of the log densities of the entries of ``value``."""
        log_value = value.log()
        z = (log_value - self.mu) / self.sigma
        return (-0.5 * z * z - log_value - math.log(self.sigma * math.sqrt(2.0 * math.pi))).sum()


@dataclass(frozen=True)
class Gamma:
    """Density proportional to value^(shape - 1) exp(-rate value); mean shape / rate."""

    shape: float = 3.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        if not (self.shape > 0.0 and self.rate > 0.0):
            raise ValueError(f"Gamma(shape={self.shape!r}, rate={self.rate!r}): both must be > 0.")

    def log_density(self, value: Tensor) -> Tensor:
        """Sum of the log densities of the entries of ``value``."""
        constant = self.shape * math.log(self.rate) - math.lgamma(self.shape)
        return (constant + (self.shape - 1.0) * value.log() - self.rate * value).sum()


DEFAULT_BOUNDS = (1e-5, 1e5)


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter with more than a value.

    Args:
        value: a number, a sequence (one a column) or a tensor.
        bounds: the least and the largest value that learning may choose.
        prior: added to the marginal likelihood when learning.
        frozen: leave it out of learning.

    >>> Parameter(0.3, frozen=True)
    Parameter(0.3, frozen=True)
    """

    value: Any
    bounds: tuple[float, float] = DEFAULT_BOUNDS
    prior: Prior | None = None
    frozen: bool = False

    def __post_init__(self) -> None:
        try:
            low, high = map(float, self.bounds)
        except (TypeError, ValueError) as error:
            raise ValueError(f"bounds must be two numbers (low, high), not {self.bounds!r}.") from error
        if not low < high or math.isinf(low) or math.isinf(high):
            raise ValueError(f"bounds must be finite, (low, high) with low < high, not {self.bounds}.")
        object.__setattr__(self, "bounds", (low, high))
        if isinstance(self.value, Parameter):
            raise TypeError("the value of a Parameter must be a number, numbers or a tensor, not a Parameter.")

    def __repr__(self) -> str:
        parts = [format_value(self.value, real=True)]
        if self.bounds != DEFAULT_BOUNDS:
            parts.append(f"bounds={self.bounds!r}")
        if self.prior is not None:
            parts.append(f"prior={self.prior!r}")
        if self.frozen:
            parts.append("frozen=True")
        return f"Parameter({', '.join(parts)})"


Value = float | Sequence[float] | np.ndarray | Tensor | Parameter


@dataclass(frozen=True)
class Domain:
    """What values a hyperparameter of a kernel class may take.

    Attributes:
        vector: one value, or one a column, of event shape ``(1,)`` or ``(d,)``; else a scalar.
        least: the smallest value allowed; ``strict`` excludes it.
    """

    vector: bool = False
    least: float = 0.0
    strict: bool = True

    @property
    def signed(self) -> bool:
        """Whether negative values are allowed; such a hyperparameter is learnt as it is, others by their logarithm."""
        return self.least < 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Between what values learning may choose where nobody says otherwise."""
        return (-DEFAULT_BOUNDS[1], DEFAULT_BOUNDS[1]) if self.signed else DEFAULT_BOUNDS

    def check(self, name: str, value: Any, kernel: str) -> None:
        """Raise ValueError or TypeError for a value outside the domain."""
        tensor = as_value(value, f"{kernel}({name})").detach()
        if not tensor.numel():
            raise ValueError(f"{kernel}({name}={format_value(value)}): {name} needs one value at least.")
        outside = tensor <= self.least if self.strict else tensor < self.least
        if bool(outside.any()) or not bool(torch.isfinite(tensor).all()):
            need = "finite" if self.signed else f"{'>' if self.strict else '>='} {self.least:g} and finite"
            raise ValueError(f"{kernel}({name}={format_value(value)}): {name} must be {need}.")


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter of a (composite) kernel, as estimators see it.

    ``path`` is its name for ``set_params`` (``left__lengthscale``); ``value`` a float64 tensor.
    """

    path: str
    value: Tensor
    domain: Domain
    bounds: tuple[float, float]
    prior: Prior | None
    frozen: bool


def as_value(value: Any, name: str) -> Tensor:
    """The float64 tensor of a hyperparameter; a tensor keeps its graph.

    Raises:
        TypeError: something that is no number, sequence of numbers or tensor.
    """
    if isinstance(value, Parameter):
        value = value.value
    if isinstance(value, Tensor):
        return value.to(torch.float64)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be a number, a sequence of numbers or a tensor, not {value!r}.") from error
    return torch.from_numpy(np.array(array))


def with_value(old: Any, new: Any) -> Any:
    """``new`` in the place of ``old``: bounds, prior and frozen stay if ``old`` had them."""
    return replace(old, value=new) if isinstance(old, Parameter) and not isinstance(new, Parameter) else new


def format_value(value: Any, *, real: bool = False) -> str:
    """A value as the grammar writes it: ``0.3``, ``[0.3, 1.0]``, ``Parameter(...)``; ``real`` writes 1 as 1.0."""
    if isinstance(value, Tensor | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return f"[{', '.join(format_value(v, real=real) for v in value)}]"
    if isinstance(value, np.generic):
        value = value.item()
    return repr(float(value)) if real and isinstance(value, int) else repr(value)


def is_count(value: Any) -> bool:
    """Whether a value is a whole number >= 1."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
