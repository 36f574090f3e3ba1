"""What a fit spends its time on: the seconds that were predicted and those that were used, stage by stage."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Stage", "Stages"]


@dataclass
class Stage:
    """One stage. ``predicted`` and ``used`` are seconds of wall time; ``note`` says what came out, in a few words."""

    name: str
    predicted: float
    used: float = 0.0
    note: str = ""


class Stages:
    """A clock that knows the budget.

    Args:
        budget: seconds for everything.
        say: called with a line when a stage ends, such as ``print``; None is silent.
    """

    def __init__(self, budget: float, say: Callable[[str], None] | None = None) -> None:
        self.budget = budget
        self.done: list[Stage] = []
        self._say = say
        self._started = time.perf_counter()

    @contextmanager
    def stage(self, name: str, *, predicted: float) -> Iterator[Stage]:
        """Time what is in the block. Set ``note`` of what it gives, to say what came out."""
        stage = Stage(name, predicted)
        begun = time.perf_counter()
        yield stage
        stage.used = time.perf_counter() - begun
        self.done.append(stage)
        if self._say is not None:
            self._say(f"{stage.used:7.1f} s  {stage.name}{': ' * bool(stage.note)}{stage.note}")

    @property
    def used(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._started

    @property
    def left(self) -> float:
        """Seconds of the budget that are left; negative beyond it."""
        return self.budget - self.used
