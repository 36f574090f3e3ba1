"""A column of date-times as features: the trend, and the cycles of day, week and year."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mercer.tables.cells import as_datetimes
from mercer.tables.transforms.feature import Feature

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MomentTransform"]

_DAY = 86_400.0  # seconds
_YEAR = 365.2425 * _DAY
_MONDAY = 4.0 * _DAY  # 1970-01-05, the first Monday of the epoch
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class MomentTransform:
    """Time since the middle of the training part; hour and season as points on a circle; an indicator a weekday.

    Attributes:
        centre: and ``width``: mean and standard deviation of the training part's moments, seconds since 1970 (UTC).
        trend: False in a split in time, where a test row's trend lies outside everything that was learnt.
        cycles: which of ``"day"``, ``"week"``, ``"year"`` the training part goes through.
        indicator: whether a feature says where the moment is missing.
    """

    name: str
    centre: float
    width: float
    trend: bool
    cycles: tuple[str, ...]
    indicator: bool

    kind = "date-time"

    @classmethod
    def fit(cls, values: "pd.Series[Any]", *, name: str, trend: bool) -> "MomentTransform":
        """From the training part's values."""
        seconds = seconds_since_1970(values)
        present = seconds[~np.isnan(seconds)]
        if len(present) == 0:
            present = np.zeros(1)
        span = float(np.ptp(present))
        cycles = []
        if len(np.unique(present % _DAY)) > 1:
            cycles.append("day")
        if span > 7 * _DAY:
            cycles.append("week")
        if span > 0.75 * _YEAR:
            cycles.append("year")
        trend = trend or not cycles
        width = float(present.std()) or 1.0
        return cls(name, float(present.mean()), width, trend, tuple(cycles), len(present) < len(seconds))

    def features(self) -> list[Feature]:
        """What :meth:`apply` gives, a column each."""
        parts = ["trend"] if self.trend else []
        for cycle in self.cycles:
            parts += list(_WEEKDAYS) if cycle == "week" else [f"{cycle} sine", f"{cycle} cosine"]
        parts += ["missing"] if self.indicator else []
        return [Feature(f"{self.name} {part}", self.name, "smooth", tie=f"{self.name} {_tie(part)}") for part in parts]

    def apply(self, values: "pd.Series[Any]") -> np.ndarray:
        """``(n, number of features)``; all zero but the indicator where the moment is missing."""
        seconds = seconds_since_1970(values)
        missing = np.isnan(seconds)
        seconds = np.where(missing, self.centre, seconds)
        columns = [(seconds - self.centre) / self.width] if self.trend else []
        for cycle in self.cycles:
            if cycle == "week":
                weekday = np.floor((seconds - _MONDAY) / _DAY).astype(np.int64) % 7
                columns += [(weekday == number).astype(np.float64) for number in range(7)]
            else:
                angle = 2.0 * np.pi * seconds / (_DAY if cycle == "day" else _YEAR)
                columns += [np.sqrt(2.0) * np.sin(angle), np.sqrt(2.0) * np.cos(angle)]  # unit variance
        columns = [np.where(missing, 0.0, column) for column in columns]
        return np.stack([*columns, *([missing.astype(np.float64)] if self.indicator else [])], axis=1)

    def describe(self) -> str:
        """What was done, for the report."""
        parts = ["trend"] if self.trend else []
        parts += [{"day": "hour of day", "week": "weekday", "year": "season"}[cycle] for cycle in self.cycles]
        return ", ".join(parts) + ("; missing values marked" if self.indicator else "")

    def state(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "MomentTransform":
        """The inverse of :meth:`state`."""
        return cls(**state | {"cycles": tuple(state["cycles"])})


def seconds_since_1970(values: "pd.Series[Any]") -> np.ndarray:
    """float64 seconds in UTC, NaN where missing or not a date."""
    moments = as_datetimes(values)
    seconds = moments.astype("datetime64[ms]").astype("int64").to_numpy() / 1000.0
    return np.where(moments.isna().to_numpy(bool), np.nan, seconds)


def _tie(part: str) -> str:
    return "weekday" if part in _WEEKDAYS else part.split()[0]
