"""Checks of arguments, in one wording."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

__all__ = ["check_device", "check_not_negative", "check_whole"]


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


def check_not_negative(name: str, value: Any) -> None:
    """Raise ValueError unless an argument is a finite number >= 0."""
    if not (_is_finite(value) and value >= 0.0):
        raise ValueError(f"{name} must be a finite number >= 0, not {value!r}.")


def check_device(device: Any) -> None:
    """Raise ValueError unless torch can compute on a device here, with torch's own first line of why not.

    >>> check_device("cpu")
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device}: {str(error).splitlines()[0]}") from None


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
