"""Intervals that hold the truth as often as they say, from errors on rows that the model has not seen."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

__all__ = ["around", "check_level", "error_quantile"]


def check_level(level: Any, name: str = "interval") -> float:
    """A share as a float; ``name`` says in the message which argument it is.

    Raises:
        ValueError: not between 0 and 1.
    """
    if isinstance(level, bool) or not 0.0 < float(level) < 1.0:
        raise ValueError(f"{name} must be a share above 0 and below 1, such as 0.9, not {level!r}.")
    return float(level)


def error_quantile(errors: Tensor, level: float) -> Tensor:
    """The half width that holds ``level`` of future errors, for each target: ``(n, t) -> (t,)``.

    The ``ceil((n + 1) level)``-th smallest absolute error: a new exchangeable row lies within it with probability at
    least ``level``, and at most ``1 / (n + 1)`` more if there are no ties. Infinite where n is too small to promise it.

    Source: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World (2005).
    """
    n = len(errors)
    # The product of decimals such as 0.9 * 10 may come out just above a whole number.
    rank = math.ceil((n + 1) * level - 1e-9)
    if rank > n:
        return errors.new_full((errors.shape[1],), math.inf)
    return errors.abs().kthvalue(rank, dim=0).values


def around(prediction: Any, radius: Any) -> tuple[Any, Any, Any]:
    """(prediction, lower, upper)."""
    return prediction, prediction - radius, prediction + radius
