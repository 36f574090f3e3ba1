"""Works off the runs that were asked for, one at a time, each in a process of its own."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import mercer
from mercer.gallery.runs import FINAL, RunRecord, Runs
from mercer.gallery.shelf import Shelf
from mercer.gallery.store import StoreError

__all__ = ["Queue"]

_SECONDS_TO_END = 10.0
_LONGEST_LINE = 2**22  # of an event; asyncio's own limit of 64 kB is what one event may print


class Queue:
    """Takes runs from the store and lives as long as the server does.

    Args:
        runs: what was asked for.
        shelf: gives the papers' files and the folder of the results.
        command: the program that is started with the job as its last argument.
    """

    def __init__(self, runs: Runs, shelf: Shelf, *, command: Sequence[str] | None = None) -> None:
        self._runs, self._shelf = runs, shelf
        self._command = command or (sys.executable, "-m", "mercer.gallery.work")
        self._changed = asyncio.Condition()
        self.is_closing = False
        self._current: tuple[int, Process] | None = None
        self._cancelled: set[int] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take up what an earlier server left, and begin."""
        self._changed, self.is_closing = asyncio.Condition(), False
        self._runs.wait_again()
        self._task = asyncio.create_task(self._work())

    async def hang_up(self) -> None:
        """Tell those who watch runs that the server ends, so that they do not keep it waiting."""
        self.is_closing = True
        await self.tell_all()

    async def close(self) -> None:
        """End; a run that is under way stays so in the store, and the next server goes on with it."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def ask(self, paper: str) -> RunRecord:
        """Put a paper into the queue, unless it is there.

        Raises:
            QueueFullError: too many wait.
            StoreError: it cannot be written.
        """
        run = self._runs.ask(paper)
        await self.tell_all()
        return run

    async def cancel(self, id: int) -> bool:
        """Cancel a run that waits or is under way; what it has measured stands. False if it has ended already."""
        run = self._runs.find(id)
        if run is None or run.state in FINAL:
            return False
        if self._current is not None and self._current[0] == id:
            self._cancelled.add(id)
            ending = asyncio.create_task(_end(self._current[1]))
            self._ending.add(ending)  # asyncio itself keeps no hold of a task
            ending.add_done_callback(self._ending.discard)
        else:
            self._runs.end(id, "cancelled")
        await self.tell_all()
        return True

    async def tell_all(self) -> None:
        """Wake those who wait for news."""
        async with self._changed:
            self._changed.notify_all()

    async def wait(self, seconds: float) -> None:
        """Until something has happened in some run, or the seconds are over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait()

    async def _work(self) -> None:
        while True:
            try:
                run = self._runs.start()
            except StoreError:  # a full disk: what waits goes on waiting
                run = None
            if run is None:
                await self.wait(5.0)
                continue
            try:
                state, reason = await self._measure(run)
            except Exception as error:  # whatever becomes of one run, the next has its turn
                first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                state, reason = "failed", f"The gallery lost it: {type(first).__name__}: {first}".split("\n")[0]
            await self._finish(run, state, reason)

    async def _finish(self, run: RunRecord, state: str, reason: str) -> None:
        self._cancelled.discard(run.id)
        while True:
            try:
                self._runs.end(run.id, state, reason)
                break
            except StoreError:  # what was measured stands in its own files; the state follows once there is room
                await asyncio.sleep(5.0)
        self._shelf.refresh(at_once=True)
        await self.tell_all()

    async def _measure(self, run: RunRecord) -> tuple[str, str]:
        """The final state of a run and the reason for it."""
        item = self._shelf.find(run.paper)
        if item is None or item.paper is None:
            return "failed", f"There is no module of {run.paper} here any more."
        job = json.dumps({"paper": str(item.paper.file), "folder": str(self._shelf.folder.resolve())})
        environment = dict(os.environ)
        paths = [str(Path(mercer.__file__).parent.parent), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                job,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                limit=_LONGEST_LINE,
                start_new_session=True,  # Ctrl-C reaches the server alone, which ends this one by its standard input
            )
        except OSError as error:
            return "failed", f"Its process cannot be started: {error.strerror or error}."
        self._current = run.id, process
        try:
            async with asyncio.TaskGroup() as readers:
                last = readers.create_task(self._listen(run.id, process))
                readers.create_task(self._overhear(run.id, process))
            code = await process.wait()
        finally:
            self._current = None
            await _end(process)
        return self._outcome(run.id, last.result(), code)

    def _outcome(self, id: int, last: dict[str, Any], code: int) -> tuple[str, str]:
        if last.get("event") == "finished":
            n = last["n_failed"]
            return ("failed", f"{n} claim{'s' * (n != 1)} crashed or hung.") if n else ("done", "")
        if id in self._cancelled:
            return "cancelled", ""
        if last.get("event") == "error":
            return "failed", str(last["reason"])
        return "failed", f"Its process died ({f'signal {-code}' if code < 0 else f'exit code {code}'})."

    async def _listen(self, id: int, process: Process) -> dict[str, Any]:
        """Pass events on, and give the last one."""
        assert process.stdout is not None
        last: dict[str, Any] = {}
        while line := await process.stdout.readline():
            try:
                event = json.loads(line)
            except ValueError:  # a library that prints while it is imported
                continue
            last = event
            if event["event"] == "outcome" and event["is_new"]:
                self._shelf.refresh(at_once=True)
            if event["event"] not in ("finished", "error"):
                await self._tell(id, event)
        return last

    async def _overhear(self, id: int, process: Process) -> None:
        """What the run itself prints, such as the traceback of a crash."""
        assert process.stderr is not None
        while data := await process.stderr.read(2**16):
            if id not in self._cancelled:  # a cancelled one ends with the traceback of an interruption
                await self._tell(id, {"event": "printed", "claim": None, "text": data.decode(errors="replace")})

    async def _tell(self, id: int, event: dict[str, Any]) -> None:
        with suppress(StoreError):  # a full disk: the run goes on without being watched
            self._runs.tell(id, event)
        await self.tell_all()


def _hang_up(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()


async def _end(process: Process) -> None:
    """Make sure that it has ended: first by its standard input, then by force."""
    _hang_up(process)
    try:
        async with asyncio.timeout(_SECONDS_TO_END):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
