"""The runner's end of a worker process: starts it, hears its events, and makes sure that it ends."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import mercer

__all__ = ["Child", "Event"]

Event = dict[str, Any]


class Child:
    """A worker on one claim.

    Args:
        job: what :func:`mercer.papers.worker.work` takes.
        events: every event is put here as ``(child, event)``; the last one is always ``end``, also when the process
            dies, with ``state`` ``"died"`` then.
        log: what the claim prints, warnings and tracebacks included.
        threads: for the numerical libraries; None leaves it to them.
    """

    def __init__(
        self, job: Mapping[str, Any], events: "queue.Queue[tuple[Child, Event]]", *, log: IO[bytes], threads: int | None
    ) -> None:
        self.job = job
        self.started = time.monotonic()
        self.is_measuring = False
        environment = dict(os.environ)
        # The worker uses the mercer that is running, installed or not.
        paths = [str(Path(mercer.__file__).parent.parent), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        if threads is not None:
            environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mercer.papers.worker", json.dumps(dict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the runner, which ends the whole group; a worker writes in peace
        )
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    @property
    def seconds(self) -> float:
        """Since the claim itself began, or since the process did as long as it is still importing."""
        return time.monotonic() - self.started

    def end(self) -> None:
        """End the process and all that it has started, at once. Results are whole in any case."""
        if self._process.returncode is None and hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _listen(self, events: "queue.Queue[tuple[Child, Event]]") -> None:
        assert self._process.stdout is not None
        has_ended = False
        with self._process.stdout as lines:
            for line in lines:
                try:
                    event: Event = json.loads(line)
                except ValueError:  # a library that prints while it is imported
                    continue
                if event["event"] == "started":
                    self.started, self.is_measuring = time.monotonic(), True
                has_ended = has_ended or event["event"] == "end"
                events.put((self, event))
        if not has_ended:
            code = self._process.wait()
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            events.put((self, {"event": "end", "state": "died", "reason": f"its process died ({how})"}))
