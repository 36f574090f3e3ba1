"""Read a table from a CSV or Parquet file; what is wrong with the file is said in one line."""

import csv
import gzip
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mercer.config import require_memory
from mercer.errors import MissingExtra, TableError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_table", "require_distinct_names"]

_CSV = (".csv", ".tsv", ".txt")
_PARQUET = (".parquet", ".pq")
_SEPARATORS = ",;\t|"
_BYTES_A_CELL = 40  # measured on wide and narrow tables: pandas holds a cell as 8 bytes of number or 30 to 60 of text
_BYTES_IN_FLIGHT = 6  # a CSV file's bytes while it is parsed: text, tokens, columns


def read_table(path: str | os.PathLike[str], *, missing: tuple[str, ...] = ()) -> "pd.DataFrame":
    """The table in a file: ``.parquet``, or ``.csv``, ``.tsv``, ``.txt`` (also ``.gz``) with ``,`` ``;`` ``|`` or tab.

    Args:
        path: the file.
        missing: values that stand for a missing one in a CSV file, beside empty cells, ``NA``, ``NaN`` and ``null``.

    Raises:
        TableError: no such file, an empty one, one that is no table, rows of unequal length, two columns of one name.
        MemoryBudgetError: the table would not fit in memory.
        MissingExtra: pandas is not installed.
    """
    file = Path(path)
    if not file.exists():
        raise TableError(f"There is no file {file}.")
    if not file.is_file():
        raise TableError(f"{file} is not a file; give a CSV or Parquet file.")
    size = file.stat().st_size
    if size == 0:
        raise TableError(f"{file} is empty: it has no bytes at all.")
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise MissingExtra("Tables need pandas: pip install 'mercer[tables]'") from None
    suffixes = [suffix.lower() for suffix in file.suffixes]
    packed = bool(suffixes) and suffixes[-1] == ".gz"
    kind = suffixes[-2 if packed and len(suffixes) > 1 else -1] if suffixes else ""
    if kind not in _CSV + _PARQUET:
        raise TableError(f"{file} ends in {kind or 'nothing'!r}, but a table ends in {', '.join(_CSV + _PARQUET)}.")
    require_memory(
        _BYTES_IN_FLIGHT * size * (5 if packed else 1),
        asked=f"Reading {file}",
        instead="Give fewer rows, or only the columns that matter.",
    )
    frame = _read_parquet(file) if kind in _PARQUET else _read_csv(file, packed, missing)
    frame.columns = [str(name) for name in frame.columns]
    if frame.shape[0] == 0:
        raise TableError(f"{file} has a header, but no rows.")
    return frame


def require_distinct_names(names: list[str], *, where: str) -> None:
    """Raise when two columns have the same name: which of them is meant would be a guess.

    Raises:
        TableError: says which names, and how often.
    """
    repeated = [f"{name!r} ({count} times)" for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise TableError(f"{where} has columns of the same name: {', '.join(repeated[:5])}. Rename or remove them.")


def _read_csv(file: Path, packed: bool, missing: tuple[str, ...]) -> "pd.DataFrame":
    import pandas as pd

    try:
        with _open(file, packed) as text:
            separator, names = _check_rows(text, file)
        with _open(file, packed) as text:
            return pd.read_csv(
                text, sep=separator, header=0, names=names, index_col=False, na_values=list(missing), low_memory=False
            )
    except UnicodeDecodeError as error:
        raise TableError(f"{file} is not UTF-8 text (byte {error.start} cannot be read). Save it as UTF-8.") from None
    except (gzip.BadGzipFile, EOFError):
        raise TableError(f"{file} ends in .gz, but is cut off or not packed with gzip.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise TableError(f"{file} is not a CSV file that can be read: {_one_line(error)}.") from None


def _open(file: Path, packed: bool) -> TextIO:
    # utf-8-sig: spreadsheets put a byte-order mark in front, which would become part of the first column's name.
    if packed:
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return open(file, encoding="utf-8-sig", newline="")


def _check_rows(text: TextIO, file: Path) -> tuple[str, list[str]]:
    """The separator and the column names, after every row has been seen to have as many cells as the header."""
    header = text.readline()
    while header and not header.strip():
        header = text.readline()
    if not header:
        raise TableError(f"{file} is empty: it has nothing but blank lines.")
    if "\0" in header:
        raise TableError(f"{file} is not text. A Parquet file ends in .parquet.")
    counts = {separator: len(next(csv.reader([header], delimiter=separator))) for separator in _SEPARATORS}
    separator = max(_SEPARATORS, key=lambda candidate: counts[candidate])
    names = [name.strip() for name in next(csv.reader([header], delimiter=separator))]
    names = [name or f"column {place}" for place, name in enumerate(names, start=1)]
    require_distinct_names(names, where=str(file))
    reader = csv.reader(text, delimiter=separator)
    for row in reader:
        # pandas would fill a short row with missing values and shift a long one, both without a word.
        if len(row) != len(names) and row:
            raise TableError(
                f"{file}: row {reader.line_num} below the header has {len(row)} cells, but the header has "
                f"{len(names)} columns. Is the file cut off, or a text with a {separator!r} in it not in quotes?"
            )
    return separator, names


def _read_parquet(file: Path) -> "pd.DataFrame":
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingExtra("Parquet files need pyarrow: pip install 'mercer[tables]'") from None
    try:
        content: Any = parquet.ParquetFile(file)
        names = [str(name) for name in content.schema_arrow.names]
        require_distinct_names(names, where=str(file))
        require_memory(
            content.metadata.num_rows * len(names) * _BYTES_A_CELL,
            asked=f"Reading {content.metadata.num_rows:,} rows of {file}",
            instead="Give fewer rows, or only the columns that matter.",
        )
        frame: pd.DataFrame = content.read().to_pandas()
    except (ArrowException, OSError, ValueError) as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"{file} is not a Parquet file that can be read: {_one_line(error)}.") from None
    # An index that pandas stored is a column like any other, unless it only counts the rows.
    return frame.reset_index() if any(name is not None for name in frame.index.names) else frame


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
