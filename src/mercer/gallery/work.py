"""The process of one run: ``python -m mercer.gallery.work JOB``, started by the queue.

It calls what ``mercer run`` calls, and tells as JSON lines on standard output how far it is. When standard input ends,
because the run was cancelled or the server is gone, it stops as after Ctrl-C: what was measured stands.
"""

import _thread
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from mercer.errors import MercerError
from mercer.papers.registry import load_file
from mercer.papers.runner import run_claims
from mercer.papers.tasks import Outcome, Task, tasks_of

__all__ = ["Teller", "main", "work"]

_SECONDS_TO_END = 15.0
Say = Callable[..., None]


class Teller:
    """A display that says everything as events.

    Args:
        say: called with the event's name and its details.
    """

    def __init__(self, say: Say) -> None:
        self._say = say

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def line(self, text: str) -> None:
        """One line that stays."""
        self._say("printed", claim=None, text=f"{text}\n")

    def begin(self, task: Task) -> None:
        """A claim is being measured."""
        self._say("begin", claim=task.claim.id, seeds=task.configuration["seeds"])

    def seed(self, task: Task, done: int) -> None:
        """A seed is done."""
        self._say("seed", claim=task.claim.id, done=done)

    def printed(self, task: Task, text: str) -> None:
        """A claim has printed something."""
        self._say("printed", claim=task.claim.id, text=text)

    def end(self, outcome: Outcome) -> None:
        """What came out of a claim."""
        measurement = outcome.result.measurement if outcome.result is not None else None
        self._say(
            "outcome",
            claim=outcome.task.claim.id,
            verdict=str(outcome.verdict),
            before=str(outcome.before) if outcome.before is not None else None,
            reason=outcome.reason,
            failed=outcome.failed,
            is_new=outcome.is_new,
            seconds=measurement.seconds if measurement is not None else None,
        )


def work(job: Mapping[str, Any], say: Say) -> None:
    """Measure the quick claims of a paper; the last event is ``finished``, or ``error`` with a reason in one line.

    Args:
        job: ``paper``, the file of its module, and ``folder``, of the results.
        say: takes events.
    """
    try:
        tasks = tasks_of([load_file(Path(job["paper"]))], folder=Path(job["folder"]))
        outcomes = run_claims(tasks, display=Teller(say))
    except (MercerError, OSError) as error:
        say("error", reason=" ".join(str(error).split()))
    else:
        say("finished", n_failed=sum(outcome.failed for outcome in outcomes))


def main() -> None:
    """Read the job, watch the server, keep standard output for events."""
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(event: str, **details: Any) -> None:
        events.write(json.dumps({"event": event, **details}) + "\n")
        events.flush()

    try:
        work(json.loads(sys.argv[1]), say)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.close()
        os._exit(130)


def _end_with_the_server() -> None:
    while os.read(0, 1024):
        pass
    _thread.interrupt_main()
    time.sleep(_SECONDS_TO_END)  # longer than the workers need, which are ended one by one
    os._exit(1)


if __name__ == "__main__":
    main()
