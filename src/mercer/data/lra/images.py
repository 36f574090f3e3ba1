"""The tasks of the Long Range Arena that are images: grey CIFAR-10, and Pathfinder from its folders."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mercer.config import require_memory
from mercer.data.cifar_batch import read_batch
from mercer.data.image_file import open_image
from mercer.data.lra.task import LongRangeTask, Split
from mercer.data.lra.texts import find_file
from mercer.errors import FileFormatError, ShapeError
from mercer.progress import track

__all__ = ["load_image", "load_pathfinder"]

Array = np.ndarray[Any, Any]
_SIDE = 32
_GREY = (0.2989, 0.587, 0.114)  # of red, green and blue, as TensorFlow has them


def load_image(folder: Path, length: int, limit: int | None) -> LongRangeTask:
    """CIFAR-10 in its binary or its Python form; the last tenth of the training images validates."""
    if length != _SIDE * _SIDE:
        raise ShapeError(f"load_lra(length={length}): the images of CIFAR-10 have 1024 pixels; leave length out.")
    is_binary = (folder / "data_batch_1.bin").is_file() or not (folder / "data_batch_1").is_file()
    names = [f"data_batch_{i}{'.bin' if is_binary else ''}" for i in range(1, 6)]
    where = "cs.toronto.edu/~kriz/cifar.html: cifar-10-batches-bin or cifar-10-batches-py"
    names.append(f"test_batch{'.bin' if is_binary else ''}")
    found = [read_batch(find_file(folder, name, "image", where)) for name in names]
    *batches, test = ((_grey(planes), labels) for planes, labels in found)
    X, y = (np.concatenate([batch[i] for batch in batches]) for i in (0, 1))
    cut = int(0.9 * len(X))
    train, valid = Split(X[:cut][:limit], y[:cut][:limit]), Split(X[cut:][:limit], y[cut:][:limit])
    return LongRangeTask("image", train, valid, Split(test[0][:limit], test[1][:limit]), 10, 256, length, True)


def load_pathfinder(
    folder: Path, name: str, side: int, length: int, limit: int | None, random_state: int
) -> LongRangeTask:
    """A folder ``curv_contour_length_14`` with ``metadata/*.npy`` and the PNG images that they name.

    80 % train, 10 % validate, 10 % test, in an order drawn from ``random_state``. Images of no bytes, of which the
    release has one, are left out, as in the official code.
    """
    if length != side * side:
        raise ShapeError(f"load_lra(length={length}): the images of {name} have {side * side} pixels; leave it out.")
    deeper = folder / "curv_contour_length_14"
    folder = deeper if deeper.is_dir() else folder
    files = sorted((folder / "metadata").glob("*.npy"), key=lambda file: (len(file.stem), file.stem))
    if not files:
        raise FileNotFoundError(
            f"{folder / 'metadata'} has no *.npy: load_lra(path, {name!r}) reads the folder curv_contour_length_14 of "
            f"lra_release/pathfinder{side}, with metadata/*.npy and imgs/*/*.png."
        )
    lines = [line for file in files for line in _metadata(file)]
    order = np.random.default_rng(random_state).permutation(len(lines))
    cuts = [0, int(0.8 * len(lines)), int(0.9 * len(lines)), len(lines)]
    chosen = [order[a:b][:limit] for a, b in pairwise(cuts)]
    count = sum(map(len, chosen))
    require_memory(count * length, asked=f"{count} images of {length} pixels", instead="Give limit=.")
    parts = []
    for rows in chosen:
        X, y = np.zeros((len(rows), length), dtype=np.uint8), np.zeros(len(rows), dtype=np.int64)
        n = 0
        for row in track(rows, description="reading images"):
            path, label = lines[row]
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing, though the metadata beside it name it.")
            if path.stat().st_size:
                X[n], y[n] = _read_png(path, side), label
                n += 1
        parts.append(Split(X[:n], y[:n]))
    train, valid, test = parts
    return LongRangeTask(name, train, valid, test, 2, 256, length, True)


def _metadata(file: Path) -> list[tuple[Path, int]]:
    """Image and label of each line: a folder, a file name, a number and the label come first.

    The release has text under the name of an array; the generator writes an array of text.
    """
    if file.read_bytes()[:6] == b"\x93NUMPY":
        rows = [[str(cell) for cell in row] for row in np.load(file, allow_pickle=False)]
    else:
        rows = [line.split() for line in file.read_text().splitlines() if line.strip()]
    found = []
    for number, row in enumerate(rows, start=1):
        if len(row) < 4 or row[3] not in ("0", "1"):
            raise FileFormatError(f"{file}, line {number}: folder, file, number and label 0 or 1 were expected: {row}.")
        found.append((file.parent.parent / row[0] / row[1], int(row[3])))
    return found


def _read_png(path: Path, side: int) -> Array:
    pixels = np.asarray(open_image(path, "L"))
    if pixels.shape != (side, side):
        raise FileFormatError(f"{path} has {pixels.shape[1]} x {pixels.shape[0]} pixels, not {side} x {side}.")
    return pixels.ravel()


def _grey(planes: Array) -> Array:
    """``(n, 3072)`` colour planes as grey pixels ``(n, 1024)``, rounded as TensorFlow converts them."""
    red, green, blue = planes.reshape(-1, 3, _SIDE * _SIDE).astype(np.float32).transpose(1, 0, 2) / np.float32(255.0)
    grey = np.float32(_GREY[0]) * red + np.float32(_GREY[1]) * green + np.float32(_GREY[2]) * blue
    pixels: Array = (grey * np.float32(255.5)).astype(np.uint8)
    return pixels
