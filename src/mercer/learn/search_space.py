"""The box in which an optimiser searches: real numbers, whole numbers, categories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Categorical", "Integer", "Real", "SearchSpace"]


@dataclass(frozen=True)
class Real:
    """A real number from ``low`` to ``high``; with ``log`` the search is even in its logarithm.

    >>> Real(1e-5, 1e-1, log=True)
    Real(low=1e-05, high=0.1, log=True)
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self, self.low, self.high, self.log)

    def value(self, u: float) -> float:
        """From the unit interval."""
        low, high = self._ends()
        x = low + (high - low) * u
        return min(max(math.exp(x) if self.log else x, self.low), self.high)

    def unit(self, value: Any) -> float:
        """To the unit interval. Raises ValueError outside the range."""
        if not self.low <= float(value) <= self.high:
            raise ValueError(f"{value!r} is outside of {self}.")
        low, high = self._ends()
        return ((math.log(value) if self.log else float(value)) - low) / (high - low)

    def _ends(self) -> tuple[float, float]:
        return (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)


@dataclass(frozen=True)
class Integer:
    """A whole number from ``low`` to ``high``, both included; with ``log`` the search is even in its logarithm."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self, self.low, self.high, self.log)
        if int(self.low) != self.low or int(self.high) != self.high:
            raise ValueError(f"{self}: both ends must be whole numbers.")

    def value(self, u: float) -> int:
        """From the unit interval, in which each number has its own part."""
        low, high = self._ends()
        x = low + (high - low) * u
        return min(max(round(math.exp(x) if self.log else x), self.low), self.high)

    def unit(self, value: Any) -> float:
        """To the unit interval. Raises ValueError outside the range or between whole numbers."""
        if int(value) != value or not self.low <= value <= self.high:
            raise ValueError(f"{value!r} is not a whole number within {self}.")
        low, high = self._ends()
        return ((math.log(value) if self.log else float(value)) - low) / (high - low)

    def _ends(self) -> tuple[float, float]:
        low, high = self.low - 0.5, self.high + 0.5
        return (math.log(low), math.log(high)) if self.log else (low, high)


@dataclass(frozen=True)
class Categorical:
    """One of some values without an order: text, numbers or booleans.

    >>> Categorical(["adam", "sgd"])
    Categorical(values=('adam', 'sgd'))
    """

    values: tuple[Any, ...]

    def __init__(self, values: Sequence[Any]) -> None:
        object.__setattr__(self, "values", tuple(values))
        if len(self.values) < 2 or len(set(self.values)) != len(self.values):
            raise ValueError(f"Categorical({list(values)!r}): at least two values are needed, all different.")
        if not all(isinstance(v, str | int | float | bool) for v in self.values):
            raise TypeError(f"Categorical({list(values)!r}): values must be text, numbers or booleans.")

    def value(self, u: float) -> Any:
        """From the unit interval, in which each value has an equal part."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]

    def unit(self, value: Any) -> float:
        """To the middle of its part of the unit interval. Raises ValueError for another value."""
        if value not in self.values:
            raise ValueError(f"{value!r} is none of {list(self.values)}.")
        return (self.values.index(value) + 0.5) / len(self.values)


Dimension = Real | Integer | Categorical


def _check_range(owner: Any, low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{owner}: it must be finite, with low < high.")
    if log and low <= 0:
        raise ValueError(f"{owner}: log needs low > 0.")


class SearchSpace:
    """Named dimensions, and the way from points to the numbers that a Gaussian process sees and back.

    Args:
        dimensions: by name: :class:`Real`, :class:`Integer`, :class:`Categorical`; or short ``(low, high)``, whole
            numbers if both are ints, and a list of categories.

    Raises:
        TypeError, ValueError: something else, or a range that is none.
    """

    def __init__(self, dimensions: Mapping[str, Any]) -> None:
        if not isinstance(dimensions, Mapping):
            raise TypeError(
                f"the space names its dimensions, such as {{'x': (0.0, 1.0)}}; it is a {type(dimensions).__name__}."
            )
        if not dimensions:
            raise ValueError("the space needs at least one dimension, such as {'x': (0.0, 1.0)}.")
        self.dimensions = {str(name): _as_dimension(name, d) for name, d in dimensions.items()}

    def __len__(self) -> int:
        return len(self.dimensions)

    @property
    def is_real(self) -> list[bool]:
        """Which dimensions a gradient can move."""
        return [isinstance(d, Real) for d in self.dimensions.values()]

    def point(self, u: Sequence[float]) -> dict[str, Any]:
        """The point at a position of the unit cube."""
        return {name: d.value(float(x)) for (name, d), x in zip(self.dimensions.items(), u, strict=True)}

    def unit(self, point: Mapping[str, Any]) -> list[float]:
        """The position of a point in the unit cube.

        Raises:
            ValueError: names that are missing or unknown, or a value outside.
        """
        if set(point) != set(self.dimensions):
            raise ValueError(f"a point needs the names {list(self.dimensions)}, but has {list(point)}.")
        return [d.unit(point[name]) for name, d in self.dimensions.items()]

    def embed(self, u: Tensor) -> Tensor:
        """What the kernel sees at positions ``(n, len(self))``: one column a number, one a category; differentiable.

        Whole numbers are rounded, so that the model is constant where the function is (Garrido-Merchan & Hernandez-
        Lobato, 2020); categories are corners of a simplex with edges of length 1.
        """
        columns = []
        for j, d in enumerate(self.dimensions.values()):
            if isinstance(d, Real):
                columns.append(u[:, j])
            elif isinstance(d, Integer):
                columns.append(torch.tensor([d.unit(d.value(float(x))) for x in u[:, j].detach()], dtype=u.dtype))
            else:
                k = len(d.values)
                chosen = (u[:, j].detach() * k).long().clamp(0, k - 1)
                columns += list(torch.nn.functional.one_hot(chosen, k).to(u.dtype).mul(0.5**0.5).unbind(1))
        return torch.stack(columns, 1)

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {
            name: {"kind": type(d).__name__, **{k: list(v) if isinstance(v, tuple) else v for k, v in vars(d).items()}}
            for name, d in self.dimensions.items()
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> SearchSpace:
        """The inverse of :meth:`describe`."""
        kinds = {kind.__name__: kind for kind in (Real, Integer, Categorical)}
        return cls(
            {name: kinds[d["kind"]](**{k: v for k, v in d.items() if k != "kind"}) for name, d in description.items()}
        )


def _as_dimension(name: str, given: Any) -> Dimension:
    if isinstance(given, Real | Integer | Categorical):
        return given
    if isinstance(given, tuple) and len(given) == 2 and all(isinstance(x, int | float) for x in given):
        whole = all(isinstance(x, int) and not isinstance(x, bool) for x in given)
        return Integer(given[0], given[1]) if whole else Real(float(given[0]), float(given[1]))
    if isinstance(given, list):
        return Categorical(given)
    raise TypeError(
        f"dimension {name!r}: give Real(low, high), Integer(low, high), Categorical(values), a pair (low, high) or a "
        f"list of categories, not {given!r}."
    )
