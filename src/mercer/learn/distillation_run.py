"""Run a self-distillation: choose the weights by rows that were held out or otherwise, and make the rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mercer.learn.distillation_kernel import KernelRounds
from mercer.learn.distillation_rounds import Judge, LeaveOneOut, Rounds, Trail
from mercer.learn.distillation_settings import Settings, split_rows
from mercer.learn.distillation_tasks import Task

__all__ = ["Outcome", "run"]


@dataclass(frozen=True)
class Outcome:
    """What :func:`run` gives.

    Attributes:
        rounds: of all rows.
        whole: their models.
        part: models without the rows held out, by which weights were chosen; empty where none were.
        scores: mean squared error of each round on rows it has not seen, or None.
        left: the rows held out, or None.
    """

    rounds: Rounds
    whole: Trail
    part: Trail
    scores: np.ndarray[Any, Any] | None
    left: np.ndarray[Any, Any] | None


def run(
    task: Task, settings: Settings, *, whole: Trail, part: Trail, needs_diagonal: bool, random_state: Any
) -> Outcome:
    """All rounds; those that ``whole`` and ``part`` hold already are kept."""
    needs_diagonal = needs_diagonal or settings.is_leave_one_out

    def extend(trail: Trail, rounds: Rounds, alphas: tuple[float, ...] | None, judge: Judge | None) -> None:
        trail.extend(
            rounds,
            n_rounds=settings.n_rounds,
            alphas=alphas,
            judge=judge,
            clip=settings.clip,
            teacher=settings.teacher,
        )

    judge: Judge | None = None
    if settings.share is not None:
        seen, left = split_rows(task.n, settings.share, codes=task.codes, random_state=random_state)
        inner = task.rounds(seen, needs_diagonal=False)
        judge = task.held(inner, left, seen)
        extend(part, inner, None, judge)
        rounds = task.rounds(None, needs_diagonal=needs_diagonal)
        extend(whole, rounds, tuple(part.alphas), None)
        whole.proposals = list(part.proposals)
        return Outcome(rounds, whole, part, np.array([judge.score(model) for model in part.models]), left)
    rounds = task.rounds(None, needs_diagonal=needs_diagonal)
    if settings.apart is not None:
        judge = task.held_apart(rounds, *settings.apart)
    elif settings.is_leave_one_out:
        assert isinstance(rounds, KernelRounds)
        judge = LeaveOneOut(rounds, settings.clip)
    extend(whole, rounds, settings.alphas, judge)
    scores = None if judge is None else np.array([judge.score(model) for model in whole.models])
    return Outcome(rounds, whole, part, scores, None)
