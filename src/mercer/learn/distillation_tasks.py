"""The training rows of a self-distillation, whole or in part, with the truth as numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples
from torch import Tensor

from mercer.errors import ShapeError
from mercer.learn.centers import CenterFeatures
from mercer.learn.classes import Array, class_codes
from mercer.learn.distillation_kernel import EigenForm, KernelForm, KernelRounds, SolverForm
from mercer.learn.distillation_refits import ClassifierRounds, RegressorRounds
from mercer.learn.distillation_ridge import Underneath
from mercer.learn.distillation_rounds import Held, Rounds
from mercer.learn.expansion import ExpansionPath
from mercer.learn.inputs import Given, as_targets, densify, take
from mercer.learn.one_vs_rest import one_vs_rest
from mercer.learn.ridge import primal_features

__all__ = ["KernelTask", "RefitTask", "Task"]

EIGENVALUES = 5000  # rows up to which all eigenvalues are computed, a minute on two cores; beyond, solvers are used
PROBES = 32  # of the estimated diagonal: 18 % error for each row, far less for the mean over them


class Task(Protocol):
    """What is to be learnt, from all rows or from some.

    Attributes:
        n: the number of rows.
        codes: their classes as numbers, ``(n,)``; None for regression.
    """

    n: int
    codes: Array | None

    def rounds(self, rows: Array | None, *, needs_diagonal: bool) -> Rounds:
        """Models of these rows."""

    def held(self, rounds: Rounds, left: Array, seen: Array) -> Held:
        """A judge by rows ``left`` for models of the rows ``seen``."""

    def held_apart(self, rounds: Rounds, X: Any, y: Any) -> Held:
        """A judge by rows that are not among these."""


class KernelTask:
    """Kernel ridge regression without refits.

    Args:
        underneath: the regression.
        given: the points.
        Y: targets ``(n, t)``, float64.
        codes: classes as numbers, and ``classes`` themselves; both None for regression. Y then holds 1 and -1.
        center: whether to take the means off Y.
        check: makes ``Given`` of other points.
    """

    def __init__(
        self,
        underneath: Underneath,
        given: Given,
        Y: Tensor,
        *,
        codes: Array | None,
        classes: Array | None,
        center: bool,
        check: Callable[[Any], Given],
    ) -> None:
        self.n = len(Y)
        self.ridge, self.penalty = underneath.ridge, underneath.penalty
        self.given, self.Y, self.codes, self.classes, self.check = given, Y, codes, classes, check
        self.center = center or underneath.is_centered
        self.similarity = self.ridge._similarity(given)
        self.points = densify(given.points, why="kernel='precomputed'") if self.similarity is None else given.points

    def rounds(self, rows: Array | None, *, needs_diagonal: bool) -> KernelRounds:
        """States of one factorisation."""
        points, Y = self.points, self.Y
        if rows is not None:
            chosen = torch.from_numpy(rows)
            points = points[chosen][:, chosen] if self.similarity is None else take(points, chosen)
            Y = Y[chosen]
        offset = Y.mean(0) if self.center else torch.zeros_like(Y[0])
        return KernelRounds(self._form(points, Y - offset, needs_diagonal), offset)

    def held(self, rounds: Rounds, left: Array, seen: Array) -> Held:
        """By rows of the training data."""
        rows = torch.from_numpy(left)
        points = self.points[rows][:, torch.from_numpy(seen)] if self.similarity is None else take(self.points, rows)
        return Held(rounds, points, self.Y[rows])

    def held_apart(self, rounds: Rounds, X: Any, y: Any) -> Held:
        """By other rows."""
        if self.classes is None:
            target, _ = as_targets(y, self.Y.device)
        else:
            target = one_vs_rest(class_codes(y, self.classes), len(self.classes)).to(self.Y.device)
        given = self.check(X)
        _check_apart(len(given), target, self.Y.shape[1])
        return Held(rounds, given.points, target)

    def _form(self, points: Any, Y: Tensor, needs_diagonal: bool) -> KernelForm:
        ridge, similarity = self.ridge, self.similarity
        if ridge.n_centers is not None and similarity is not None:
            features: CenterFeatures = ridge._center_features(similarity, points)
            return EigenForm(ExpansionPath.on_centers(features, Y, None), Y, self.penalty)
        is_primal = similarity is not None and primal_features(similarity, points) is not None
        if is_primal or len(Y) <= EIGENVALUES:
            return EigenForm(ExpansionPath.exact(similarity, points, Y, None), Y, self.penalty)
        return SolverForm(
            similarity,
            points,
            Y,
            self.penalty,
            rtol=ridge.rtol,
            n_probes=PROBES if needs_diagonal else 0,
            random_state=ridge.random_state,
        )


class RefitTask:
    """Any other estimator, fitted again in every round.

    Args:
        estimator: is cloned.
        X: as it takes it.
        y: ``(n,)`` or ``(n, t)``; classes as they are.
        classes: None for regression.
    """

    def __init__(self, estimator: Any, X: Any, y: Array, *, classes: Array | None) -> None:
        self.n = len(y)
        self.estimator, self.X, self.classes = estimator, X, classes
        self.y = y if classes is None else class_codes(y, classes)
        self.codes = None if classes is None else self.y

    def rounds(self, rows: Array | None, *, needs_diagonal: bool) -> Rounds:
        """Fitted clones."""
        X = self.X if rows is None else _safe_indexing(self.X, rows)
        y = self.y if rows is None else self.y[rows]
        if self.classes is None:
            return RegressorRounds(self.estimator, X, y)
        return ClassifierRounds(self.estimator, X, y, self.classes)

    def held(self, rounds: Rounds, left: Array, seen: Array) -> Held:
        """By rows of the training data."""
        return Held(rounds, _safe_indexing(self.X, left), self._target(self.y[left]))

    def held_apart(self, rounds: Rounds, X: Any, y: Any) -> Held:
        """By other rows."""
        target = self._target(y if self.classes is None else class_codes(y, self.classes))
        _check_apart(_num_samples(X), target, self._target(self.y[:1]).shape[1])
        return Held(rounds, X, target)

    def _target(self, y: Any) -> Tensor:
        """Numbers, or probabilities of classes from their codes, ``(m, t)``."""
        if self.classes is not None:
            return torch.eye(len(self.classes), dtype=torch.float64)[torch.from_numpy(y)]
        return as_targets(y)[0].cpu()


def _check_apart(n_points: int, target: Tensor, n_targets: int) -> None:
    if n_points != len(target):
        raise ShapeError(f"validation=(X, y): X has {n_points} rows and y has {len(target)}.")
    if n_targets != target.shape[1]:
        raise ShapeError(f"validation=(X, y): y has {target.shape[1]} targets, and the training y has {n_targets}.")
