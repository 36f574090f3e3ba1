"""Measures claims: each in its own process with a time limit, only what has changed, resumable at any moment."""

import codecs
import os
import queue
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, Self

from mercer import config
from mercer.errors import FileFormatError, MercerError
from mercer.papers.child import Child, Event
from mercer.papers.claim import Verdict
from mercer.papers.results import NewerResultError, Result, read, write
from mercer.papers.tasks import Outcome, Task
from mercer.store import write_atomic

__all__ = ["Display", "ResultsError", "run_claims"]

_SECONDS_TO_IMPORT = 300.0  # torch alone takes 2 s, on a loaded machine with a cold disk a minute
_SECONDS_BETWEEN_LOOKS = 0.2
_MOST_NEWS = 2**16  # bytes that are passed on at a time


class ResultsError(MercerError, OSError):
    """Results cannot be written: the disk is full, or the folder is not ours."""


class Display(Protocol):
    """Shows how far a run is."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def line(self, text: str) -> None:
        """One line that stays."""

    def begin(self, task: Task) -> None:
        """A worker was started."""

    def seed(self, task: Task, done: int) -> None:
        """A seed is done."""

    def printed(self, task: Task, text: str) -> None:
        """What a claim has printed since the last time; nothing where the system cannot read a file from the middle."""

    def end(self, outcome: Outcome) -> None:
        """A task is done, in whatever way."""


def run_claims(tasks: Sequence[Task], *, display: Display, jobs: int = 1) -> list[Outcome]:
    """Measure what has changed, and give an outcome for every task, in their order.

    Interrupted at any moment, all that was measured stands, and the next call goes on from there.

    Args:
        tasks: from :func:`mercer.papers.tasks.tasks_of`.
        display: shows how far it is.
        jobs: how many claims are measured at once. Claims about speed come last and run alone.

    Raises:
        ResultsError: results cannot be written. What is on the disk stays.
        KeyboardInterrupt: Ctrl-C; the workers are ended first.
    """
    outcomes = {task.name: _known(task, display) for task in tasks}
    waiting = {task.name: task for task in tasks if outcomes[task.name] is None}
    if waiting:
        _check_folder(tasks[0].folder)
    with display:
        for outcome in outcomes.values():
            if outcome is not None:
                display.end(outcome)
        for is_alone in (False, True):
            some = [task for task in waiting.values() if (task.claim.kind == "speed") is is_alone]
            for outcome in _Pool(some, display, jobs=1 if is_alone else jobs).run():
                outcomes[outcome.task.name] = outcome
    return [outcome for outcome in outcomes.values() if outcome is not None]


@dataclass
class _Running:
    task: Task
    log: IO[bytes]
    before: Verdict | None
    n_heard: int = 0
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def news(self) -> str:
        """What was printed since the last call."""
        if not hasattr(os, "pread"):  # Windows: reading there would move the place where the worker writes
            return ""
        data = os.pread(self.log.fileno(), _MOST_NEWS, self.n_heard)
        self.n_heard += len(data)
        return self.decoder.decode(data)


@dataclass
class _Pool:
    """Up to ``jobs`` workers at a time, from the front of ``waiting``."""

    waiting: list[Task]
    display: Display
    jobs: int
    running: dict[Child, _Running] = field(default_factory=dict)
    events: "queue.Queue[tuple[Child, Event]]" = field(default_factory=queue.Queue)

    def run(self) -> list[Outcome]:
        """All outcomes, in the order in which they came."""
        outcomes = []
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < self.jobs:
                    self._start(self.waiting.pop(0))
                outcomes += [outcome for outcome in (self._next(), *self._overdue()) if outcome is not None]
        finally:
            for child, running in self.running.items():
                child.end()
                running.log.close()
        return outcomes

    def _start(self, task: Task) -> None:
        job = {
            "paper": str(task.paper.file),
            "claim": task.claim.id,
            "configuration": task.configuration,
            "fingerprint": task.fingerprint,
            "folder": str(task.folder),
        }
        log = tempfile.TemporaryFile()  # noqa: SIM115  closed in _finish, or when the run is interrupted
        threads = max(1, (os.cpu_count() or 1) // self.jobs) if self.jobs > 1 else None
        running = _Running(task, log, _verdict_before(task))
        self.running[Child(job, self.events, log=log, threads=threads)] = running
        self.display.begin(task)

    def _next(self) -> Outcome | None:
        """Wait a moment for an event; an outcome if it was a task's last."""
        try:
            child, event = self.events.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except queue.Empty:
            return None
        finally:
            for running in self.running.values():
                self._pass_on(running)
        if child not in self.running:  # it hung, and was ended
            return None
        if event["event"] == "seed":
            self.display.seed(self.running[child].task, event["done"])
        return self._finish(child, event["state"], event["reason"]) if event["event"] == "end" else None

    def _overdue(self) -> list[Outcome]:
        """The outcomes of workers that have taken too long, which end here."""
        outcomes = []
        for child, running in list(self.running.items()):
            limit = running.task.limit if child.is_measuring else _SECONDS_TO_IMPORT
            if child.seconds > limit:
                reason = f"it hung and was stopped after {limit:g} s; --limit {2 * limit:g} gives it longer"
                outcomes.append(self._finish(child, "hung", reason))
        return outcomes

    def _pass_on(self, running: _Running) -> None:
        text = running.news()
        if text:
            self.display.printed(running.task, text)

    def _finish(self, child: Child, state: str, reason: str) -> Outcome:
        running = self.running.pop(child)
        child.end()
        self._pass_on(running)
        task, result = running.task, None
        with running.log as log:
            if state == "unwritten":
                raise ResultsError(f"The result of {task.name} cannot be written: {reason}. The others stand.")
            if state == "measured":
                result = read(task.path)
            else:
                _write_reason(task, reason, failed=state != "left out")
                if state != "left out":
                    reason = f"{reason}. What it printed: {_keep_log(task, log)}"
        failed = result is None and state != "left out"
        before = running.before if result is not None and running.before != result.verdict else None
        outcome = Outcome(task, result, reason=reason, failed=failed, is_new=True, before=before)
        self.display.end(outcome)
        return outcome


def _known(task: Task, display: Display) -> Outcome | None:
    """The outcome that needs no measuring: left out on purpose, or on the disk already."""
    effort = task.claim.effort(task.configuration["mode"])
    if isinstance(effort, str):
        return Outcome(task, reason=effort)
    try:
        result = read(task.path)
    except NewerResultError as error:
        return Outcome(task, reason=str(error), failed=True)
    except FileFormatError as error:
        display.line(f"{error} {task.name} is measured again.")
        return None
    is_current = result is not None and result.measurement is not None and result.fingerprint == task.fingerprint
    return Outcome(task, result) if is_current else None


def _verdict_before(task: Task) -> Verdict | None:
    """Of a result that an earlier state of the code gave."""
    with suppress(FileFormatError):
        result = read(task.path)
        return result.verdict if result is not None and result.measurement is not None else None
    return None


def _write_reason(task: Task, reason: str, *, failed: bool) -> None:
    """Keep why a claim was not measured, for its page; an older measurement stays."""
    result = Result.of(
        task.paper.entry.key, task.claim, task.configuration, task.fingerprint, reason=reason, failed=failed
    )
    with suppress(OSError, FileFormatError):
        write(task.folder, result)


def _check_folder(folder: Path) -> None:
    """Find out that nothing can be written before anything is measured."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        write_atomic(probe, "mercer\n")
        probe.unlink()
    except OSError as error:
        raise ResultsError(
            f"Results cannot be written to {folder}: {error.strerror}. Choose another folder with --results."
        ) from None


def _keep_log(task: Task, log: IO[bytes]) -> Path | str:
    """Save what a failed claim printed, and say where."""
    log.seek(0)
    path = config.data_dir() / "logs" / task.paper.entry.key / f"{task.claim.id}-{task.configuration['mode']}.log"
    with suppress(OSError):
        write_atomic(path, log.read())
        return path
    return "lost, since the log cannot be written either"
