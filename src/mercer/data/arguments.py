"""A check of the numbers that tasks are made by."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

__all__ = ["is_whole"]


def is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    """Whether a value is a whole number within limits, which belong to it; True is none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most
