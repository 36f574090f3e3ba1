"""All columns of a table as one matrix of features, the same for every model that is compared."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mercer.errors import FileFormatError, TableError
from mercer.tables.cells import without_missing
from mercer.tables.columns import Column
from mercer.tables.transforms import (
    CategoryTransform,
    Feature,
    ManyLevelsTransform,
    MomentTransform,
    NumberTransform,
    OrderedTransform,
)
from mercer.tables.transforms.category import MOST_INDICATORS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Features"]

Transform = NumberTransform | CategoryTransform | OrderedTransform | ManyLevelsTransform | MomentTransform
_KINDS: dict[str, type[Transform]] = {
    transform.kind: transform
    for transform in (NumberTransform, CategoryTransform, OrderedTransform, ManyLevelsTransform, MomentTransform)
}


@dataclass(frozen=True)
class Features:
    """The fitted transforms, one a column in use.

    Attributes:
        transforms: in the table's order of columns.
        missing: what the user calls a missing value.
    """

    transforms: tuple[Transform, ...]
    missing: tuple[str, ...] = ()

    @classmethod
    def fit_apply(
        cls,
        frame: "pd.DataFrame",
        columns: list[Column],
        Y: np.ndarray,
        *,
        missing: tuple[str, ...] = (),
        log_target: bool,
        trend: bool,
        random_state: int,
    ) -> tuple["Features", np.ndarray]:
        """Fit on the training part.

        Args:
            frame: the training part, ``n`` rows.
            columns: from :func:`mercer.tables.columns.inspect_columns`; those left out are skipped.
            Y: ``(n, t)`` targets as the model sees them, for columns of many levels.
            missing: values that stand for a missing one.
            log_target: whether the model sees the log of the target.
            trend: whether date-times have a trend.
            random_state: of the folds for columns of many levels.

        Returns:
            the transforms, and the training part's features ``(n, d)``, float64. The latter differ from
            :meth:`apply` in columns of many levels, where a row must not see its own target.
        """
        transforms: list[Transform] = []
        blocks = []
        for column in columns:
            if column.kind == "left out":
                continue
            values = without_missing(frame[column.name], missing)
            if column.kind == "category" and column.n_distinct > MOST_INDICATORS:
                many, block = ManyLevelsTransform.fit_apply(values, Y, name=column.name, random_state=random_state)
                transforms.append(many)
                blocks.append(block)
                continue
            transform = _fit(column, values, log_target=log_target, trend=trend)
            transforms.append(transform)
            blocks.append(transform.apply(values))
        X = np.concatenate(blocks, axis=1)
        if X.shape[1] == 0:
            names = ", ".join(transform.name for transform in transforms)
            raise TableError(f"No level of {names} is in enough rows to learn from.")
        return cls(tuple(transforms), missing), X

    def apply(self, frame: "pd.DataFrame") -> np.ndarray:
        """``(n, d)`` float64 features of a table with the same columns; others in it are ignored.

        Raises:
            TableError: a column is missing, or holds text where numbers should be.
        """
        absent = [transform.name for transform in self.transforms if transform.name not in frame.columns]
        if absent:
            names = ", ".join(repr(name) for name in absent[:10])
            raise TableError(f"The table lacks {len(absent)} of the columns the model was fitted on: {names}.")
        blocks = [
            transform.apply(without_missing(frame[transform.name], self.missing)) for transform in self.transforms
        ]
        return np.concatenate(blocks, axis=1)

    def unseen(self, frame: "pd.DataFrame") -> dict[str, int]:
        """How many rows have a category that training did not know, by column; columns without any are not listed."""
        counts = {}
        for transform in self.transforms:
            if isinstance(transform, CategoryTransform | OrderedTransform | ManyLevelsTransform):
                n_unseen = transform.n_unseen(without_missing(frame[transform.name], self.missing))
                if n_unseen:
                    counts[transform.name] = n_unseen
        return counts

    @property
    def features(self) -> list[Feature]:
        """What each column of the matrix means."""
        return [feature for transform in self.transforms for feature in transform.features()]

    def state(self) -> dict[str, Any]:
        """What JSON can hold."""
        transforms = [{"kind": transform.kind, **transform.state()} for transform in self.transforms]
        return {"transforms": transforms, "missing": list(self.missing)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Features":
        """The inverse of :meth:`state`.

        Raises:
            FileFormatError: a kind of transform that this version does not know.
        """
        transforms = []
        for saved in state["transforms"]:
            if saved["kind"] not in _KINDS:
                raise FileFormatError(
                    f"The saved model has a transform {saved['kind']!r}, unknown here. Update mercer."
                )
            transforms.append(_KINDS[saved["kind"]].from_state({k: v for k, v in saved.items() if k != "kind"}))
        return cls(tuple(transforms), tuple(state["missing"]))


def _fit(column: Column, values: "pd.Series[Any]", *, log_target: bool, trend: bool) -> Transform:
    if column.kind == "number":
        return NumberTransform.fit(values, name=column.name, log_target=log_target)
    if column.kind == "date-time":
        return MomentTransform.fit(values, name=column.name, trend=trend)
    if column.kind == "ordered":
        return OrderedTransform.fit(values, name=column.name, levels=column.levels)
    return CategoryTransform.fit(values, name=column.name)
