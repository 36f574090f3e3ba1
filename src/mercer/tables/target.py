"""The target as a model sees it, fitted on the training part: numbers on a good scale, or classes as indicators."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mercer.errors import TableError
from mercer.tables.cells import as_labels, as_numbers, without_missing
from mercer.tables.columns import column_named
from mercer.tables.options import FitOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ClassTarget", "NumberTarget", "read_target", "skewness"]

_MOST_CLASSES = 50
_FEWEST_ROWS_A_CLASS = 10  # so that each of the three parts has some


@dataclass(frozen=True)
class NumberTarget:
    """A number to predict, with mean 0 and standard deviation 1 on the training part, perhaps after a logarithm.

    The way back is monotone, so quantiles and intervals survive it; the mean of a log-scaled prediction is a median.
    """

    scale: str
    mean: float
    std: float

    @classmethod
    def fit(cls, y: np.ndarray, *, train: np.ndarray, scale: str = "auto") -> "NumberTarget":
        """From all values ``(n,)`` (the logarithm needs all of them positive) and the rows of the training part.

        Raises:
            TableError: no variation, or ``"log"`` asked for a target that is not positive.
        """
        if scale == "log" and y.min() <= 0.0:
            raise TableError(f"The log of the target is asked for, but the target goes down to {y.min():g}.")
        if scale == "auto":
            skewed = y.min() > 0.0 and skewness(y[train]) > 1.0
            scale = "log" if skewed and abs(skewness(np.log(y[train]))) < 0.5 * skewness(y[train]) else "plain"
        values = np.log(y[train]) if scale == "log" else y[train]
        if np.ptp(values) == 0.0:
            raise TableError(f"The target is {y[train][0]:g} in every row of the training part: nothing can be learnt.")
        return cls(scale, float(values.mean()), float(values.std()))

    def forward(self, y: np.ndarray) -> np.ndarray:
        """From the table's units to the model's."""
        return np.asarray(((np.log(y) if self.scale == "log" else y) - self.mean) / self.std)

    def backward(self, z: np.ndarray) -> np.ndarray:
        """From the model's units to the table's."""
        values = np.asarray(z, dtype=np.float64) * self.std + self.mean
        # 700: the largest exponent that a float64 holds; a prediction beyond would be infinite.
        return np.exp(np.minimum(values, 700.0)) if self.scale == "log" else values

    def state(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class ClassTarget:
    """A class to predict: one column a class, 1 where the row is in it and 0 elsewhere."""

    classes: tuple[str, ...]

    def forward(self, labels: np.ndarray) -> np.ndarray:
        """``(n, n_classes)`` of 0 and 1."""
        return np.asarray(self.codes(labels)[:, None] == np.arange(len(self.classes)), dtype=np.float64)

    def codes(self, labels: np.ndarray) -> np.ndarray:
        """``(n,)`` positions in ``classes``."""
        return np.asarray(np.searchsorted(np.array(self.classes, dtype=object), labels))

    def state(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {"classes": list(self.classes)}


def read_target(frame: "pd.DataFrame", options: FitOptions) -> tuple[str, np.ndarray, np.ndarray]:
    """The task, the target's values, and which rows have one.

    Returns:
        task: ``"regression"`` or ``"classification"``.
        y: of the rows that have a target: float64 or text.
        rows: ``(n,)`` bool, True where a row has a target.

    Raises:
        TableError: no such column; missing values; for numbers text, infinities or one value only; for classes too many
            of them, one only, or one with too few rows.
    """
    values = without_missing(column_named(frame, options.target), options.missing)
    rows = values.notna().to_numpy(bool)
    if not rows.any():
        raise TableError(f"Target {options.target!r} has no values.")
    if not rows.all() and not options.drop_missing_target:
        raise TableError(
            f"Target {options.target!r} is missing in {(~rows).sum():,} of {len(rows):,} rows, the first of them row "
            f"{int(rows.argmin()) + 1}. Leave those rows out with --drop-missing-target, or fill them."
        )
    task = options.task if options.task != "auto" else _guess_task(values)
    if task == "classification":
        return task, _checked_classes(as_labels(values[rows]), options.target), rows
    y = as_numbers(values, options.target)[rows]
    if np.ptp(y) == 0.0:
        raise TableError(f"Target {options.target!r} is {y[0]:g} in every row: there is nothing to learn.")
    return task, y, rows


def skewness(values: np.ndarray) -> float:
    """Third standardised moment; 0 for what does not vary."""
    centred = values - values.mean()
    variance = float((centred**2).mean())
    return float((centred**3).mean()) / variance**1.5 if variance > 0.0 else 0.0


def _guess_task(values: "pd.Series[Any]") -> str:
    """Numbers with more than two values are to be predicted as numbers, everything else as classes."""
    import pandas as pd

    present = values.dropna()
    if str(present.dtype) in ("bool", "boolean", "category") or str(present.dtype).startswith("datetime"):
        return "classification"
    is_number = float(pd.to_numeric(present, errors="coerce").notna().mean()) > 0.5
    return "regression" if is_number and present.nunique() != 2 else "classification"


def _checked_classes(labels: np.ndarray, name: str) -> np.ndarray:
    classes, counts = np.unique(labels.astype(str), return_counts=True)
    if len(classes) == 1:
        raise TableError(f"Target {name!r} is {str(classes[0])!r} in every row: there is nothing to learn.")
    if len(classes) > _MOST_CLASSES:
        raise TableError(
            f"Target {name!r} has {len(classes):,} classes, but at most {_MOST_CLASSES} can be told apart. If it is a "
            f"number: --task regression."
        )
    if counts.min() < _FEWEST_ROWS_A_CLASS:
        rare = str(classes[counts.argmin()])
        raise TableError(
            f"Class {rare!r} of target {name!r} has {counts.min()} row{'s' * (int(counts.min()) != 1)}, but a class "
            f"needs {_FEWEST_ROWS_A_CLASS} or more. Join it with another, or leave its rows out."
        )
    return labels
