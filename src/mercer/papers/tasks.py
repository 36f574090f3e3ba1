"""What there is to measure and what became of it: one task a claim, one outcome a task."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mercer.papers.claim import Claim, Effort, Mode, Verdict
from mercer.papers.fingerprint import fingerprint
from mercer.papers.paper import Paper, Sabotage
from mercer.papers.results import Result, path_of

__all__ = ["Outcome", "Task", "tasks_of"]


@dataclass(frozen=True)
class Task:
    """One claim to be measured in one configuration.

    Args:
        paper: whose claim it is.
        claim: what is measured.
        folder: of the results, with the mode: ``results/quick``.
        configuration: ``mode``, ``seeds`` (how many), ``device`` and ``data`` (a path or None); ``broken``, the name of
            the sabotage, where the method is broken.
        limit: seconds after which it counts as hanging.
    """

    paper: Paper
    claim: Claim
    folder: Path
    configuration: dict[str, Any]
    limit: float

    @property
    def name(self) -> str:
        """``self-distillation/limit``, with ``, shuffled labels`` where the method is broken so."""
        way = f", {self.configuration['broken']}" if "broken" in self.configuration else ""
        return f"{self.paper.entry.slug}/{self.claim.id}{way}"

    @property
    def path(self) -> Path:
        """Where its result is."""
        return path_of(self.folder, self.paper.entry.key, self.claim.id)

    @property
    def fingerprint(self) -> str:
        """Hash of the code it reaches and of its configuration."""
        assert self.paper.file is not None, "papers are loaded by mercer.papers.registry"
        return fingerprint(self.paper.file, claim=self.claim.id, configuration=self.configuration)


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Args:
        task: which.
        result: what was measured, now or before; None if nothing was.
        reason: why it was not measured.
        failed: it crashed, died or hung.
        is_new: measured in this run.
        before: the verdict that stood on the disk before this run, if another one did.
    """

    task: Task
    result: Result | None = None
    reason: str = ""
    failed: bool = False
    is_new: bool = False
    before: Verdict | None = None

    @property
    def verdict(self) -> Verdict:
        """Of the result, or not measured."""
        return self.result.verdict if self.result is not None else Verdict.NOT_MEASURED


def tasks_of(
    papers: Iterable[Paper],
    *,
    folder: Path,
    mode: Mode = "quick",
    device: str = "cpu",
    data: Path | None = None,
    seeds: int | None = None,
    limit: float | None = None,
    broken: bool = False,
) -> list[Task]:
    """A task for every claim, or for every claim that a sabotage breaks; arguments as in ``mercer run``."""
    tasks = []
    for paper in papers:
        for claim, way in _broken_claims(paper) if broken else _claims(paper):
            effort = claim.effort(mode)
            effort = effort if isinstance(effort, Effort) else Effort()
            configuration = {
                "mode": mode,
                "seeds": seeds or (effort.seeds if way is None else 1),
                "device": device,
                "data": str(data.resolve()) if data else None,
            }
            place = folder
            if way is not None:
                configuration["broken"] = way.name
                place = folder / "broken" / re.sub("[^a-z0-9]+", "-", way.name.lower())
            tasks.append(Task(paper, claim, place, configuration, limit or effort.limit))
    return tasks


def _claims(paper: Paper) -> list[tuple[Claim, Sabotage | None]]:
    return [(claim, None) for claim in paper.claims.values()]


def _broken_claims(paper: Paper) -> list[tuple[Claim, Sabotage | None]]:
    return [(paper.claims[claim], way) for way in paper.sabotages for claim in way.breaks]
