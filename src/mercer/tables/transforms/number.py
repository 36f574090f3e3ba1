"""A column of numbers as features: tails drawn in, scaled, holes filled and marked."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mercer.tables.cells import as_numbers
from mercer.tables.target import skewness
from mercer.tables.transforms.feature import Feature

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NumberTransform"]

_HEAVY = 6.0  # robust standard deviations: of a normal column one value in 5e8 lies beyond
_KNEE = 4.0  # beyond so many, a value is drawn in logarithmically, so that one wrong entry moves nothing
_RARE_ZEROS = 0.01


@dataclass(frozen=True)
class NumberTransform:
    """``shape`` of the value, robustly scaled, tails drawn in; a second, straight copy where the shape bends.

    Attributes:
        shape: ``"log"`` for positive values with a long right tail, ``"asinh"`` for heavy tails on both sides or about
            zero, ``"plain"`` otherwise.
        centre: median, and ``width``: interquartile range / 1.349, of the shaped values.
        mean: and ``std``: of all but the outermost of the result, so that every feature has about unit variance.
        zero_is_missing: a few exact zeros in a column of sizes far from zero are holes.
        indicator: whether a feature says where the value is missing.
        straight: low, high, mean and std of the straight copy for the linear part of a model, or empty.
    """

    name: str
    shape: str
    centre: float
    width: float
    mean: float
    std: float
    zero_is_missing: bool
    indicator: bool
    straight: tuple[float, ...] = ()

    kind = "number"

    @classmethod
    def fit(cls, values: "pd.Series[Any]", *, name: str, log_target: bool) -> "NumberTransform":
        """From the training part's values.

        Under the log of a target, sizes act as powers, so logarithms are preferred; and there is no straight copy,
        which would let one large value raise the prediction exponentially.
        """
        numbers = as_numbers(values, name)
        zero_is_missing = _zeros_are_holes(numbers)
        if zero_is_missing:
            numbers = np.where(numbers == 0.0, np.nan, numbers)
        present = numbers[~np.isnan(numbers)]
        if len(present) == 0:  # all values of the column are in the other parts
            present = np.zeros(1)
        shape = _choose_shape(present, prefer_log=log_target)
        centre, width = _centre_and_width(np.log(present) if shape == "log" else present)
        draft = cls(name, shape, centre, width, 0.0, 1.0, zero_is_missing, len(present) < len(numbers))
        drawn_in = draft._drawn_in(present)
        drawn_in = np.clip(drawn_in, *np.quantile(drawn_in, [0.005, 0.995]))  # so that a wrong entry moves nothing
        straight: tuple[float, ...] = ()
        if not log_target and shape == "asinh":
            straight = (present.min(), present.max(), present.mean(), present.std() or 1.0)
        return cls(
            name,
            shape,
            centre,
            width,
            float(drawn_in.mean()),
            float(drawn_in.std()) or 1.0,
            zero_is_missing,
            draft.indicator,
            tuple(float(number) for number in straight),
        )

    def features(self) -> list[Feature]:
        """What :meth:`apply` gives, a column each."""
        named = self.name if self.shape == "plain" else f"{self.shape} {self.name}"
        found = [Feature(named, self.name, "smooth", tie=self.name)]
        if self.straight:
            found.append(Feature(self.name, self.name, "linear", tie=f"{self.name} straight"))
        if self.indicator:
            found.append(Feature(f"{self.name} missing", self.name, "smooth", tie=f"{self.name} missing"))
        return found

    def apply(self, values: "pd.Series[Any]") -> np.ndarray:
        """``(n, number of features)``; a missing value becomes the typical one and sets the indicator."""
        numbers = as_numbers(values, self.name)
        missing = np.isnan(numbers) | (self.zero_is_missing & (numbers == 0.0))
        if self.shape == "log":  # outside the domain of the logarithm there is no value to use
            missing |= numbers <= 0.0
        filled = np.where(missing, 1.0, numbers)
        columns = [np.where(missing, 0.0, (self._drawn_in(filled) - self.mean) / self.std)]
        if self.straight:
            low, high, mean, std = self.straight
            columns.append(np.where(missing, 0.0, (np.clip(filled, low, high) - mean) / std))
        if self.indicator:
            columns.append(missing.astype(np.float64))
        return np.stack(columns, axis=1)

    def describe(self) -> str:
        """What was done, for the report."""
        words = {"plain": "scaled", "log": "logarithm, scaled", "asinh": "heavy tails drawn in (asinh)"}[self.shape]
        words += "; straight copy for the linear part" if self.straight else ""
        words += "; zeros are taken as missing" if self.zero_is_missing else ""
        return words + ("; missing values marked and filled" if self.indicator else "")

    def state(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "NumberTransform":
        """The inverse of :meth:`state`."""
        return cls(**state | {"straight": tuple(state["straight"])})

    def _drawn_in(self, present: np.ndarray) -> np.ndarray:
        scaled = ((np.log(present) if self.shape == "log" else present) - self.centre) / self.width
        if self.shape == "asinh":
            return np.asarray(np.arcsinh(scaled))
        beyond = np.maximum(np.abs(scaled) - _KNEE, 0.0)
        return np.asarray(np.where(beyond > 0, np.sign(scaled) * (_KNEE + np.log1p(beyond)), scaled))


def _choose_shape(present: np.ndarray, *, prefer_log: bool) -> str:
    if present.min() > 0.0:
        skew, skew_of_log = skewness(present), skewness(np.log(present))
        low, high = np.quantile(present, [0.01, 0.99])
        if (skew > 1.0 and abs(skew_of_log) < 0.5 * skew) or (prefer_log and skew > 0.0 and high > 1.5 * low):
            return "log"
    centre, width = _centre_and_width(present)
    low, high = np.quantile(present, [0.005, 0.995])
    return "asinh" if max(centre - low, high - centre) / width > _HEAVY else "plain"


def _centre_and_width(values: np.ndarray) -> tuple[float, float]:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    width = (high - low) / 1.349  # the interquartile range of a normal distribution, in standard deviations
    if width <= 0.0:
        width = float(values.std())
    return float(median), float(width) if width > 0.0 else 1.0


def _zeros_are_holes(numbers: np.ndarray) -> bool:
    """A few exact zeros in fractional positive values that all lie far from zero."""
    present = numbers[~np.isnan(numbers)]
    positive = present[present > 0.0]
    n_zeros = int((present == 0.0).sum())
    if n_zeros == 0 or n_zeros > _RARE_ZEROS * len(present) or len(positive) + n_zeros < len(present):
        return False
    return bool((positive % 1.0 != 0.0).any()) and bool(positive.min() > 0.2 * np.median(positive))
