"""How many independent Gaussian votes it takes until every rounded mean is right."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp

__all__ = ["check_delta", "check_method", "fewest", "log_failure"]

Array = NDArray[np.float64]
METHODS = ("exact", "bound")
_MOST_DOUBLINGS = 200


def log_failure(z: Array, counts: Any = 1.0) -> Array:
    """log of 1 - prod_j Phi(z_j)^counts_j over the last axis: some of these independent decisions is wrong.

    It keeps its digits where the probability is far below the smallest float, as a union over 2^k inputs needs it.

    Args:
        z: distances from the thresholds in standard deviations of the mean, ``(..., decisions)``; may be infinite.
        counts: how many decisions each stands for.

    >>> float(np.exp(log_failure(np.array([0.0, 0.0]))))
    0.75
    """
    with np.errstate(divide="ignore"):
        # -log Phi(z) = Phi(-z) to 1e-16 beyond 8 standard deviations, and there log Phi(z) has no digits left.
        each = np.where(z > 8.0, log_ndtr(-z), np.log(-log_ndtr(np.minimum(z, 8.0))))
        total = logsumexp(each + np.log(counts), axis=-1)  # log of -log P(all are right)
        found: Array = np.where(total < -36.0, total, np.log(-np.expm1(-np.exp(np.minimum(total, 700.0)))))
    return found


def fewest(log_probability: Callable[[int], float], delta: float, *, guess: int = 1) -> int:
    """The least n for which a probability that falls with n is at most ``delta``; a guess near it saves steps.

    Raises:
        ValueError: it stays above ``delta``.
    """
    low, high, wanted = 0, guess, math.log(delta)
    below, above = math.inf, log_probability(high)
    while above > wanted:
        low, below, high = high, above, 2 * high
        if high > 2**_MOST_DOUBLINGS:
            raise ValueError("no number of networks suffices: an average lies on its threshold, or beyond it.")
        above = log_probability(high)
    is_straight = False
    while high - low > 1:
        # The logarithm is nearly a straight line in n, so every other step goes where that line crosses.
        is_straight = not is_straight and math.isfinite(below) and math.isfinite(above) and below > above
        share = (below - wanted) / (below - above) if is_straight else 0.5
        middle = min(max(low + round(share * (high - low)), low + 1), high - 1)
        value = log_probability(middle)
        low, below, high, above = (middle, value, high, above) if value > wanted else (low, below, middle, value)
    return high


def check_delta(delta: Any) -> None:
    """Raise ValueError unless it is a probability between 0 and 1."""
    if not (isinstance(delta, Real) and 0.0 < float(delta) < 1.0):
        raise ValueError(f"delta={delta!r}: the probability of a mistake lies between 0 and 1, such as 0.05.")


def check_method(method: str) -> None:
    """Raise ValueError unless the method is known."""
    if method not in METHODS:
        raise ValueError(f"method={method!r}: choose one of {', '.join(METHODS)}.")
