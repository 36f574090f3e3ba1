"""The three parts of a table as matrices, made once and used by every model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mercer.config import require_memory
from mercer.errors import TableError
from mercer.tables.cells import as_labels, as_numbers
from mercer.tables.columns import Column, column_named
from mercer.tables.features import Features
from mercer.tables.options import FitOptions
from mercer.tables.splits import Split, split_by_group, split_in_time, split_randomly
from mercer.tables.target import ClassTarget, NumberTarget
from mercer.tables.transforms.moment import seconds_since_1970

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Part", "Parts", "make_parts", "make_split"]

_BYTES_A_FEATURE = 28  # float64 while the blocks are made and joined, float32 afterwards
_EXPECTED_FEATURES = 3  # a column, on the average


@dataclass(frozen=True)
class Part:
    """Rows of one part.

    Attributes:
        frame: as in the table.
        X: ``(n, d)`` features, float32.
        Y: ``(n, t)`` targets in the model's units: one column, or for classes +1 in the row's class and -1 elsewhere
            (one column for two classes).
        truth: ``(n,)`` targets in the table's units, or positions of the classes.
    """

    frame: "pd.DataFrame"
    X: np.ndarray
    Y: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Parts:
    """Train, validation and test, and what was fitted on train to make them."""

    train: Part
    validation: Part
    test: Part
    features: Features
    target: NumberTarget | ClassTarget

    @property
    def is_class(self) -> bool:
        """Whether classes are predicted."""
        return isinstance(self.target, ClassTarget)

    @property
    def n_values(self) -> int:
        """Numbers a row that a model predicts: 1, or one a class."""
        return len(self.target.classes) if isinstance(self.target, ClassTarget) else 1


def make_split(frame: "pd.DataFrame", y: np.ndarray, columns: list[Column], options: FitOptions) -> Split:
    """Which rows are in which part: in time or by group where a column is named for it, else at random.

    Raises:
        TableError: too few rows, times or groups; missing values in the column to split by.
    """
    name = options.time_column or options.group_column
    if name is None:
        labels = y.astype(str) if y.dtype == object else None
        return split_randomly(len(frame), labels=labels, random_state=options.random_state)
    values = column_named(frame, name)
    if values.isna().any():
        raise TableError(f"Column {name!r} is to split by, but {int(values.isna().sum()):,} of its values are missing.")
    if options.group_column is not None:
        return split_by_group(as_labels(values).astype(str), name=name, random_state=options.random_state)
    is_moment = any(column.name == name and column.kind == "date-time" for column in columns)
    return split_in_time(seconds_since_1970(values) if is_moment else as_numbers(values, name), name=name)


def make_parts(frame: "pd.DataFrame", y: np.ndarray, columns: list[Column], split: Split, options: FitOptions) -> Parts:
    """Fit target and transforms on the training part, and apply them to all three.

    Raises:
        TableError: from the target or a transform.
        MemoryBudgetError: the features would not fit.
    """
    require_memory(
        len(frame) * len(columns) * _EXPECTED_FEATURES * _BYTES_A_FEATURE,
        asked=f"The features of {len(frame):,} rows",
        instead="Give fewer rows, or leave columns out (--drop).",
    )
    target: NumberTarget | ClassTarget
    if y.dtype == object:
        target = ClassTarget(tuple(np.unique(y.astype(str)).tolist()))
        absent = sorted(set(target.classes) - set(y[split.train]))
        if absent:
            raise TableError(
                f"Class {absent[0]!r} of target {options.target!r} is not in the training part, which was chosen "
                f"{split.how}. Split in another way, or leave its rows out."
            )
        Y, truth = 2.0 * target.forward(y) - 1.0, target.codes(y.astype(str))
        Y = Y[:, 1:] if Y.shape[1] == 2 else Y
    else:
        target = NumberTarget.fit(y, train=split.train, scale=options.target_scale)
        Y, truth = target.forward(y)[:, None], y
    features, X_train = Features.fit_apply(
        frame.iloc[split.train],
        columns,
        Y[split.train],
        missing=options.missing,
        log_target=isinstance(target, NumberTarget) and target.scale == "log",
        trend=options.time_column is None,
        random_state=options.random_state,
    )
    parts = []
    for rows in (split.train, split.validation, split.test):
        X = X_train if rows is split.train else features.apply(frame.iloc[rows])
        parts.append(Part(frame.iloc[rows], X.astype(np.float32), Y[rows], truth[rows]))
    return Parts(parts[0], parts[1], parts[2], features, target)
