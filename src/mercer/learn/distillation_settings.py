"""What a self-distillation was asked for, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

from mercer.learn.random_states import as_random_state

__all__ = ["Settings", "check_settings", "split_rows"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Settings:
    """The arguments of ``SelfDistillation`` in one form.

    Attributes:
        alphas: one a round; None where they are to be chosen.
        share: of the rows to hold out.
        apart: validation data ``(X, y)``.
        is_leave_one_out: whether leave-one-out errors judge.
    """

    n_rounds: int
    alphas: tuple[float, ...] | None
    clip: tuple[float, float] | None
    teacher: str
    share: float | None = None
    apart: tuple[Any, Any] | None = None
    is_leave_one_out: bool = False


def check_settings(model: Any) -> Settings:
    """The settings of an estimator.

    Raises:
        ValueError: one that is not possible, or two that do not fit together.
    """
    if not isinstance(model.n_rounds, Integral) or model.n_rounds < 1:
        raise ValueError(f"n_rounds must be a whole number >= 1, not {model.n_rounds!r}: round 1 is the first fit.")
    if model.teacher not in ("previous", "first"):
        raise ValueError(f"teacher must be 'previous' or 'first', not {model.teacher!r}.")
    clip = _check_clip(model.clip)
    alphas = _check_alphas(model.alpha, int(model.n_rounds), clip)
    validation = model.validation
    share = apart = None
    if isinstance(validation, tuple | list) and len(validation) == 2:
        apart = (validation[0], validation[1])
    elif isinstance(validation, Real) and 0.0 < float(validation) < 1.0:
        # With given weights there is nothing to choose, so no row is held out.
        share = float(validation) if alphas is None else None
    elif validation is None:
        if alphas is None:
            raise ValueError(
                "alpha='optimal' needs validation data: give validation=0.2, 'loo' or (X, y), or a number as alpha."
            )
    elif not (isinstance(validation, str) and validation == "loo"):
        raise ValueError(
            f"validation must be a share above 0 and below 1, 'loo', a pair (X, y) or None, not {_brief(validation)}."
        )
    is_leave_one_out = isinstance(validation, str)
    return Settings(int(model.n_rounds), alphas, clip, model.teacher, share, apart, is_leave_one_out)


def split_rows(n: int, share: float, *, codes: Array | None, random_state: Any) -> tuple[Array, Array]:
    """Rows to learn from and rows to hold out, each in increasing order; every class in both in its share.

    Args:
        codes: classes of the rows, or None.

    Raises:
        ValueError: too few rows, or a class of too few.
    """
    rng = as_random_state(random_state)
    if codes is None:
        splits = ShuffleSplit(1, test_size=share, random_state=rng).split(np.empty((n, 1)))
    else:
        counts = np.bincount(codes)
        n_left = int(np.ceil(share * n))
        if counts.min() < 2 or min(n_left, n - n_left) < len(counts):
            raise ValueError(
                f"validation={share:g} holds {n_left} of {n} rows out, and each of the {len(counts)} classes must be "
                f"on both sides; the smallest has {counts.min()}. Give another share, or validation=(X, y)."
            )
        splits = StratifiedShuffleSplit(1, test_size=share, random_state=rng).split(np.empty((n, 1)), codes)
    seen, left = next(iter(splits))
    if codes is not None and (missing := set(codes.tolist()) - set(codes[seen].tolist())):
        raise ValueError(
            f"{len(missing)} classes are missing from the {len(seen)} training rows of the split. Give a smaller "
            f"share, or validation=(X, y)."
        )
    return np.sort(seen), np.sort(left)


def _check_clip(clip: Any) -> tuple[float, float] | None:
    if clip is None:
        return None
    if not isinstance(clip, Sequence) or len(clip) != 2 or not float(clip[0]) < float(clip[1]):
        raise ValueError(f"clip must be None or two increasing numbers such as (0, 1), not {clip!r}.")
    return float(clip[0]), float(clip[1])


def _check_alphas(alpha: Any, n_rounds: int, clip: tuple[float, float] | None) -> tuple[float, ...] | None:
    if isinstance(alpha, str):
        if alpha != "optimal":
            raise ValueError(f"alpha must be 'optimal', a number, or a number for each round, not {alpha!r}.")
        return None
    alphas = tuple(float(a) for a in np.atleast_1d(np.asarray(alpha, dtype=np.float64)).ravel())
    if np.ndim(alpha) == 0:
        alphas *= n_rounds
    if len(alphas) != n_rounds:
        raise ValueError(
            f"alpha has {len(alphas)} weights for n_rounds={n_rounds}: give one for each round, the first included "
            f"(it has no effect, since round 1 sees the truth alone)."
        )
    for t, a in enumerate(alphas, start=1):
        if not np.isfinite(a):
            raise ValueError(f"alpha must be finite, but that of round {t} is {a}.")
        if clip is not None and not clip[0] <= a <= clip[1]:
            raise ValueError(f"alpha = {a:g} of round {t} lies outside of clip={clip}. Give clip=None to allow it.")
    return alphas


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__} {text[:50]}..."
