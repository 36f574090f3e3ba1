"""A folder of small classification tables, such as the 121 of Fernandez-Delgado et al. (2014) from UCI."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mercer.errors import FileFormatError

__all__ = ["SmallTable", "small_table", "small_table_names"]

Array = np.ndarray[Any, Any]
ENDINGS = ("_R.dat", ".arff", ".csv")


@dataclass(frozen=True)
class SmallTable:
    """A table for classification, as numbers.

    Attributes:
        name: of its file.
        X: ``(n, d)`` float64, as in the file; columns of words are one column a word, 0 or 1.
        y: ``(n,)`` classes from 0 on, int64.
        columns: names of the columns of X.
        classes: what the classes are called in the file.
        folds: rows for training and for the test of each fold that the collection prescribes; empty where none.
        tuning: rows for training and for validation that it prescribes for choosing hyperparameters; None where none.
    """

    name: str
    X: Array
    y: Array
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    folds: tuple[tuple[Array, Array], ...] = ()
    tuning: tuple[Array, Array] | None = None


def small_table_names(folder: str | os.PathLike[str]) -> list[str]:
    """The tables that :func:`small_table` finds in a folder, in order.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    place = Path(folder)
    if not place.is_dir():
        raise FileNotFoundError(f"{place}: there is no such folder.")
    alone = {path.name.removesuffix(end) for end in ENDINGS[1:] for path in place.glob(f"*{end}")}
    return sorted(alone | {path.name for path in place.iterdir() if path.is_dir() and _file(place, path.name)})


def small_table(folder: str | os.PathLike[str], name: str) -> SmallTable:
    """One table of a folder; nothing is downloaded.

    Args:
        folder: holds ``NAME.arff`` or ``NAME.csv``, or a folder ``NAME`` with such a file or with ``NAME_R.dat``. A CSV
            file begins with the names of its columns, and the class is the last one, as in the other two. Where the
            folder NAME has ``conxuntos_kfold.dat`` and ``conxuntos.dat``, these are its folds.
        name: of the table; :func:`small_table_names` lists them.

    Raises:
        FileNotFoundError: no such file; the message says what there is.
        FileFormatError: a file that cannot be read, a row of another length, missing values, a single class.
    """
    place = Path(folder)
    names = small_table_names(place)
    path = _file(place, name)
    if path is None:
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise FileNotFoundError(f"{place} has no table {name!r}. There are {len(names)}: {shown or 'none'}.")
    read = {".arff": _from_arff, ".dat": _from_dat, ".csv": _from_csv}[path.suffix]
    header, rows = read(path)
    if not rows or any(len(row) != len(header) for row in rows):
        bad = next((i for i, row in enumerate(rows, 1) if len(row) != len(header)), 0)
        raise FileFormatError(f"{path}: {len(header)} columns are named, but row {bad} has another number of values.")
    *columns, labels = zip(*rows, strict=True)
    parts = [_numbers(path, title, column) for title, column in zip(header, columns, strict=False)]
    classes = tuple(sorted(set(labels), key=_order))
    if len(classes) < 2:
        raise FileFormatError(f"{path}: all rows are of one class, {classes[0]!r}. Is the class the last column?")
    codes = {label: code for code, label in enumerate(classes)}
    X = np.concatenate([values for values, _ in parts], 1)
    y = np.array([codes[label] for label in labels], dtype=np.int64)
    titles = tuple(title for _, titles in parts for title in titles)
    folds = _indices(path.parent / "conxuntos_kfold.dat", len(y))
    tuning = _indices(path.parent / "conxuntos.dat", len(y))
    return SmallTable(name, X, y, titles, classes, folds, tuning[0] if tuning else None)


def _file(place: Path, name: str) -> Path | None:
    candidates = [place / name / f"{name}{end}" for end in ENDINGS] + [place / f"{name}{end}" for end in ENDINGS[1:]]
    return next((path for path in candidates if path.is_file()), None)


def _from_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    header, *rows = [row for row in csv.reader(io.StringIO(path.read_text())) if row] or [[]]
    return header, [[cell.strip() for cell in row] for row in rows]


def _from_dat(path: Path) -> tuple[list[str], list[list[str]]]:
    """As R writes a frame: names, then the number of the row and its values."""
    first, *lines = [line.split() for line in path.read_text().splitlines() if line.strip()] or [[]]
    return first, [line[1:] for line in lines]


def _from_arff(path: Path) -> tuple[list[str], list[list[str]]]:
    from scipy.io import arff

    try:
        data, attributes = arff.loadarff(io.StringIO(path.read_text()))
    except (arff.ArffError, ValueError, NotImplementedError, StopIteration) as error:
        raise FileFormatError(f"{path} cannot be read as ARFF: {error or 'it has no @data'}") from None
    rows = [[cell.decode() if isinstance(cell, bytes) else str(cell) for cell in row] for row in data.tolist()]
    return list(attributes.names()), rows


def _numbers(path: Path, title: str, column: tuple[str, ...]) -> tuple[Array, list[str]]:
    """``(n, 1)`` of a column of numbers; of words a column for each."""
    missing = [i for i, cell in enumerate(column, 1) if cell in ("", "?", "NA") or cell.lower() == "nan"]
    if missing:
        raise FileFormatError(f"{path}: column {title!r} has no value in row {missing[0]} ({len(missing)} in all).")
    try:
        return np.array([float(cell) for cell in column])[:, None], [title]
    except ValueError:
        words = sorted(set(column))
        return np.array([[float(cell == word) for word in words] for cell in column]), [f"{title}={w}" for w in words]


def _order(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return float("inf"), label


def _indices(path: Path, n: int) -> tuple[tuple[Array, Array], ...]:
    """Lines of row numbers from 0, of training and test in turn."""
    if not path.is_file():
        return ()
    lines = [np.array(line.split(), dtype=np.int64) for line in path.read_text().splitlines() if line.strip()]
    if len(lines) % 2 or any(line.min() < 0 or line.max() >= n for line in lines):
        raise FileFormatError(f"{path}: pairs of lines with row numbers from 0 to {n - 1} are expected.")
    return tuple(zip(lines[::2], lines[1::2], strict=True))
