"""What several claims of a paper need, such as a trained network: made by the first, in a file for the others."""

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from mercer import config, store
from mercer.errors import FileFormatError
from mercer.papers.fingerprint import fingerprint

__all__ = ["shelf_of", "taken_from"]

_KIND, _VERSION = "shared by claims", 1
_SECONDS_KEPT = 7 * 86_400.0  # what older code has left


def shelf_of(paper: Path, configuration: Mapping[str, Any]) -> Path:
    """Where the claims of a paper find what the same code has made, on the same device, from the same data.

    Args:
        paper: file of its module.
        configuration: as of a task; a broken method has a shelf of its own, and seeds are told by names.
    """
    same = {name: value for name, value in configuration.items() if name != "seeds"}
    return config.data_dir() / "shared" / paper.stem / fingerprint(paper, claim="", configuration=same)


def taken_from(shelf: Path, name: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of that name, made and put there if they are not there; a damaged file is made again."""
    path = shelf / f"{name}.safetensors"
    if path.exists():
        with suppress(FileFormatError):
            return store.load_state(path, kind=_KIND, version=_VERSION)[0]
    made = dict(make())
    with suppress(OSError):  # a full disk costs time and no result
        store.save_state(path, tensors=made, meta={"kind": _KIND, "version": _VERSION})
        for other in shelf.parent.iterdir():
            if other != shelf and time.time() - other.stat().st_mtime > _SECONDS_KEPT:
                shutil.rmtree(other, ignore_errors=True)
    return made
