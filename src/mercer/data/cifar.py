"""CIFAR-10 and CIFAR-100 in colour, from the files that their authors distribute, binary or Python's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mercer.data.cifar_batch import read_batch
from mercer.data.lra.task import Split

__all__ = ["ColourImages", "load_cifar"]

Array = np.ndarray[Any, Any]
_SIDE = 32
_WHERE = "cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True)
class ColourImages:
    """Images and their classes.

    Attributes:
        train, test: inputs ``(n, 32, 32, 3)`` uint8, rows from the top; targets ``(n,)`` int64.
        n_classes: 10 or 100.
    """

    train: Split
    test: Split
    n_classes: int

    def sequences(self) -> tuple[Split, Split]:
        """``train`` and ``test`` pixel by pixel, ``(n, 1024, 3)`` float32 from -1 to 1: sequential CIFAR."""
        parts = (Split(_as_steps(part.inputs), part.targets) for part in (self.train, self.test))
        train, test = parts
        return train, test


def load_cifar(
    path: str | os.PathLike[str], name: Literal["cifar10", "cifar100"] = "cifar10", *, limit: int | None = None
) -> ColourImages:
    """CIFAR-10 or CIFAR-100, whose 100 fine classes are taken; nothing is downloaded.

    Args:
        path: a folder with ``data_batch_1`` to ``data_batch_5`` and ``test_batch``, or with ``train`` and ``test`` for
            CIFAR-100; each with ``.bin`` in the binary form.
        name: "cifar10" or "cifar100".
        limit: at most so many images of each part.

    Raises:
        ValueError: another name, or a limit below 1.
        FileNotFoundError: a file is missing; the message names it and says where it comes from.
        FileFormatError: a file is cut off, or no batch.
    """
    if name not in ("cifar10", "cifar100") or (limit is not None and limit < 1):
        raise ValueError(f"load_cifar(name={name!r}, limit={limit}): 'cifar10' or 'cifar100', and a limit >= 1.")
    fine = name == "cifar100"
    stems = ["train"] if fine else [f"data_batch_{i}" for i in range(1, 6)]
    last = "test" if fine else "test_batch"
    folder = Path(path)
    suffix = "" if (folder / last).is_file() else ".bin"
    batches = []
    for stem in [*stems, last]:
        file = folder / f"{stem}{suffix}"
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: load_cifar reads {name} as {_WHERE} distributes it.")
        batches.append(read_batch(file, fine=fine))
    X, y = (np.concatenate([batch[i] for batch in batches[:-1]])[:limit] for i in (0, 1))
    test = batches[-1]
    train = Split(_as_images(X), y)
    return ColourImages(train, Split(_as_images(test[0][:limit]), test[1][:limit]), 100 if fine else 10)


def _as_images(planes: Array) -> Array:
    return np.ascontiguousarray(planes.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


def _as_steps(images: Array) -> Array:
    steps: Array = images.reshape(len(images), -1, 3).astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    return steps
