"""Five tasks of GLUE: sentences or pairs of them, with classes or a score, from the official tables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mercer.errors import FileFormatError

__all__ = ["GLUE_TASKS", "GlueTask", "Sentences", "load_glue"]

Array = np.ndarray[Any, Any]


class Sentences(NamedTuple):
    """Texts and what is to be predicted.

    Attributes:
        first: a sentence a row.
        second: the other of each pair; None where there are single sentences.
        targets: ``(n,)`` classes from 0 on, int64, or scores, float64.
    """

    first: list[str]
    second: list[str] | None
    targets: Array


@dataclass(frozen=True)
class GlueTask:
    """One task.

    Attributes:
        name: of ``GLUE_TASKS``.
        train, valid: the parts that have targets; those of the official test part are not public.
        classes: what targets stand for, in their order; empty for scores.
        metric: the official one: "accuracy", "f1", "matthews" or "pearson".
    """

    name: str
    train: Sentences
    valid: Sentences
    classes: tuple[str, ...]
    metric: str


class _Form(NamedTuple):
    """The columns of a table, by name in its first line or, without such a line, by place."""

    first: str | int
    second: str | int | None
    target: str | int
    classes: tuple[str, ...]
    metric: str


_FORMS = {
    "rte": _Form("sentence1", "sentence2", "label", ("entailment", "not_entailment"), "accuracy"),
    "mrpc": _Form("#1 String", "#2 String", "Quality", ("0", "1"), "f1"),
    "cola": _Form(3, None, 1, ("0", "1"), "matthews"),
    "stsb": _Form("sentence1", "sentence2", "score", (), "pearson"),
    "sst2": _Form("sentence", None, "label", ("0", "1"), "accuracy"),
}
GLUE_TASKS = tuple(_FORMS)


def load_glue(path: str | os.PathLike[str], task: str, *, limit: int | None = None) -> GlueTask:
    """A task from its folder with ``train.tsv`` and ``dev.tsv``; nothing is downloaded.

    ====== ======================================== ============================
    task   folder of the official archive           targets
    ====== ======================================== ============================
    rte    ``RTE``: pairs                           entailment or not
    mrpc   ``MRPC``: pairs                          1 where both say the same
    cola   ``CoLA``: sentences, no line of names    1 where it is English
    stsb   ``STS-B``: pairs                         likeness from 0 to 5
    sst2   ``SST-2``: sentences                     1 where it is praise
    ====== ======================================== ============================

    Args:
        path: that folder.
        task: one of ``GLUE_TASKS``.
        limit: at most so many rows of each part.

    Raises:
        ValueError: an unknown task, or a limit below 1.
        FileNotFoundError: a file is missing; the message names it.
        FileFormatError: a table without these columns, or with a target that is none; the message names the line.

    Source: Wang et al., GLUE (ICLR 2019), gluebenchmark.com.
    """
    if task not in _FORMS:
        raise ValueError(f"load_glue(task={task!r}): choose from: {', '.join(_FORMS)}.")
    if limit is not None and limit < 1:
        raise ValueError(f"load_glue(limit={limit}): it must be >= 1.")
    form = _FORMS[task]
    train, valid = (_read(Path(path) / name, task, form, limit) for name in ("train.tsv", "dev.tsv"))
    return GlueTask(task, train, valid, form.classes, form.metric)


def _read(path: Path, task: str, form: _Form, limit: int | None) -> Sentences:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: load_glue(path, {task!r}) reads train.tsv and dev.tsv of GLUE.")
    lines = path.read_text(encoding="utf-8").splitlines()
    columns = [form.first, form.target, *([] if form.second is None else [form.second])]
    places, start = dict(zip(columns, columns, strict=True)), 0
    if isinstance(form.first, str):
        names, start = lines[0].lstrip("\ufeff").split("\t") if lines else [], 1
        missing = [name for name in columns if name not in names]
        if missing:
            raise FileFormatError(f"{path}: its first line has no column {missing[0]!r}, but {', '.join(names)}.")
        places = {name: names.index(str(name)) for name in columns}
    rows: dict[str | int, list[str]] = {name: [] for name in columns}
    for number, line in enumerate(lines[start:][:limit], start=start + 1):
        cells = line.split("\t")  # quotation marks mean nothing in these tables
        if len(cells) <= max(int(place) for place in places.values()):
            raise FileFormatError(f"{path}, line {number}: {len(cells)} columns with tabs between are too few.")
        for name, place in places.items():
            rows[name].append(cells[int(place)])
        _target(rows[form.target][-1], form.classes, f"{path}, line {number}")
    if not rows[form.target]:
        raise FileFormatError(f"{path} has no rows.")
    targets = np.array([_target(cell, form.classes, "") for cell in rows[form.target]])
    return Sentences(rows[form.first], None if form.second is None else rows[form.second], targets)


def _target(cell: str, classes: tuple[str, ...], where: str) -> int | float:
    if classes:
        if cell not in classes:
            raise FileFormatError(f"{where}: {cell!r} is none of {', '.join(classes)}.")
        return classes.index(cell)
    try:
        return float(cell)
    except ValueError:
        raise FileFormatError(f"{where}: {cell!r} is no score.") from None
