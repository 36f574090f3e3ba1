"""Self-distillation of networks: each round a fresh network learns from the labels and from the round before."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from mercer.nn.distillation_loss import DistillationLoss
from mercer.nn.distilled_round import DistilledRound, RoundFolder
from mercer.nn.distilled_rounds import DistilledRounds
from mercer.nn.training import evaluate, move, reproducible, train

__all__ = ["self_distill"]

_EPOCHS = 20  # of a training where the caller has no fit_fn


def self_distill(
    make_model: Callable[[], nn.Module],
    train_loader: Iterable[Any],
    valid_loader: Iterable[Any] | None,
    *,
    n_rounds: int = 2,
    alpha: str | float | Sequence[float] = "optimal",
    loss: Literal["brier", "mse", "cross_entropy"] = "brier",
    temperature: float = 1.0,
    fit_fn: Callable[..., Any] | None = None,
    callbacks: Sequence[Callable[[DistilledRound], Any]] = (),
    clip: tuple[float, float] | None = (0.0, 1.0),
    teacher: Literal["previous", "first"] = "previous",
    folder: str | os.PathLike[str] | None = None,
    random_state: int = 0,
) -> DistilledRounds:
    r"""Train a network, then fresh ones on a mixture of the labels and the outputs of the round before.

    The loss of round t is :math:`\alpha_t L(f, y) + (1 - \alpha_t) L(f, f^{(t-1)})`; round 1 has the labels alone.
    With ``alpha="optimal"`` a student is trained on the teacher's outputs alone; its validation outputs g and those u
    of round 1 give the weight as for kernel ridge regression (:func:`mercer.learn.optimal_weight`), and a last network
    is trained with it: two trainings a round, or one where the weight is clipped to 0 (the student is the answer),
    instead of one for each value of a grid. For networks the formula is a good guess and not the optimum.

    Args:
        make_model: gives a fresh network; called inside of a seeded block, so that every training starts from other
            weights and every run from the same ones.
        train_loader: batches ``(x, y)``; y holds classes ``(b,)``, or probabilities ``(b, classes)``; numbers for
            "mse". The teacher sees the very x that the student sees, augmentations included.
        valid_loader: batches of other rows, or None where the weights are given.
        n_rounds: the first included.
        alpha: "optimal", one weight, or one for each round (that of round 1 has no effect).
        loss: "brier", squared error between softmax and one-hot labels, summed over classes; "mse", squared error of
            plain outputs; "cross_entropy".
        temperature: of "cross_entropy" between student and teacher: both logits are divided by it and the term
            multiplied by its square.
        fit_fn: ``fit_fn(model, train_loader, loss=loss)`` trains in place, where ``loss(model, batch)`` is a scalar
            tensor; such as ``partial(training.train, n_epochs=75)``. None is :func:`mercer.nn.training.train` for 20
            epochs.
        callbacks: called with each round when it is done.
        clip: bounds of optimal weights; given ones have to lie within. None leaves them free.
        teacher: "previous" round, or the "first".
        folder: where rounds are kept: a run that was interrupted goes on with the first round that is not there (and
            without ``fit_fn`` in the middle of it).
        random_state: of initial weights and everything random in the trainings.

    Returns:
        A list with one :class:`DistilledRound` a round, and the report of all of them (``alphas``, ``scores``,
        ``plot_path()``) that :class:`mercer.learn.SelfDistillation` gives of other models.

    Raises:
        ValueError: a weight outside of ``clip``, another number of weights than rounds, or "optimal" without validation
            data.
        FileFormatError: ``folder`` holds rounds of another run, or damaged ones.

    Source: Borup & Andersen, Even your Teacher Needs Guidance (2021).

    >>> x = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    >>> batches = [(x, (x[:, 0] > 0).long())]
    >>> rounds = self_distill(lambda: torch.nn.Linear(2, 2), batches, batches, n_rounds=3, alpha=[1.0, 0.5, 0.25])
    >>> [r.n_trainings for r in rounds]
    [1, 1, 1]
    >>> rounds.alphas
    array([1.  , 0.5 , 0.25])
    """
    alphas = _check(alpha, n_rounds, clip, teacher, valid_loader)
    criterion = DistillationLoss(loss, temperature)
    kept = None
    if folder is not None:
        settings: dict[str, Any] = {"loss": loss, "temperature": temperature, "teacher": teacher}
        settings |= {"alpha": alpha if alphas is None else alphas, "clip": None if clip is None else list(clip)}
        kept = RoundFolder(Path(folder), settings | {"random_state": random_state})
    run = _Run(make_model, train_loader, valid_loader, criterion, clip, fit_fn, kept, random_state)
    rounds = DistilledRounds()
    for number in range(1, n_rounds + 1):
        found = None if kept is None else kept.load(number, make_model)
        if found is None:
            weight = None if alphas is None else alphas[number - 1]
            found = run.round(number, rounds, teacher, weight)
            if kept is not None:
                kept.save(number, found)
        rounds.append(found)
        for callback in callbacks:
            callback(found)
    return rounds


@dataclass(frozen=True)
class _Run:
    make_model: Callable[[], nn.Module]
    train_loader: Iterable[Any]
    valid_loader: Iterable[Any] | None
    loss: DistillationLoss
    clip: tuple[float, float] | None
    fit_fn: Callable[..., Any] | None
    kept: RoundFolder | None
    random_state: int

    def round(self, number: int, before: list[DistilledRound], teacher: str, weight: float | None) -> DistilledRound:
        """Make one; ``weight`` None is the optimal one."""
        started = time.perf_counter()
        if not before:
            model, used, proposal, n_trainings = self._fit(number, "last", None, 1.0), 1.0, math.nan, 1
        else:
            source = before[-1 if teacher == "previous" else 0].model
            model, used, proposal, n_trainings = self._taught(number, before[0].model, source, weight)
        valid_loss = math.nan if self.valid_loader is None else evaluate(model, self.valid_loader, self.loss)
        return DistilledRound(model, used, proposal, valid_loss, n_trainings, time.perf_counter() - started)

    def _taught(
        self, number: int, first: nn.Module, source: nn.Module, weight: float | None
    ) -> tuple[nn.Module, float, float, int]:
        """The network, its weight, the weight before it was clipped, and how many trainings it took."""
        if weight == 1.0:
            return first, 1.0, math.nan, 0
        if weight is not None:
            return self._fit(number, "last", source, weight), weight, math.nan, 1
        student = self._fit(number, "student", source, 0.0)
        proposal = self._optimal_weight(first, student)
        used = proposal if self.clip is None else min(max(proposal, self.clip[0]), self.clip[1])
        if used in (0.0, 1.0):  # these two are trained already
            return (first if used else student), used, proposal, 1
        return self._fit(number, "last", source, used), used, proposal, 2

    def _fit(self, number: int, which: str, teacher: nn.Module | None, weight: float) -> nn.Module:
        seed = (self.random_state * 1_000_003 + 2 * number + (which == "last")) % 2**63
        with reproducible(seed):
            model = self.make_model()
        loss = self.loss.taught(teacher, weight)
        if self.fit_fn is not None:
            with reproducible(seed):
                self.fit_fn(model, self.train_loader, loss=loss)
            return model.eval()
        train(
            model,
            self.train_loader,
            loss=loss,
            n_epochs=_EPOCHS,
            checkpoint=None if self.kept is None else self.kept.checkpoint(number, which),
            random_state=seed,
            description=f"round {number}, {which} network",
        )
        return model

    @torch.no_grad()
    def _optimal_weight(self, first: nn.Module, student: nn.Module) -> float:
        """The closed form, summed over the batches of the validation data."""
        assert self.valid_loader is not None
        product, length, size = 0.0, 0.0, 0.0
        for batch in self.valid_loader:
            x, y = move(batch, first)
            u, g = self.loss.outputs(first(x)), self.loss.outputs(student(x))
            target, difference = self.loss.target(y, u), u - g
            product += float(((target - g) * difference).sum())
            length += float(difference.square().sum())
            size += float(u.square().sum())
        # Where the two agree to round-off, the quotient would be noise.
        return product / length if length > (8 * torch.finfo(torch.float32).eps) ** 2 * size else 1.0


def _check(
    alpha: str | float | Sequence[float],
    n_rounds: int,
    clip: tuple[float, float] | None,
    teacher: str,
    valid_loader: Iterable[Any] | None,
) -> list[float] | None:
    """A weight for each round, or None where they are to be chosen."""
    if n_rounds < 1:
        raise ValueError(f"self_distill: n_rounds must be >= 1, not {n_rounds}: round 1 is the first training.")
    if teacher not in ("previous", "first"):
        raise ValueError(f"self_distill: teacher must be 'previous' or 'first', not {teacher!r}.")
    if isinstance(alpha, str):
        if alpha != "optimal":
            raise ValueError(f"self_distill: alpha must be 'optimal', a number, or one for each round, not {alpha!r}.")
        if valid_loader is None:
            raise ValueError(
                "self_distill: alpha='optimal' needs validation data: give valid_loader, or a number as alpha."
            )
        return None
    alphas = [float(a) for a in alpha] if isinstance(alpha, Sequence) else [float(alpha)] * n_rounds
    if len(alphas) != n_rounds:
        raise ValueError(
            f"self_distill: {len(alphas)} weights for {n_rounds} rounds: give one for each, the first included."
        )
    outside = [a for a in alphas if not math.isfinite(a) or (clip is not None and not clip[0] <= a <= clip[1])]
    if outside:
        raise ValueError(
            f"self_distill: alpha = {outside[0]:g} lies outside of clip={clip}. Give clip=None to allow it."
        )
    return alphas
