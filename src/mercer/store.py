"""Files that are whole or not there: atomic writes, a resumable list of results, and saved models.

Whatever interrupts a write (an exception, a full disk, ``kill -9``, a power cut), a reader finds the old file or the
new one. Nothing here unpickles: a saved model is one safetensors file, and reading it cannot run code.
"""

import hashlib
import json
import os
import re
import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from torch import Tensor

from mercer.errors import FileFormatError

__all__ = ["ResultStore", "load_state", "replacing", "save_state", "write_atomic"]

_NO_DIGEST = b"0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path``: what is written there becomes ``path`` when the block ends without exception.

    For writers that want a file name of their own (``frame.to_parquet``, ``figure.savefig``); it keeps the suffix. The
    folder is created. Only ``kill -9`` or a crash of the machine leaves the temporary file (``.NAME.*.tmp*``) behind.

    >>> with replacing("runs/scores.csv") as temporary:  # doctest: +SKIP
    ...     frame.to_csv(temporary)
    """
    final = Path(path).resolve()  # so that a symbolic link stays a link, to the new contents
    if final.exists() and not final.is_file() and not final.is_dir():
        yield final  # a pipe or a terminal, such as /dev/stdout, can only be written to
        return
    if final.is_dir():
        raise IsADirectoryError(f"{final} is a folder; give the name of a file.")
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.stem}.{secrets.token_hex(4)}.tmp{final.suffix}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, final)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _flush_to_disk(final.parent)


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write a whole file (text as UTF-8), so that a reader sees the old contents or the new ones and never a part."""
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


class ResultStore:
    """A list of results in a file, one JSON object a line, that survives being interrupted.

    A record is there whole or not at all: an unfinished last line is left out with a warning, and removed by the next
    :meth:`append`. Several processes may append to the same file (not on Windows, which lacks the lock).

    Args:
        path: the file; it is made by the first :meth:`append`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record; when this returns, it is on the disk."""
        line = json.dumps(dict(record), ensure_ascii=False).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+", buffering=0) as file:
            _lock(file.fileno())
            end = _end_of_last_line(file)
            try:
                file.truncate(end)
                if file.write(line) != len(line):
                    raise OSError(f"{self.path}: the disk took only part of a record; is it full?")
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(end)
                raise
        _flush_to_disk(self.path.parent)

    def records(self) -> list[dict[str, Any]]:
        """All records, oldest first; none if the file is not there.

        Raises:
            FileFormatError: a line before the last is no JSON object.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line) if line else None
            except ValueError:
                record = line
            if isinstance(record, dict) and number < len(lines):
                records.append(record)
            elif line and number == len(lines):
                warnings.warn(f"{self.path}: the last line was not finished and is left out.", stacklevel=2)
            elif line:
                raise FileFormatError(f"{self.path}, line {number} is not a record: {line[:60]!r}. Remove that line.")
        return records

    def find(self, **fields: Any) -> dict[str, Any] | None:
        """The newest record that has all these values, or None: what a resumed run asks before it measures."""
        matching = (r for r in reversed(self.records()) if all(k in r and r[k] == v for k, v in fields.items()))
        return next(matching, None)


def save_state(path: str | os.PathLike[str], *, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Save tensors and JSON in one safetensors file, atomically, with a checksum over every byte of it.

    Args:
        path: the file to write.
        tensors: by name; copied to the CPU, gradients left behind.
        meta: what JSON can hold, with ``"kind"`` (what this is, such as ``"KernelRidge"``) and ``"version"`` (an int,
            raised whenever an older reader would misread the file).

    Raises:
        ValueError: ``meta`` lacks ``kind`` or ``version``.
    """
    from safetensors.torch import save

    if not isinstance(meta.get("kind"), str) or not isinstance(meta.get("version"), int):
        raise ValueError(f"meta needs 'kind' (text) and 'version' (an int), but has {sorted(meta)}.")
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    text = json.dumps(dict(meta), ensure_ascii=False)
    data = save(copies, metadata={"mercer": text, "sha256": _NO_DIGEST.decode()})
    place = _DIGEST.search(_header(data))
    assert place is not None, "safetensors no longer writes its metadata as compact JSON"
    digest = hashlib.sha256(data).hexdigest().encode()
    start = 8 + place.start(1)
    write_atomic(path, data[:start] + digest + data[start + 64 :])


def load_state(path: str | os.PathLike[str], *, kind: str, version: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON that :func:`save_state` wrote.

    Args:
        path: the file to read.
        kind: what it must be.
        version: the newest version that the caller can read.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it is no file of ours, is cut off or damaged in any bit, is of another kind, or is newer.
    """
    from safetensors.torch import load

    data = Path(path).read_bytes()
    place = _DIGEST.search(_header(data))
    if place is None:
        raise FileFormatError(f"{path} is not a file saved by mercer, or its beginning is damaged.")
    start = 8 + place.start(1)
    if hashlib.sha256(data[:start] + _NO_DIGEST + data[start + 64 :]).hexdigest().encode() != place[1]:
        raise FileFormatError(f"{path} is cut off or damaged: its checksum does not match. Restore it from a copy.")
    meta = json.loads(json.loads(_header(data))["__metadata__"]["mercer"])
    if meta["kind"] != kind:
        raise FileFormatError(f"{path} holds a {meta['kind']}, not a {kind}. Load it with {meta['kind']}.load.")
    if meta["version"] > version:
        raise FileFormatError(
            f"{path} is written in version {meta['version']} of its format, and this mercer reads up to {version}. "
            f"Update mercer."
        )
    return load(data), meta


def _header(data: bytes) -> bytes:
    """The JSON at the beginning of a safetensors file: 8 bytes of length, then that many of text."""
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def _flush_to_disk(path: Path) -> None:
    """fsync a file, or the entries of a folder (where the system has that)."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Wait until no other process appends; the lock ends when the file is closed."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def _end_of_last_line(file: FileIO) -> int:
    """Where the last finished line ends, in bytes: behind it stands only what an interrupted append left."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = file.seek(max(0, end - 4096))
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
