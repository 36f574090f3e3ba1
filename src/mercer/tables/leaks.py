"""What makes scores too good to be true: columns that are the target in disguise, test rows that were in training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mercer.tables.cells import as_labels, as_numbers, without_missing
from mercer.tables.columns import Column
from mercer.tables.transforms.moment import seconds_since_1970

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Leak", "count_copies", "find_leaks"]

_MOST_ROWS = 20_000
_SUSPICIOUS = 0.995  # of the variance, or of what a constant guess gets wrong, explained by one column alone
_LEAVES = 256


@dataclass(frozen=True)
class Leak:
    """A column that alone explains nearly all of the target.

    Attributes:
        column: its name.
        share: of the target's variance (of the errors of the most frequent class) that it explains on rows that the
            test of the column did not see.
    """

    column: str
    share: float

    def __str__(self) -> str:
        return (
            f"Column {self.column!r} alone explains {self.share:.1%} of the target. If it is known only once the "
            f"target is, leave it out: --drop {self.column}"
        )


def find_leaks(
    frame: "pd.DataFrame", columns: list[Column], y: np.ndarray, *, missing: tuple[str, ...] = (), random_state: int = 0
) -> list[Leak]:
    """Columns with which a small decision tree, shown half of the rows, explains nearly all of the other half.

    The tree sees one column at a time, so any one-to-one or step-like disguise is found (other units, a rounding, a
    code for a class, a value that is only there for one class); a disguise spread over several columns is not.

    Args:
        frame: the training part.
        columns: those left out are skipped.
        y: numbers, or labels of classes, a row each.
        missing: values that stand for a missing one.
        random_state: of the rows, where there are more than 20,000, and of the halves.
    """
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows = np.random.default_rng(random_state).permutation(len(frame))[:_MOST_ROWS]
    first, second = rows[::2], rows[1::2]
    is_class = y.dtype == object
    # For numbers the ranks: so that the errors of a heavy tail do not hide a leak.
    goal = y.astype(str) if is_class else np.argsort(np.argsort(y, kind="stable"), kind="stable").astype(np.float64)
    leaks = []
    for column in columns:
        if column.kind == "left out":
            continue
        values = _as_column(without_missing(frame[column.name], missing), column)
        tree = (DecisionTreeClassifier if is_class else DecisionTreeRegressor)(
            max_leaf_nodes=_LEAVES, random_state=random_state
        )
        guess = tree.fit(values[first], goal[first]).predict(values[second])
        if is_class:
            labels, counts = np.unique(goal[first], return_counts=True)
            wrong, wrong_by_default = guess != goal[second], labels[counts.argmax()] != goal[second]
            share = 1.0 - wrong.mean() / max(float(wrong_by_default.mean()), 1e-12)
        else:
            share = 1.0 - float(((guess - goal[second]) ** 2).mean()) / float(goal[second].var())
        if share >= _SUSPICIOUS:
            leaks.append(Leak(column.name, float(share)))
    return leaks


def count_copies(X_train: np.ndarray, X_test: np.ndarray) -> int:
    """How many rows of the test part have exactly the features of a training row."""
    seen = {row.tobytes() for row in np.ascontiguousarray(X_train, dtype=np.float32)}
    return sum(row.tobytes() in seen for row in np.ascontiguousarray(X_test, dtype=np.float32))


def _as_column(values: "pd.Series[Any]", column: Column) -> np.ndarray:
    """``(n, 1)`` numbers with NaN where missing; categories as codes in the order of their names."""
    if column.kind == "number":
        numbers = as_numbers(values, column.name)
    elif column.kind == "date-time":
        numbers = seconds_since_1970(values)
    else:
        labels = as_labels(values)
        present = np.array([label is not None for label in labels])
        numbers = np.full(len(labels), np.nan)
        numbers[present] = np.unique(labels[present].astype(str), return_inverse=True)[1]
    return numbers[:, None]
