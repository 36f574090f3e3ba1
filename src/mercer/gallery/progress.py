"""How far a run is, put together from its events."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mercer.gallery.front import SLUGS
from mercer.gallery.runs import FINAL, RunRecord
from mercer.gallery.shelf import Item
from mercer.papers.claim import Verdict
from mercer.papers.report import MARKS

__all__ = ["Progress", "Step", "outcome_words", "progress_of", "words_of"]

_LONGEST_LOG = 20_000  # characters, from the end


@dataclass
class Step:
    """One claim in a run: ``state`` is waiting, running, done or failed."""

    claim: str
    seeds: int = 1
    done: int = 0
    state: str = "waiting"
    mark: str = ""
    slug: str = ""
    text: str = ""


@dataclass
class Progress:
    """A run, with a step for every claim, what was printed, and the number of its last event."""

    run: RunRecord
    steps: dict[str, Step]
    log: str = ""
    last: int = 0
    words: str = field(default="")


def progress_of(run: RunRecord, item: Item | None, events: Iterable[tuple[int, dict[str, Any]]]) -> Progress:
    """What the events of a run come to.

    Args:
        run: whose events they are.
        item: the paper, whose claims are the steps.
        events: of :meth:`mercer.gallery.runs.Runs.events`.
    """
    progress = Progress(run, {claim.id: Step(claim.id) for claim in (item.claims if item is not None else [])})
    printed = []
    for id, event in events:
        progress.last = id
        kind, claim = event["event"], event.get("claim")
        step = progress.steps.setdefault(claim, Step(claim)) if claim is not None else None
        if kind == "printed":
            printed.append(event["text"])
        elif kind == "interrupted":
            printed.append("The server was started again; what was measured stands.\n")
            for waiting in progress.steps.values():
                waiting.state = "waiting" if waiting.state == "running" else waiting.state
        elif step is not None and kind == "begin":
            step.state, step.seeds, step.done = "running", event["seeds"], 0
        elif step is not None and kind == "seed":
            step.done = event["done"]
        elif step is not None and kind == "outcome":
            _finish(step, event)
    if run.state in FINAL:
        for step in progress.steps.values():
            step.state = "waiting" if step.state == "running" else step.state
    progress.log = "".join(printed)[-_LONGEST_LOG:]
    progress.words = words_of(run)
    return progress


def words_of(run: RunRecord) -> str:
    """The state of a run in a few words."""
    return {
        "waiting": "Waiting for its turn",
        "running": "Measuring",
        "done": "Done",
        "failed": f"Failed: {run.reason}",
        "cancelled": "Cancelled; what was measured stands",
    }[run.state]


def outcome_words(event: dict[str, Any]) -> str:
    """What came out of a claim, in a line."""
    if event["failed"]:
        return f"failed: {event['reason']}"
    verdict = str(event["verdict"])
    if event["before"]:
        return f"{verdict}, was {event['before']!r}"
    if event["reason"]:
        return f"{verdict}: {event['reason']}"
    return verdict if event["is_new"] else f"{verdict}; unchanged code, not measured again"


def _finish(step: Step, event: dict[str, Any]) -> None:
    verdict = Verdict(event["verdict"])
    step.state = "failed" if event["failed"] else "done"
    step.done = step.seeds
    step.mark, step.slug = ("!", "crashed") if event["failed"] else (MARKS[verdict], SLUGS[verdict])
    step.text = outcome_words(event)
