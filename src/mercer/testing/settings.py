"""Sizes of tiles and numbers of threads, changed for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch

from mercer.operators.tiles import passes


@contextmanager
def tile_shape(rows: int, columns: int) -> Iterator[None]:
    """Tiles of ``rows`` x ``columns`` (``columns >= rows``), in every thread of the process."""
    with mock.patch.object(passes, "tile_shape", return_value=(rows, columns)):
        yield


@contextmanager
def threads(count: int) -> Iterator[None]:
    """``count`` workers for every product, however small."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with mock.patch.object(passes, "SMALL", 0):
            yield
    finally:
        torch.set_num_threads(before)
