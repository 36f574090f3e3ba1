"""Checks of estimators' numeric arguments, in one wording."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from mercer.arrays import generator

__all__ = ["check_finite_number", "check_not_negative", "check_positive", "check_random_state", "check_whole"]


def check_whole(name: str, value: Any, *, least: int = 1, or_none: bool = False) -> None:
    """Raise ValueError unless an argument is a whole number; 3.0 is one, True is none.

    Args:
        name: of the argument, for the message.
        value: what was given.
        least: the smallest that is allowed.
        or_none: whether None is allowed too.

    >>> check_whole("n_centers", 2.5, or_none=True)
    Traceback (most recent call last):
    ValueError: n_centers must be a whole number >= 1 or None, not 2.5.
    """
    if value is None and or_none:
        return
    if not (_is_finite(value) and value == int(value) and value >= least):
        raise ValueError(f"{name} must be a whole number >= {least}{' or None' * or_none}, not {value!r}.")


def check_not_negative(name: str, value: Any, *, or_none: bool = False) -> None:
    """Raise ValueError unless an argument is a finite number >= 0."""
    if value is None and or_none:
        return
    if not (_is_finite(value) and value >= 0.0):
        raise ValueError(f"{name} must be a finite number >= 0{' or None' * or_none}, not {value!r}.")


def check_positive(name: str, value: Any, *, or_none: bool = False) -> None:
    """Raise ValueError unless an argument is a finite number > 0."""
    if value is None and or_none:
        return
    if not (_is_finite(value) and value > 0.0):
        raise ValueError(f"{name} must be a finite number > 0{' or None' * or_none}, not {value!r}.")


def check_finite_number(name: str, value: Any) -> None:
    """Raise ValueError unless an argument is a finite number."""
    if not _is_finite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}.")


def check_random_state(value: Any) -> None:
    """Raise, as :func:`mercer.arrays.generator` does, for what is no seed, and draw nothing."""
    if not isinstance(value, np.random.Generator | np.random.RandomState):
        generator(value)


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
