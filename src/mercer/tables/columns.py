"""What each column of a table is: number, category, ordered category, date-time, or nothing to learn from."""

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mercer.errors import TableError
from mercer.tables.cells import as_datetimes, as_labels, as_numbers, holds_datetimes, without_missing
from mercer.tables.options import FitOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Column", "column_named", "inspect_columns"]

NUMBER, CATEGORY, ORDERED, DATETIME, LEFT_OUT = "number", "category", "ordered", "date-time", "left out"
_MOSTLY_NUMBERS = 0.8  # a column with more numbers than this is meant to hold numbers, and its text is a mistake
_FEWEST_IDENTIFIERS = 20  # a text with more values than this, and than half the rows, says which row it is
_COUNTER_NAME = re.compile(r"(column 1|unnamed.*|index|id|row_?(name|number|id|nr)?s?|rownames)", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """One column of the table and what becomes of it.

    Attributes:
        name: as in the table.
        kind: ``"number"``, ``"category"``, ``"ordered"``, ``"date-time"`` or ``"left out"``.
        n_missing: cells without a value.
        n_distinct: different values, a missing one not counted.
        levels: of an ordered category, from lowest to highest.
        note: what a reader should know, as a sentence; empty if nothing.
    """

    name: str
    kind: str
    n_missing: int
    n_distinct: int
    levels: tuple[str, ...] = ()
    note: str = ""


def inspect_columns(frame: "pd.DataFrame", options: FitOptions) -> list[Column]:
    """Type every column but the target, in the table's order.

    Raises:
        TableError: a name that is no column, infinities, text in a column of numbers, values that are no cell values.
    """
    for name in [*options.drop, *options.categorical, *options.ordered, options.time_column, options.group_column]:
        if name is not None:
            column_named(frame, name)
    columns = []
    for name in frame.columns:
        if name == options.target:
            continue
        values = without_missing(frame[name], options.missing)
        present = values.dropna()
        n_distinct = _n_distinct(present, name)
        kind, levels, note = _kind(values, name, n_distinct, options)
        columns.append(Column(name, kind, len(values) - len(present), n_distinct, levels, note))
    if all(column.kind == LEFT_OUT for column in columns):
        reasons = " ".join(f"{column.name}: {column.note}" for column in columns[:5])
        raise TableError(f"No column is left to predict {options.target!r} from. {reasons}".rstrip())
    return columns


def column_named(frame: "pd.DataFrame", name: str) -> "pd.Series[Any]":
    """The column of that name.

    Raises:
        TableError: there is none; the message names the nearest.
    """
    if name not in frame.columns:
        by_lower_case = {str(column).lower(): column for column in frame.columns}
        near = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1, cutoff=0.5)
        hint = f"Did you mean {by_lower_case[near[0]]!r}? " if near else ""
        names = ", ".join(list(frame.columns)[:20]) + (", ..." if len(frame.columns) > 20 else "")
        raise TableError(f"There is no column {name!r}. {hint}The columns are: {names}.")
    return frame[name]


def _kind(
    values: "pd.Series[Any]", name: str, n_distinct: int, options: FitOptions
) -> tuple[str, tuple[str, ...], str]:
    """Kind, levels and note of one column."""
    present = values.dropna()
    if name in options.drop:
        return LEFT_OUT, (), "left out as asked"
    if name == options.group_column:
        return LEFT_OUT, (), "groups the rows of the split, so nothing is learnt from it"
    if n_distinct == 0:
        return LEFT_OUT, (), "has no values"
    if n_distinct == 1 and len(present) == len(values):
        return LEFT_OUT, (), "has one value only"
    if name in options.ordered:
        return ORDERED, _checked_levels(present, name, options.ordered[name]), ""
    if str(present.dtype) == "category" and present.cat.ordered and name not in options.categorical:
        return ORDERED, tuple(str(level) for level in present.cat.categories), ""
    if name in options.categorical or n_distinct == 1:
        return CATEGORY, (), ""
    if holds_datetimes(present):
        return DATETIME, (), ""
    if str(present.dtype).startswith(("int", "uint", "Int", "UInt", "float", "Float", "timedelta")):
        as_numbers(values, name)
        return (LEFT_OUT, (), "only numbers the rows") if _numbers_rows(present, name) else (NUMBER, (), "")
    if str(present.dtype) in ("bool", "boolean") or present.map(lambda value: isinstance(value, bool)).all():
        return CATEGORY, (), ""
    return _kind_of_text(values, name, n_distinct)


def _kind_of_text(values: "pd.Series[Any]", name: str, n_distinct: int) -> tuple[str, tuple[str, ...], str]:
    import pandas as pd

    present = values.dropna()
    strange = ~present.map(lambda value: isinstance(value, str | int | float | np.number) or hasattr(value, "year"))
    strange &= ~present.map(lambda value: type(value).__name__ == "Decimal")
    if strange.any():
        kind = type(present[strange].iloc[0]).__name__
        raise TableError(
            f"Column {name!r} holds values of type {kind}, but a cell is a number, a text or a date. Leave the column "
            f"out (--drop {name})."
        )
    share = float(pd.to_numeric(present.astype(object), errors="coerce").notna().mean())
    if share > _MOSTLY_NUMBERS:
        try:
            as_numbers(values.astype(object), name)
        except TableError as error:
            hint = f" If they are labels: --categorical {name}." if "should hold" in str(error) else ""
            raise TableError(f"{error}{hint}") from None
        return NUMBER, (), "numbers that were stored as text"
    if as_datetimes(present).notna().all():
        return (
            DATETIME,
            (),
            "dates that were stored as text" if present.map(lambda value: isinstance(value, str)).any() else "",
        )
    if n_distinct > max(_FEWEST_IDENTIFIERS, 0.5 * len(present)):
        return LEFT_OUT, (), f"is a text with {n_distinct:,} different values in {len(present):,} rows"
    return CATEGORY, (), ""


def _checked_levels(present: "pd.Series[Any]", name: str, levels: tuple[str, ...]) -> tuple[str, ...]:
    unknown = sorted(set(as_labels(present)) - set(levels))
    if unknown or len(set(levels)) < len(levels):
        what = f"has {unknown[0]!r}, which is not among them" if unknown else "is given one level twice"
        raise TableError(f"Column {name!r} is said to be ordered {' < '.join(levels)}, but {what}.")
    return tuple(levels)


def _numbers_rows(present: "pd.Series[Any]", name: str) -> bool:
    """Whether the column is called like a row number, and has another whole number in every row."""
    values = present.to_numpy(dtype=np.float64)
    return bool(_COUNTER_NAME.fullmatch(name)) and bool((values % 1.0 == 0.0).all()) and bool(present.is_unique)


def _n_distinct(present: "pd.Series[Any]", name: str) -> int:
    try:
        return int(present.nunique())
    except TypeError:  # lists, dictionaries, arrays
        kind = type(present.iloc[0]).__name__
        raise TableError(
            f"Column {name!r} holds values of type {kind}, but a cell is a number, a text or a date. Leave the column "
            f"out (--drop {name})."
        ) from None
