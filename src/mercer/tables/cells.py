"""Cells of a column as numbers, moments or labels; what does not fit is said with its row."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from mercer.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_datetimes", "as_labels", "as_numbers", "holds_datetimes", "without_missing"]


def without_missing(values: "pd.Series[Any]", missing: tuple[str, ...]) -> "pd.Series[Any]":
    """The same values, where blank text and what the user calls missing is NaN."""
    if _holds_text(values):
        text = values.map(lambda value: value.strip() if isinstance(value, str) else value)
        return text.where(~text.isin(["", *missing]))
    if missing:
        return values.where(~np.isin(as_labels(values).astype(str), list(missing)))
    return values


def as_numbers(values: "pd.Series[Any]", name: str) -> np.ndarray:
    """float64, NaN where missing.

    Raises:
        TableError: text, or an infinity; the message gives the first and its row.
    """
    import pandas as pd

    if str(values.dtype).startswith("timedelta"):
        numbers = pd.to_timedelta(values).dt.total_seconds()
    else:
        numbers = pd.to_numeric(values, errors="coerce")
    wrong = (numbers.isna() & values.notna()).to_numpy(bool)
    if wrong.any():
        row = int(wrong.argmax())
        raise TableError(
            f"Column {name!r} should hold numbers, but {wrong.sum():,} of {len(values):,} values are not, the first "
            f"in row {row + 1}: {_shown(values.iloc[row])}. Correct them, or name what stands for a missing value "
            f"(--missing {_shown(values.iloc[row])})."
        )
    result = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = np.isinf(result)
    if infinite.any():
        raise TableError(
            f"Column {name!r} holds an infinity in row {int(infinite.argmax()) + 1} ({infinite.sum():,} in all). "
            f"Put a number there, or leave the cell empty."
        )
    return result


def as_datetimes(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Moments in UTC without zone, NaT where missing or unreadable."""
    import pandas as pd

    form = None if holds_datetimes(values) else "ISO8601"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns where it guesses a format; what it cannot read is NaT
        moments = pd.to_datetime(values, errors="coerce", utc=True, format=form)
    return moments.dt.tz_localize(None)


def as_labels(values: "pd.Series[Any]") -> np.ndarray:
    """Text, None where missing: 3 and 3.0 and "3" are the same label, as are True and "True"."""
    labels = np.empty(len(values), dtype=object)
    missing = values.isna().to_numpy(bool)
    labels[:] = [
        None if gone else str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
        for value, gone in zip(values.tolist(), missing, strict=True)
    ]
    return labels


def _holds_text(values: "pd.Series[Any]") -> bool:
    return str(values.dtype) in ("object", "str", "string") or str(values.dtype).startswith("string")


def holds_datetimes(values: "pd.Series[Any]") -> bool:
    """Whether the column's type is date-time (dates stored as text are not)."""
    return str(values.dtype).startswith("datetime")


def _shown(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 30 else text[:27] + "...")
