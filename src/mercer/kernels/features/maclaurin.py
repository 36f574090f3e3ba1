"""Power series of activations, for features that are products of random signs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SERIES", "PowerSeries"]

_DEGREES = 24  # the chance to draw a higher one is below 1e-7


@dataclass(frozen=True)
class PowerSeries:
    """``sum_n coefficients[n] z^n``.

    Args:
        coefficients: a_0, a_1, ...; at least one is not 0.
        name: whose series it is: "gelu", "tanh", "sigmoid", "exp", or "series".

    Raises:
        ValueError: no coefficient, or only zeros.

    >>> round(float(PowerSeries.of("gelu").function(torch.tensor(0.5))), 4)  # 0.5 Phi(0.5)
    0.3457
    """

    coefficients: tuple[float, ...]
    name: str = "series"

    def __post_init__(self) -> None:
        if not any(self.coefficients) or not all(map(math.isfinite, self.coefficients)):
            raise ValueError(f"PowerSeries({self.coefficients!r}): finite coefficients, of which one is not 0.")

    @classmethod
    def of(cls, name: str) -> PowerSeries:
        """The series of a known function, up to degree 23."""
        return cls(tuple(SERIES[name]), name)

    @property
    def degrees(self) -> list[int]:
        """Those whose coefficient is not 0."""
        return [n for n, a in enumerate(self.coefficients) if a]

    @property
    def probabilities(self) -> list[float]:
        """Of each of ``degrees``: as ``2^(-n - 1)``, the paper's, but none is spent on what is 0."""
        weights = [2.0 ** (-n - 1) for n in self.degrees]
        return [w / sum(weights) for w in weights]

    def chances(self, *, all_degrees: bool) -> tuple[list[int], list[float]]:
        """Degrees that are drawn, and how probably: :attr:`degrees`, or all up to the last of them."""
        if not all_degrees:
            return self.degrees, self.probabilities
        degrees = list(range(max(self.degrees) + 1))
        weights = [2.0 ** (-n - 1) for n in degrees]
        return degrees, [w / sum(weights) for w in weights]

    def deviation(self, reach: float, *, all_degrees: bool) -> float:
        """Root mean square of one feature's estimate where ``|w| |x|`` is reach, in directions that have no relation.

        >>> series = PowerSeries.of("tanh")
        >>> [round(series.deviation(reach, all_degrees=True), 1) for reach in (0.5, 1.0, 1.5)]
        [1.0, 3.0, 2159.1]
        """
        degrees, chances = self.chances(all_degrees=all_degrees)
        parts = zip(degrees, chances, strict=True)
        return math.sqrt(sum((self.coefficients[n] * reach**n) ** 2 / chance for n, chance in parts))

    def function(self, z: Tensor) -> Tensor:
        """The sum of the series, elementwise."""
        total = torch.zeros_like(z)
        for a in reversed(self.coefficients):
            total = total * z + a
        return total


def _tanh(scale: float = 1.0) -> list[float]:
    """Of tanh(scale z), from t' = scale (1 - t^2)."""
    a = [0.0] * _DEGREES
    for n in range(_DEGREES - 1):
        square = sum(a[i] * a[n - i] for i in range(n + 1))
        a[n + 1] = scale * ((n == 0) - square) / (n + 1)
    return a


def _gelu() -> list[float]:
    """Of z Phi(z): z / 2 and the integral of the normal density, term by term."""
    a = [0.0] * _DEGREES
    a[1] = 0.5
    for k in range((_DEGREES - 2) // 2):
        a[2 * k + 2] = (-0.5) ** k / (math.factorial(k) * (2 * k + 1) * math.sqrt(2.0 * math.pi))
    return a


def _sigmoid() -> list[float]:
    """1 / (1 + exp(-z)) is (1 + tanh(z / 2)) / 2."""
    return [0.5, *(0.5 * a for a in _tanh(0.5)[1:])]


SERIES: dict[str, Sequence[float]] = {
    "gelu": _gelu(),
    "tanh": _tanh(),
    "sigmoid": _sigmoid(),
    "exp": [1.0 / math.factorial(n) for n in range(_DEGREES)],
}
