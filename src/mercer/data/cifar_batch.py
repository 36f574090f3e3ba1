"""One file of CIFAR-10 or CIFAR-100, binary or Python's."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from mercer.errors import FileFormatError

__all__ = ["read_batch"]

Array = np.ndarray[Any, Any]
_PIXELS = 3 * 32 * 32


def read_batch(path: Path, *, fine: bool = False) -> tuple[Array, Array]:
    """Colour planes ``(n, 3072)`` uint8 and classes ``(n,)`` of one file; ``fine`` for CIFAR-100.

    Raises:
        FileFormatError: it is cut off, or no batch.
    """
    return _read_binary(path, 2 if fine else 1) if path.suffix == ".bin" else _read_pickle(path, fine)


def _read_binary(path: Path, labels: int) -> tuple[Array, Array]:
    """A label, or a coarse and a fine one, then 1024 bytes each of red, green and blue, an image."""
    data = np.fromfile(path, dtype=np.uint8)
    size = _PIXELS + labels
    if not len(data) or len(data) % size:
        raise FileFormatError(f"{path} has {len(data)} bytes, which are no images of {size}: it is cut off.")
    rows = data.reshape(-1, size)
    return rows[:, labels:], rows[:, labels - 1].astype(np.int64)


def _read_pickle(path: Path, fine: bool) -> tuple[Array, Array]:
    """The Python form: a pickle, of which nothing but arrays, numbers and text is accepted."""
    with open(path, "rb") as file:
        try:
            found = _ArraysOnly(file, encoding="bytes").load()
            labels = np.asarray(found[b"fine_labels" if fine else b"labels"], dtype=np.int64)
            data = np.asarray(found[b"data"])
        except (pickle.UnpicklingError, KeyError, TypeError, EOFError, AttributeError) as error:
            raise FileFormatError(f"{path} is no batch of CIFAR-{100 if fine else 10}: {error}") from None
    if data.ndim != 2 or data.shape[1] != _PIXELS or data.dtype != np.uint8 or len(labels) != len(data):
        raise FileFormatError(
            f"{path} is no batch of CIFAR-{100 if fine else 10}: its data are {data.dtype} {data.shape}."
        )
    return data, labels


class _ArraysOnly(pickle.Unpickler):
    """Builds arrays, and refuses every other object: reading runs no code of the file."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            from numpy._core.multiarray import _reconstruct

            return _reconstruct
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            import _codecs

            return _codecs.encode
        raise pickle.UnpicklingError(f"it wants to load {module}.{name}")
