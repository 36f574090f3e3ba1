"""The process in which one claim is measured: ``python -m mercer.papers.worker JOB``, started by the runner.

The job comes as JSON in the argument. Events go to standard output as JSON lines, whatever the claim prints to standard
error. The result is written here, so that it stands even if the runner dies at that moment; and when the runner dies,
standard input ends, and this process with it.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from mercer.errors import MissingExtra
from mercer.papers.claim import NotMeasured
from mercer.papers.measuring import measure
from mercer.papers.registry import load_file
from mercer.papers.results import Result, write
from mercer.papers.shared import shelf_of

__all__ = ["main", "work"]

Say = Callable[..., None]


def work(job: Mapping[str, Any], say: Say) -> None:
    """Measure the claim of a job and write its result; ``say(event, **details)`` tells the runner what happens.

    The last event is ``end``, with ``state`` (``"measured"``, ``"left out"``, ``"failed"`` or ``"unwritten"``) and a
    ``reason`` in one line. Only what was measured is written.
    """
    paper = load_file(Path(job["paper"]))
    claim = paper.claims[job["claim"]]
    settings = job["configuration"]
    say("started")
    try:
        with paper.broken(settings.get("broken")):
            measurement = measure(
                claim,
                mode=settings["mode"],
                device=settings["device"],
                data=Path(settings["data"]) if settings["data"] else None,
                seeds=settings["seeds"],
                on_seed=lambda done: say("seed", done=done),
                shelf=lambda: shelf_of(Path(job["paper"]), settings),
            )
    except (NotMeasured, MissingExtra) as error:
        say("end", state="left out", reason=str(error))
        return
    except Exception as error:
        traceback.print_exc()
        say("end", state="failed", reason=f"{type(error).__name__}: {error}".split("\n")[0])
        return
    if "broken" in settings:
        measurement = replace(measurement, tables=(), figures=())  # of nothing that a reader wants to see
    result = Result.of(paper.entry.key, claim, settings, job["fingerprint"], measurement=measurement)
    try:
        write(Path(job["folder"]), result)
    except OSError as error:
        say("end", state="unwritten", reason=f"{error.filename or job['folder']}: {error.strerror or error}")
    else:
        say("end", state="measured", reason="")


def main() -> None:
    """Read the job, watch the runner, keep standard output for events."""
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # so that printing claims, and libraries in C, do no harm
    work(json.loads(sys.argv[1]), lambda event, **details: _send(events, {"event": event, **details}))


def _send(events: TextIO, record: dict[str, Any]) -> None:
    events.write(json.dumps(record) + "\n")
    events.flush()


def _end_with_the_runner() -> None:
    """Standard input ends when the runner is gone, however it went: then nobody waits for this process."""
    # Not through sys.stdin, whose lock a thread must not hold when the interpreter ends.
    while os.read(0, 1024):
        pass
    if hasattr(os, "killpg") and os.getpid() == os.getpgrp():
        os.killpg(os.getpid(), signal.SIGKILL)  # with what the claim has started
    os._exit(1)


if __name__ == "__main__":
    main()
