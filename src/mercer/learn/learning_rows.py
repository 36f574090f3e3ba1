"""Which rows hyperparameters are learnt on, where all of them would take too long."""

from __future__ import annotations

import warnings

import numpy as np

from mercer.arguments import check_whole
from mercer.errors import ApproximationWarning
from mercer.learn.covariance import Array
from mercer.learn.marginal_likelihood import EXACT

__all__ = ["learning_rows", "subset_rows"]

_SUBSET = 2000  # rows that hyperparameters are learnt on where all would be too many and nothing was asked for


def subset_rows(n: int, subset: int, rng: np.random.RandomState) -> Array:
    """So many of n rows, drawn without replacement, sorted; all where there are fewer.

    Raises:
        ValueError: a subset that is no whole number >= 1.
    """
    check_whole("subset", subset, or_none=True)
    rows: Array = np.sort(rng.choice(n, size=min(int(subset), n), replace=False))
    return rows


def learning_rows(n: int, subset: int | None, rng: np.random.RandomState, *, is_learning: bool) -> Array | None:
    """The rows for Laplace's approximation; None for all of them.

    Raises:
        ValueError: a subset that is no whole number >= 2.

    Warns:
        ApproximationWarning: there are too many for all, and ``subset`` was not given.
    """
    check_whole("subset", subset, least=2, or_none=True)
    if subset is None:
        if n <= EXACT or not is_learning:
            return None
        subset = _SUBSET
        warnings.warn(
            f"Hyperparameters are learnt on {subset} of {n} rows, since the gradient of Laplace's approximation needs "
            f"n^3 operations. Give subset= to choose how many, or optimizer=None to keep the hyperparameters.",
            ApproximationWarning,
            stacklevel=3,
        )
    return subset_rows(n, subset, rng)
