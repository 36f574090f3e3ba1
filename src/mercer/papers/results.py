"""Results on disk: one JSON file a claim, its figures beside it, each written whole or not at all.

``FOLDER/22-self-distillation/limit.json`` holds what was claimed, what was measured and the verdict, with a checksum
over all of it; ``limit.path-1a2b3c4d.svg`` is a figure, named after its contents, so that the old result keeps its own
figures until the new one stands. A file that cannot be read is put aside, never deleted.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mercer import config
from mercer.errors import FileFormatError
from mercer.papers.claim import Claim, Mode, Quantity, Verdict, verdict_of
from mercer.papers.measurement import Measurement
from mercer.store import write_atomic

__all__ = [
    "FORMAT",
    "NewerResultError",
    "OlderResultError",
    "Result",
    "path_of",
    "read",
    "read_folder",
    "results_folder",
    "write",
]

FORMAT = 1
_ROLES = ("measures", "controls", "rivals")


class NewerResultError(FileFormatError):
    """A result that a newer mercer wrote: it is neither read nor replaced."""


class OlderResultError(FileFormatError):
    """A result that an older mercer wrote: it is replaced once the claim has been measured again."""


@dataclass(frozen=True)
class Result:
    """What came out of one claim.

    Args:
        paper: ``22-self-distillation``.
        claim: its id.
        statement: what was claimed, with the bounds, as it stood then: readable without our code.
        configuration: mode, seeds, device, data.
        fingerprint: hash of code and configuration.
        measurement: None if it was not measured.
        reason: why not, or nothing.
        failed: whether it crashed or hung, and was not merely left out.
        date: when, in UTC.
    """

    paper: str
    claim: str
    statement: Mapping[str, Any]
    configuration: Mapping[str, Any]
    fingerprint: str
    measurement: Measurement | None
    reason: str
    failed: bool
    date: str

    @classmethod
    def of(
        cls,
        paper: str,
        claim: Claim,
        configuration: Mapping[str, Any],
        fingerprint: str,
        *,
        measurement: Measurement | None = None,
        reason: str = "",
        failed: bool = False,
    ) -> "Result":
        """The result of a claim as it is stated now."""
        quantities = {role: [_quantity(q) for q in getattr(claim, role)] for role in _ROLES}
        texts = {name: getattr(claim, name) for name in ("says", "reported", "where", "kind", "identity", "notes")}
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(paper, claim.id, texts | quantities, configuration, fingerprint, measurement, reason, failed, date)

    def is_about(self, claim: Claim) -> bool:
        """Whether the claim still measures the same quantities against the same bounds."""
        now = {role: [_quantity(q) for q in getattr(claim, role)] for role in _ROLES}
        return now == {role: self.statement.get(role) for role in _ROLES}

    @property
    def verdict(self) -> Verdict:
        """Follows from the numbers and the bounds; there is no other way to get one."""
        if self.measurement is None:
            return Verdict.NOT_MEASURED
        quantities = {role: [Quantity(**q) for q in self.statement[role]] for role in _ROLES}
        return verdict_of(quantities["measures"], quantities["controls"], self.measurement.values)


def results_folder(mode: Mode, *, device: str = "cpu", root: Path | None = None) -> Path:
    """Where results of a mode lie: ``ROOT/quick``, or ``ROOT/full-cuda`` for another device than the CPU.

    The default root is ``results`` in :func:`mercer.config.data_dir`.
    """
    kind = device.partition(":")[0]
    return (root or config.data_dir() / "results") / (mode if kind == "cpu" else f"{mode}-{kind}")


def path_of(folder: Path, paper: str, claim: str) -> Path:
    """The file of one claim."""
    return folder / paper / f"{claim}.json"


def write(folder: Path, result: Result) -> Path:
    """Write a result and its figures; at every moment the old one or the new one can be read whole.

    One that was not measured leaves a measured one in place, and an unreadable file is put aside as ``*.damaged``.

    Raises:
        NewerResultError: a newer mercer's result is there.
        OSError: the disk is full or the folder cannot be written to; the old result stands.
    """
    path = path_of(folder, result.paper, result.claim)
    try:
        old = read(path)
        is_worth_keeping = old is not None and old.measurement is not None
    except NewerResultError:
        raise
    except OlderResultError:
        is_worth_keeping = True
    except FileFormatError:
        os.replace(path, path.with_name(path.name + ".damaged"))
        is_worth_keeping = False
    if result.measurement is None and is_worth_keeping:
        return path
    figures = {}
    for figure in result.measurement.figures if result.measurement else ():
        digest = hashlib.sha256(figure.svg.encode()).hexdigest()
        name = f"{result.claim}.{figure.name}-{digest[:8]}.svg"
        figures[name] = digest
        if not (path.parent / name).is_file():
            write_atomic(path.parent / name, figure.svg)
    record: dict[str, Any] = {
        "format": FORMAT,
        "paper": result.paper,
        "claim": result.claim,
        "verdict": str(result.verdict),
        "reason": result.reason,
        "failed": result.failed,
        "date": result.date,
        "statement": dict(result.statement),
        "configuration": dict(result.configuration),
        "fingerprint": result.fingerprint,
        "measurement": result.measurement.as_dict() if result.measurement else None,
        "figures": figures,
    }
    record["sha256"] = _checksum(record)
    write_atomic(path, json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    for stale in path.parent.glob(f"{result.claim}.*.svg"):
        if stale.name not in figures:
            with suppress(OSError):
                stale.unlink()
    return path


def read(path: Path) -> Result | None:
    """The result in a file, or None if there is none.

    Raises:
        NewerResultError: a newer mercer wrote it.
        FileFormatError: an older one wrote it, or it is damaged or changed by hand; the message is one line.
    """
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_bytes())
    except ValueError:  # UnicodeDecodeError is one as well
        record = None
    if not isinstance(record, dict):
        raise FileFormatError(f"{path} is damaged: it is no JSON object.")
    written = record.get("format")
    if not isinstance(written, int) or written < FORMAT:
        raise OlderResultError(f"{path} comes from an older mercer (format {written}, now {FORMAT}).")
    if written > FORMAT:
        raise NewerResultError(
            f"{path} comes from a newer mercer (format {written}, here {FORMAT}). Update mercer, or choose another "
            f"folder with --results."
        )
    if record.get("sha256") != _checksum(record):
        raise FileFormatError(f"{path} is damaged or was changed by hand: its checksum does not match.")
    measured = None
    if record["measurement"] is not None:
        try:
            measured = Measurement.from_dict(record["measurement"], figures=list(_figures(path, record)))
        except FileFormatError as error:
            raise FileFormatError(f"{path}: {error}.") from None
    fields = ("paper", "claim", "statement", "configuration", "fingerprint", "reason", "failed", "date")
    result = Result(measurement=measured, **{name: record[name] for name in fields})
    if record["verdict"] != result.verdict:
        raise FileFormatError(f"{path} says {record['verdict']!r}, but its numbers say {str(result.verdict)!r}.")
    return result


def read_folder(folder: Path, paper: str, claims: Mapping[str, Claim]) -> tuple[dict[str, Result], list[str]]:
    """The results of a paper by claim, and a line for every file that cannot be read.

    A result that is for other bounds or quantities than the claim has by now says nothing about it, and is left out.
    """
    results, problems = {}, []
    for claim in claims.values():
        try:
            result = read(path_of(folder, paper, claim.id))
        except FileFormatError as error:
            problems.append(str(error))
            continue
        if result is not None and result.is_about(claim):
            results[claim.id] = result
    return results, problems


def _figures(path: Path, record: Mapping[str, Any]) -> Iterator[str]:
    for name, digest in record["figures"].items():
        figure = path.with_name(name)
        data = figure.read_bytes() if figure.is_file() else b""
        if hashlib.sha256(data).hexdigest() != digest:
            raise FileFormatError(f"its figure {name} is missing or damaged")
        yield data.decode()


def _quantity(quantity: Quantity) -> dict[str, Any]:
    return {name: getattr(quantity, name) for name in ("name", "text", "at_most", "at_least", "over_seeds")}


def _checksum(record: Mapping[str, Any]) -> str:
    """Of everything but the checksum itself, however the file is laid out."""
    body = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
