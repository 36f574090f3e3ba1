"""A column of categories as features: an indicator a level, ranks where they are ordered, means where they are many."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mercer.tables.cells import as_labels
from mercer.tables.transforms.feature import Feature

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CategoryTransform", "ManyLevelsTransform", "OrderedTransform", "common_levels"]

MOST_INDICATORS = 30  # beyond, a column of means stands for the level
_MISSING = "(missing)"
_FEWEST_ROWS = 5  # a level seen less often has no indicator of its own
_SHRINKAGE = 20.0  # rows' worth of belief in the overall mean
_FOLDS = 5


@dataclass(frozen=True)
class CategoryTransform:
    """One indicator a level; a level that was rare or absent in training has none of them set.

    Attributes:
        levels: those with an indicator.
        seen: all levels of the training part.
    """

    name: str
    levels: tuple[str, ...]
    seen: tuple[str, ...]

    kind = "category"

    @classmethod
    def fit(cls, values: "pd.Series[Any]", *, name: str) -> "CategoryTransform":
        """From the training part's values."""
        return cls(name, *common_levels(values))

    def features(self) -> list[Feature]:
        """What :meth:`apply` gives, a column each."""
        return [Feature(f"{self.name} = {level}", self.name, "smooth", tie=f"{self.name} =") for level in self.levels]

    def apply(self, values: "pd.Series[Any]") -> np.ndarray:
        """``(n, n_levels)`` of 0 and 1."""
        labels = _labels(values)
        indicators = np.zeros((len(labels), len(self.levels)))
        for place, level in enumerate(self.levels):
            indicators[:, place] = labels == level
        return indicators

    def n_unseen(self, values: "pd.Series[Any]") -> int:
        """How many values are levels that the training part did not have."""
        return int((~np.isin(_labels(values).astype(str), [*self.seen, _MISSING])).sum())

    def describe(self) -> str:
        """What was done, for the report."""
        return f"{len(self.levels)} indicators"

    def state(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "CategoryTransform":
        """The inverse of :meth:`state`."""
        return cls(state["name"], tuple(state["levels"]), tuple(state["seen"]))


@dataclass(frozen=True)
class OrderedTransform:
    """The rank, and one indicator a level: near levels are alike, yet each may have its own worth."""

    name: str
    levels: tuple[str, ...]
    mean: float
    std: float
    indicators: CategoryTransform

    kind = "ordered"

    @classmethod
    def fit(cls, values: "pd.Series[Any]", *, name: str, levels: tuple[str, ...]) -> "OrderedTransform":
        """From the training part's values; ``levels`` from lowest to highest."""
        ranks = cls(name, levels, 0.0, 1.0, CategoryTransform(name, (), ()))._ranks(values)
        ranks = ranks[~np.isnan(ranks)] if not np.isnan(ranks).all() else np.zeros(1)
        indicators = CategoryTransform.fit(values, name=name)
        return cls(name, levels, float(ranks.mean()), float(ranks.std()) or 1.0, indicators)

    def features(self) -> list[Feature]:
        """What :meth:`apply` gives, a column each."""
        return [Feature(f"{self.name} rank", self.name, "smooth", tie=f"{self.name} rank"), *self.indicators.features()]

    def apply(self, values: "pd.Series[Any]") -> np.ndarray:
        """``(n, 1 + n_levels)``: the rank with mean 0 and standard deviation 1, then the indicators."""
        ranks = np.nan_to_num((self._ranks(values) - self.mean) / self.std)
        return np.column_stack([ranks, self.indicators.apply(values)])

    def n_unseen(self, values: "pd.Series[Any]") -> int:
        """How many values are levels that the training part did not have."""
        return int((~np.isin(_labels(values).astype(str), [*self.levels, _MISSING])).sum())

    def describe(self) -> str:
        """What was done, for the report."""
        return f"rank in {' < '.join(self.levels)}, and {len(self.indicators.levels)} indicators"

    def state(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "OrderedTransform":
        """The inverse of :meth:`state`."""
        indicators = CategoryTransform.from_state(state["indicators"])
        return cls(state["name"], tuple(state["levels"]), state["mean"], state["std"], indicators)

    def _ranks(self, values: "pd.Series[Any]") -> np.ndarray:
        rank = {level: float(place) for place, level in enumerate(self.levels)}
        return np.array([rank.get(label, np.nan) for label in _labels(values)], dtype=np.float64)


@dataclass(frozen=True)
class ManyLevelsTransform:
    """The target's mean over the rows of the level, drawn towards the overall mean where the level has few rows.

    A training row's own target must not be in its feature: :meth:`fit_apply` leaves out the row's fold.
    """

    name: str
    means: dict[str, list[float]]
    overall: list[float]
    std: list[float]

    kind = "many levels"

    @classmethod
    def fit_apply(
        cls, values: "pd.Series[Any]", Y: np.ndarray, *, name: str, random_state: int
    ) -> tuple["ManyLevelsTransform", np.ndarray]:
        """From the training part's values and targets ``(n, t)``: the transform, and the training part's features."""
        fold = np.random.default_rng(random_state).integers(0, _FOLDS, len(Y))
        features = np.empty_like(Y)
        for number in range(_FOLDS):
            others, held_out = fold != number, fold == number
            if held_out.any() and others.any():
                features[held_out] = cls._from(values[others], Y[others], name)._means(values[held_out])
            else:
                features[held_out] = 0.0
        transform = cls._from(values, Y, name)
        std = [float(column.std()) or 1.0 for column in features.T]
        transform = cls(name, transform.means, transform.overall, std)
        return transform, (features - np.array(transform.overall)) / np.array(std)

    def features(self) -> list[Feature]:
        """What :meth:`apply` gives, a column each."""
        numbers = [""] if len(self.overall) == 1 else [f" {place + 1}" for place in range(len(self.overall))]
        return [Feature(f"mean of {self.name}{n}", self.name, "smooth", tie=f"{self.name} mean{n}") for n in numbers]

    def apply(self, values: "pd.Series[Any]") -> np.ndarray:
        """``(n, t)``; a level that training did not have gets the overall mean, which is 0 here."""
        return np.asarray((self._means(values) - np.array(self.overall)) / np.array(self.std))

    def n_unseen(self, values: "pd.Series[Any]") -> int:
        """How many values are levels that the training part did not have."""
        return int((~np.isin(_labels(values).astype(str), [*self.means, _MISSING])).sum())

    def describe(self) -> str:
        """What was done, for the report."""
        return f"mean target of each of {len(self.means):,} levels (other folds' rows only)"

    def state(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "ManyLevelsTransform":
        """The inverse of :meth:`state`."""
        return cls(**state)

    @classmethod
    def _from(cls, values: "pd.Series[Any]", Y: np.ndarray, name: str) -> "ManyLevelsTransform":
        levels, codes, counts = np.unique(_labels(values).astype(str), return_inverse=True, return_counts=True)
        overall = Y.mean(axis=0)
        sums = np.stack([np.bincount(codes, weights=column, minlength=len(levels)) for column in Y.T], axis=1)
        means = (sums + _SHRINKAGE * overall) / (counts[:, None] + _SHRINKAGE)
        return cls(name, dict(zip(levels.tolist(), means.tolist(), strict=True)), overall.tolist(), [1.0] * Y.shape[1])

    def _means(self, values: "pd.Series[Any]") -> np.ndarray:
        return np.array([self.means.get(label, self.overall) for label in _labels(values)], dtype=np.float64)


def common_levels(values: "pd.Series[Any]") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Levels with enough rows for an indicator, most frequent first, and all levels.

    A missing value is a level like any other.
    """
    labels, counts = np.unique(_labels(values).astype(str), return_counts=True)
    order = np.lexsort((labels, -counts))
    enough = max(2, min(_FEWEST_ROWS, len(values) // 50))
    seen = tuple(str(labels[place]) for place in order)
    return tuple(str(labels[place]) for place in order if counts[place] >= enough), seen


def _labels(values: "pd.Series[Any]") -> np.ndarray:
    labels = as_labels(values)
    labels[[label is None for label in labels]] = _MISSING
    return labels
