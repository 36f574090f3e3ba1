"""The tasks of the Long Range Arena that are texts: ListOps, reviews by characters, papers in pairs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mercer.data.lra.listops import LISTOPS_TOKENS, encode_listops
from mercer.data.lra.task import LongRangeTask, Split
from mercer.errors import FileFormatError

__all__ = ["BYTES", "as_bytes", "find_file", "load_listops", "load_retrieval", "load_text"]

Array = np.ndarray[Any, Any]
BYTES = 257  # a byte and 1, so that 0 is padding


def load_listops(folder: Path, length: int, limit: int | None) -> LongRangeTask:
    """``basic_train.tsv``, ``basic_val.tsv`` and ``basic_test.tsv``."""
    parts = []
    for part in ("train", "val", "test"):
        path = find_file(folder, f"basic_{part}.tsv", "listops", "lra_release/listops-1000, or save_listops")
        rows, values = [], []
        for number, row in enumerate(_expressions(path, limit), start=2):
            if len(row) != 2 or not row[1].strip().isdigit() or int(row[1]) > 9:
                raise FileFormatError(f"{path}, line {number}: an expression, a tab and a digit were expected.")
            try:
                rows.append(encode_listops([row[0]], length)[0])
            except ValueError as error:
                raise FileFormatError(f"{path}, line {number}: {error}") from None
            values.append(int(row[1]))
        X = np.stack(rows) if rows else np.zeros((0, length), dtype=np.int16)
        parts.append(Split(X, np.array(values, dtype=np.int64)))
    train, valid, test = parts
    return LongRangeTask("listops", train, valid, test, 10, len(LISTOPS_TOKENS) + 1, length, False)


def load_text(folder: Path, length: int, limit: int | None) -> LongRangeTask:
    """IMDb reviews as they are distributed: ``train`` and ``test`` with ``pos/*.txt`` and ``neg/*.txt``."""
    parts = []
    for part in ("train", "test"):
        texts: list[bytes] = []
        classes: list[int] = []
        for label, kind in enumerate(("neg", "pos")):
            place = folder / part / kind
            files = sorted(place.glob("*.txt"), key=_number)
            if not files:
                raise FileNotFoundError(
                    f"{place} has no reviews: path must be the folder aclImdb, with {part}/pos/*.txt and "
                    f"{part}/neg/*.txt, as ai.stanford.edu/~amaas/data/sentiment has it."
                )
            # Of an odd number the negative ones have one more, as they come first.
            for file in files if limit is None else files[: (limit + 1 - label) // 2]:
                texts.append(file.read_bytes())
                classes.append(label)
        parts.append(Split(as_bytes(texts, length), np.array(classes, dtype=np.int64)))
    # The official code validates on the test reviews: there are no others.
    return LongRangeTask("text", parts[0], parts[1], parts[1], 2, BYTES, length, False)


def load_retrieval(folder: Path, length: int, limit: int | None) -> LongRangeTask:
    """AAN: ``new_aan_pairs.train.tsv``, ``.eval.tsv`` and ``.test.tsv``: label, two names, two texts."""
    parts = []
    for part in ("train", "eval", "test"):
        path = find_file(folder, f"new_aan_pairs.{part}.tsv", "retrieval", "lra_release/tsv_data")
        classes: list[int] = []
        pairs: list[Array] = []
        for number, line in enumerate(_lines(path, limit), start=1):
            try:
                label, _, _, *texts = line.split(b"\t")
                classes.append({0.0: 0, 1.0: 1}[float(label)])
                if len(texts) != 2:
                    raise ValueError
            except (KeyError, ValueError):
                raise FileFormatError(
                    f"{path}, line {number}: a label 0 or 1, two names and two texts were expected, with tabs between."
                ) from None
            pairs.append(as_bytes(texts, length))
        X = np.stack(pairs) if pairs else np.zeros((0, 2, length), dtype=np.int16)
        parts.append(Split(X, np.array(classes, dtype=np.int64)))
    train, valid, test = parts
    return LongRangeTask("retrieval", train, valid, test, 2, BYTES, length, False)


def find_file(folder: Path, name: str, task: str, where: str) -> Path:
    """A file in a folder.

    Raises:
        FileNotFoundError: it is not there; the message says which task wanted it and where it comes from.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: load_lra(path, {task!r}) reads {name} from path. See {where}.")
    return path


def _expressions(path: Path, limit: int | None) -> Iterator[list[str]]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.reader(file, delimiter="\t")
        if (found := next(reader, [])) != ["Source", "Target"]:
            raise FileFormatError(f"{path}: the first line must be Source and Target, not {found}.")
        yield from islice(reader, limit)


def _lines(path: Path, limit: int | None) -> Iterator[bytes]:
    """Lines as bytes, which end at a line feed only: texts have bytes of any kind, a carriage return too."""
    with open(path, "rb") as file:
        for line in islice(file, limit):
            yield line.removesuffix(b"\n").removesuffix(b"\r")


def as_bytes(texts: list[bytes], length: int) -> Array:
    """Bytes and 1, padded with 0 and cut off, ``(n, length)`` int16."""
    X = np.zeros((len(texts), length), dtype=np.int16)
    for row, text in zip(X, texts, strict=True):
        found = np.frombuffer(text[:length], dtype=np.uint8)
        row[: len(found)] = found.astype(np.int16) + 1
    return X


def _number(path: Path) -> tuple[int, str]:
    """The order of ``0_9.txt``, ``1_7.txt``, ..., ``10_3.txt``."""
    first = path.stem.partition("_")[0]
    return (int(first) if first.isdigit() else 2**31, path.name)


Loader = Callable[[Path, int, int | None], LongRangeTask]
