"""The rounds of self-distillation, whatever the model: who teaches whom, with which weight, and how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from scipy.optimize import minimize_scalar
from torch import Tensor

from mercer.learn.distillation_filters import optimal_weight

__all__ = ["Held", "Judge", "LeaveOneOut", "LeftOut", "Rounds", "Trail", "leave_one_out_weight"]

_WIDEST = 10.0  # leave-one-out looks for weights from minus this to plus this where they are not clipped


class Rounds(Protocol):
    """Models of one kind on one set of training rows. What a model is, only they know."""

    def first(self) -> Any:
        """The model fitted to the true targets."""

    def student(self, teacher: Any) -> Any:
        """The model fitted to what ``teacher`` predicts at the training rows, and to nothing else."""

    def mix(self, teacher: Any, alpha: float, *, first: Any, student: Any | None) -> Any:
        """The model fitted to ``alpha`` times the truth and ``1 - alpha`` times what ``teacher`` predicts."""

    def evaluate(self, model: Any, points: Any) -> Tensor:
        """Predictions in float64, ``(m, t)``."""


class LeftOut(Protocol):
    """Rounds whose predictions are linear in the targets, ``S y``."""

    def left_out(self, model: Any) -> tuple[Tensor, Tensor]:
        """``y - S y`` ``(n, t)``, and one minus the diagonal of S, ``(n,)``."""


class Judge(Protocol):
    """What chooses weights and scores models."""

    def weight(self, first: Any, student: Any) -> float:
        """The best weight of the true targets."""

    def score(self, model: Any) -> float:
        """The mean squared error of a model on rows that it has not seen."""


@dataclass
class Held:
    """Judges by rows that were held out of the fit.

    Attributes:
        rounds: the models.
        points: the held-out points.
        target: the truth there, ``(m, t)``.
    """

    rounds: Rounds
    points: Any
    target: Tensor

    def weight(self, first: Any, student: Any) -> float:
        """The closed form."""
        u, g = (self.rounds.evaluate(model, self.points) for model in (first, student))
        return optimal_weight(self.target, u, g)

    def score(self, model: Any) -> float:
        """The mean squared error."""
        return float((self.target - self.rounds.evaluate(model, self.points)).square().mean())


@dataclass
class LeaveOneOut:
    """Judges by leave-one-out errors in closed form; exact for round 1 and an approximation after.

    A row left out of a later round still has taught the earlier ones; its error here is ``(y - S y)_i / (1 - S_ii)``.

    Attributes:
        rounds: the models.
        bounds: between which the weight is looked for.
    """

    rounds: LeftOut
    bounds: tuple[float, float] | None

    def weight(self, first: Any, student: Any) -> float:
        """A search in one dimension: the errors are not linear in the weight."""
        return leave_one_out_weight(self.rounds.left_out(first), self.rounds.left_out(student), self.bounds)

    def score(self, model: Any) -> float:
        """The mean squared leave-one-out error."""
        residual, rest = self.rounds.left_out(model)
        return float((residual / rest[:, None]).square().mean())


def leave_one_out_weight(
    first: tuple[Tensor, Tensor], student: tuple[Tensor, Tensor], bounds: tuple[float, float] | None
) -> float:
    """The weight of the least leave-one-out error of a mixture of two linear smoothers.

    Args:
        first, student: residuals ``(n, t)`` and one minus the diagonal ``(n,)`` of each.
        bounds: of the weight; None looks from -10 to 10.
    """

    def loss(alpha: float) -> float:
        residual, rest = (alpha * a + (1.0 - alpha) * b for a, b in zip(first, student, strict=True))
        # A smoother that gives a row more than its own value has no leave-one-out error.
        return float((residual / rest[:, None]).square().mean()) if float(rest.min()) > 0.0 else np.inf

    low, high = (-_WIDEST, _WIDEST) if bounds is None else bounds
    grid = np.linspace(low, high, 81)
    losses = [loss(float(alpha)) for alpha in grid]
    best = int(np.argmin(losses))
    around = (float(grid[max(0, best - 1)]), float(grid[min(len(grid) - 1, best + 1)]))
    found = minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-6})
    # The search never looks at the ends of its interval.
    return float(found.x) if found.fun < losses[best] else float(grid[best])


@dataclass
class Trail:
    """The rounds so far.

    Attributes:
        models: one a round.
        alphas: the weight of the true targets in each; that of round 1 has no effect.
        proposals: the best weights before they were clipped; NaN where none was looked for.
    """

    models: list[Any] = field(default_factory=list)
    alphas: list[float] = field(default_factory=list)
    proposals: list[float] = field(default_factory=list)

    def extend(
        self,
        rounds: Rounds,
        *,
        n_rounds: int,
        alphas: Sequence[float] | None,
        judge: Judge | None,
        clip: tuple[float, float] | None,
        teacher: str,
    ) -> None:
        """Go on to ``n_rounds`` rounds, with the weights given, or where ``alphas`` is None with the judge's."""
        if not self.models:
            self.models, self.proposals = [rounds.first()], [np.nan]
            self.alphas = [1.0 if alphas is None else alphas[0]]
        first, last, student, raw = self.models[0], None, None, np.nan
        for t in range(len(self.models), n_rounds):
            source = self.models[-1] if teacher == "previous" else first
            if alphas is None:
                assert judge is not None
                if source is not last:  # the same teacher has the same student
                    student = rounds.student(source)
                    raw, last = judge.weight(first, student), source
                alpha = raw if clip is None else min(max(raw, clip[0]), clip[1])
            else:
                alpha = alphas[t]
            self.models.append(rounds.mix(source, alpha, first=first, student=student))
            self.alphas.append(float(alpha))
            self.proposals.append(float(raw))
