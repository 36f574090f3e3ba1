"""Files that are whole or not there: the folder of a fit, and a table of predictions."""

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mercer.errors import TableError
from mercer.store import replacing, write_atomic
from mercer.tables.metrics import metrics_of
from mercer.tables.model import TableModel
from mercer.tables.report import render_report
from mercer.tables.results import Findings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["require_folder", "require_predictions_file", "write_folder", "write_predictions"]

_METRICS = "metrics.json"
_FORMATS = (".csv", ".parquet")


def require_folder(folder: Path) -> None:
    """Raise unless ``folder`` can be written: before minutes are spent on what goes into it.

    A folder that is empty, or that an earlier fit has made, is replaced.

    Raises:
        TableError: it holds other things, is a file, or nothing can be made beside it.
    """
    if folder.is_file():
        raise TableError(f"--out {folder} is a file; give a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder):
        raise TableError(
            f"--out {folder} holds things that `mercer fit` did not make. Give another folder, or empty it."
        )
    parent = folder.resolve().parent
    existing = next(path for path in (parent, *parent.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise TableError(f"--out {folder} cannot be made: {existing} cannot be written to.")


def write_folder(folder: Path, model: TableModel, findings: Findings, *, source: tuple[str, ...] = ()) -> Path:
    """Write the model, `metrics.json` and `report.html`; the folder appears whole or not at all.

    Returns:
        the path of the report.

    Raises:
        TableError: see :func:`require_folder`.
        OSError: the disk is full, or the like.
    """
    require_folder(folder)
    final = folder.resolve()
    final.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    temporary, old = (final.with_name(f".{final.name}.{mark}.{kind}") for kind in ("tmp", "old"))
    try:
        temporary.mkdir()
        model.save(temporary)
        write_atomic(temporary / _METRICS, json.dumps(metrics_of(findings), indent=1, ensure_ascii=False) + "\n")
        write_atomic(temporary / "report.html", render_report(findings, folder=str(folder), source=source))
        if final.exists():
            final.rename(old)
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not final.exists():
            old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return folder / "report.html"


def require_predictions_file(path: Path) -> None:
    """Raise unless predictions can be written there.

    Raises:
        TableError: the name ends in no format we write, or the folder is not there or not writable.
    """
    if path.suffix.lower() not in _FORMATS:
        raise TableError(f"--out {path} ends in {path.suffix or 'nothing'!r}, but must end in {' or '.join(_FORMATS)}.")
    parent = path.resolve().parent
    if not parent.is_dir():
        raise TableError(f"--out {path}: there is no folder {parent}.")
    if path.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise TableError(f"--out {path} cannot be written.")


def write_predictions(frame: "pd.DataFrame", path: Path) -> None:
    """Write predictions as CSV or Parquet, by the file's name, whole or not at all."""
    require_predictions_file(path)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(temporary, index=False)


def _is_ours(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / _METRICS).read_text(encoding="utf-8"))["kind"] == "mercer fit")
    except (OSError, ValueError, KeyError, TypeError):
        return False
