"""How far a run is: rich bars on a terminal, a line for each finished claim elsewhere."""

import os
import sys
from typing import Any, Self

from mercer.papers.report import MARKS, seconds
from mercer.papers.runner import Display
from mercer.papers.tasks import Outcome, Task

__all__ = ["Bars", "Lines", "display_for"]


class Lines:
    """A line on standard error for every claim that is done. For logs, and where rich is not installed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def line(self, text: str) -> None:
        """One line that stays."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def begin(self, task: Task) -> None:
        """Nothing to show yet."""

    def seed(self, task: Task, done: int) -> None:
        """Nothing: a log needs no seeds."""

    def printed(self, task: Task, text: str) -> None:
        """Nothing: it is kept where a claim fails."""

    def end(self, outcome: Outcome) -> None:
        """Say what came out, if it was measured now."""
        if outcome.is_new:
            self.line(describe(outcome))


class Bars:
    """A bar for every claim that is being measured and one for all, drawn by rich on standard error.

    Args:
        total: how many claims there are.
    """

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._all = self._progress.add_task("all", total=total, unit="claims")
        self._bars: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def line(self, text: str) -> None:
        """One line that stays, above the bars."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def begin(self, task: Task) -> None:
        """A bar over its seeds."""
        self._bars[task.name] = self._progress.add_task(task.name, total=task.configuration["seeds"], unit="seeds")

    def seed(self, task: Task, done: int) -> None:
        """Move its bar."""
        self._progress.update(self._bars[task.name], completed=done)

    def printed(self, task: Task, text: str) -> None:
        """Nothing: it is kept where a claim fails."""

    def end(self, outcome: Outcome) -> None:
        """Remove its bar, and say what came out if it was measured now."""
        self._progress.advance(self._all)
        if outcome.is_new:
            self._progress.remove_task(self._bars.pop(outcome.task.name))
            self.line(describe(outcome))


def display_for(total: int) -> Display:
    """Bars if standard error is a terminal and rich is installed, else lines; ``MERCER_PROGRESS=0``: lines."""
    if sys.stderr.isatty() and os.environ.get("MERCER_PROGRESS") != "0":
        try:
            return Bars(total)
        except ImportError:
            pass
    return Lines()


def describe(outcome: Outcome) -> str:
    """``✓ self-distillation/limit holds, 1.2 s``."""
    text = f"{MARKS[outcome.verdict]} {outcome.task.name} {outcome.verdict}"
    result = outcome.result.measurement if outcome.result is not None else None
    if result is not None:
        return f"{text}, {seconds(result.seconds)}"
    return f"{text}: {outcome.reason}"
