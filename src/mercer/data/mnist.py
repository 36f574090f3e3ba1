"""Handwritten digits of MNIST, and whatever else comes in its file formats, from files on the disk."""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mercer.errors import FileFormatError

__all__ = ["LabelledImages", "mnist", "read_idx"]

Array = np.ndarray[Any, Any]
# The third byte of an IDX file names the type of its numbers, which are stored with the high byte first.
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
PARTS = {
    "images": ("train-images", "idx3", "x_train"),
    "labels": ("train-labels", "idx1", "y_train"),
    "test_images": ("t10k-images", "idx3", "x_test"),
    "test_labels": ("t10k-labels", "idx1", "y_test"),
}


class LabelledImages(NamedTuple):
    """Images and their classes, in the order of the files.

    Attributes:
        images: ``(n, height, width)``, uint8 in MNIST.
        labels: ``(n,)``, int64.
        test_images: ``(m, height, width)``.
        test_labels: ``(m,)``.
    """

    images: Array
    labels: Array
    test_images: Array
    test_labels: Array


def mnist(path: str | os.PathLike[str]) -> LabelledImages:
    """MNIST from its files; nothing is downloaded. Fashion-MNIST, KMNIST and EMNIST digits have the same format.

    Args:
        path: a folder with the four IDX files (``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
            ``t10k-images-idx3-ubyte``, ``t10k-labels-idx1-ubyte``; with ``.`` for the second ``-``, and ``.gz``, or in
            ``MNIST/raw`` as torchvision leaves them, too), a folder with ``mnist.npz``, or an ``.npz`` file with
            ``x_train``, ``y_train``, ``x_test`` and ``y_test``, as Keras has it.

    Raises:
        FileNotFoundError: a file is missing; the message names it.
        FileFormatError: a damaged file, or images and labels that do not go together.
    """
    place = Path(path)
    archive = place if place.is_file() else place / "mnist.npz"
    parts = _from_archive(archive) if archive.is_file() else _from_idx(place)
    found = LabelledImages(**parts)
    for name, images, labels in (("training", *found[:2]), ("test", *found[2:])):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise FileFormatError(
                f"{place}: {name} images of shape {images.shape} and labels of shape {labels.shape} do not go "
                f"together; (n, height, width) and (n,) are expected."
            )
    return found._replace(labels=found.labels.astype(np.int64), test_labels=found.test_labels.astype(np.int64))


def read_idx(path: str | os.PathLike[str]) -> Array:
    """The array of one IDX file, which may be packed by gzip.

    Raises:
        FileFormatError: no IDX file, or one that is cut off or too long.
    """
    content = Path(path).read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise FileFormatError(f"{path} is a damaged gzip file: {error}. Fetch it again.") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise FileFormatError(f"{path} is no IDX file: it begins with {content[:4].hex(' ') or 'nothing'}.")
    kind, n_axes = np.dtype(TYPES[content[2]]), content[3]
    start = 4 + 4 * n_axes
    if len(content) < start:
        raise FileFormatError(f"{path} is cut off: it has {len(content)} bytes, and its shape alone takes {start}.")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", count=n_axes, offset=4))
    expected = start + kind.itemsize * int(np.prod(shape, dtype=np.int64))
    if len(content) != expected:
        raise FileFormatError(f"{path} has {len(content)} bytes, but an array of shape {shape} takes {expected}.")
    values = np.frombuffer(content, kind, offset=start).reshape(shape)
    return values.astype(kind.newbyteorder("="))


def _from_archive(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for _, _, key in PARTS.values() if key not in archive]
            if missing:
                raise FileFormatError(f"{path} has {', '.join(archive) or 'nothing'}, but not {', '.join(missing)}.")
            return {name: archive[key] for name, (_, _, key) in PARTS.items()}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path} is no readable .npz file: {error}") from None


def _from_idx(place: Path) -> dict[str, Array]:
    parts = {}
    for name, (stem, kind, _) in PARTS.items():
        names = [f"{stem}{mark}{kind}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
        candidates = [folder / one for folder in (place, place / "MNIST" / "raw") for one in names]
        path = next((one for one in candidates if one.is_file()), None)
        if path is None:
            raise FileNotFoundError(
                f"{candidates[0]} is missing: give the folder of MNIST's four IDX files (also as .gz), or mnist.npz."
            )
        parts[name] = read_idx(path)
    return parts
