"""Checks of arguments, in one wording."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

__all__ = [
    "check_device",
    "check_finite_number",
    "check_not_negative",
    "check_positive",
    "check_random_state",
    "check_sizes",
    "check_whole",
    "is_whole",
]


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


def check_sizes(owner: str, **sizes: Any) -> None:
    """Raise ValueError unless all are ints >= 1, or None where there is none.

    >>> check_sizes("LongConv", channels=16, length=64.5)
    Traceback (most recent call last):
    ValueError: LongConv: channels=16 and length=64.5 must be 1 or more, and whole.
    """
    if not all(size is None or is_whole(size, 1) for size in sizes.values()):
        *others, last = (f"{name}={size}" for name, size in sizes.items())
        named = f"{', '.join(others)} and {last}" if others else last
        raise ValueError(f"{owner}: {named} must be 1 or more, and whole.")


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
    import numpy as np

    from mercer.arrays import generator

    if not isinstance(value, np.random.Generator | np.random.RandomState):
        generator(value)


def is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    """Whether a value is a whole number within limits, which belong to it; True is none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


def check_device(device: Any) -> None:
    """Raise ValueError unless torch can compute on a device here, with torch's own first line of why not.

    >>> check_device("cpu")
    """
    import torch  # here, for commands that check arguments begin without it

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device}: {str(error).splitlines()[0]}") from None


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
