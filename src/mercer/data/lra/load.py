"""The six tasks of the Long Range Arena, from the files that others distribute; nothing is downloaded."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from mercer.arguments import check_whole
from mercer.data.lra.images import load_image, load_pathfinder
from mercer.data.lra.task import LongRangeTask
from mercer.data.lra.texts import Loader, load_listops, load_retrieval, load_text

__all__ = ["LRA_TASKS", "load_lra"]

# The length of a sequence in the paper's table.
_LENGTHS = {"listops": 2000, "text": 4000, "retrieval": 4000, "image": 1024, "pathfinder": 1024, "pathx": 16384}
LRA_TASKS = tuple(_LENGTHS)


def load_lra(
    path: str | os.PathLike[str],
    task: str,
    *,
    length: int | None = None,
    limit: int | None = None,
    random_state: int = 0,
) -> LongRangeTask:
    """One task of the Long Range Arena, from its own files.

    ========== ============================================================== ======= ======== =======
    task       path holds                                                     length  numbers  classes
    ========== ============================================================== ======= ======== =======
    listops    ``basic_train.tsv``, ``basic_val.tsv``, ``basic_test.tsv``     2000    16       10
    text       ``train/pos/*.txt``, ``train/neg/*.txt``, ``test/...`` (IMDb)  4000    257      2
    retrieval  ``new_aan_pairs.train.tsv``, ``.eval.tsv``, ``.test.tsv``      4000    257      2
    image      CIFAR-10, ``data_batch_1.bin`` and so on, or its Python form   1024    256      10
    pathfinder ``curv_contour_length_14`` of ``pathfinder32``                 1024    256      2
    pathx      ``curv_contour_length_14`` of ``pathfinder128``                16384   256      2
    ========== ============================================================== ======= ======== =======

    Texts are bytes and 1, ListOps is its 15 tokens without round brackets; 0 pads both at the end. Images are pixels
    from 0 to 255, row by row.

    Args:
        path: the folder.
        task: one of ``LRA_TASKS``.
        length: to which texts are cut and padded; None is the paper's.
        limit: at most so many rows of each part are read.
        random_state: of the order in which pathfinder images are split, 80 % to train and 10 % each to validate and to
            test. (The official split is another draw.)

    Raises:
        ValueError: an unknown task, a length or limit that is no whole number >= 1.
        FileNotFoundError: a file is missing; the message names it and says where it comes from.
        FileFormatError: a file is cut off or of another form.
        ShapeError: a length for images, which have one.

    Source: Tay et al., Long Range Arena (ICLR 2021); formats: google-research/long-range-arena.
    """
    if task not in _LENGTHS:
        raise ValueError(f"load_lra(task={task!r}): choose from: {', '.join(_LENGTHS)}.")
    check_whole("load_lra: length", length, or_none=True)
    check_whole("load_lra: limit", limit, or_none=True)
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: load_lra(path, {task!r}) takes the one with the task's files.")
    loaders: dict[str, Loader] = {
        "listops": load_listops,
        "text": load_text,
        "retrieval": load_retrieval,
        "image": load_image,
        "pathfinder": partial(_pathfinder, name="pathfinder", side=32, random_state=random_state),
        "pathx": partial(_pathfinder, name="pathx", side=128, random_state=random_state),
    }
    return loaders[task](
        folder, _LENGTHS[task] if length is None else int(length), None if limit is None else int(limit)
    )


def _pathfinder(
    folder: Path, length: int, limit: int | None, *, name: str, side: int, random_state: int
) -> LongRangeTask:
    return load_pathfinder(folder, name, side, length, limit, random_state)
