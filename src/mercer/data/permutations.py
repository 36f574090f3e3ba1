"""Bits that are moved about: the k inputs with a single 1 to learn from, all others to be asked about."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mercer.arguments import is_whole
from mercer.config import require_memory

__all__ = ["PermutationTask", "permutation_task"]

Array = NDArray[np.int64]
MOST_ROWS = 2**20


class PermutationTask(NamedTuple):
    """A permutation of k bits: input bit i goes to output bit ``permutation[i]``.

    Attributes:
        X_train: the k unit vectors, ``(k, k)``.
        Y_train: where they go, ``(k, k)``.
        X_test: inputs with at least one 1, ``(n, k)``.
        Y_test: the same with their bits moved, ``(n, k)``.
        permutation: ``(k,)``.
    """

    X_train: Array
    Y_train: Array
    X_test: Array
    Y_test: Array
    permutation: Array


def permutation_task(
    k: int, m: int | None = None, *, n_samples: int | None = None, random_state: Any = 0
) -> PermutationTask:
    """A random permutation of k bits, its unit vectors to train on, and inputs to test on.

    Args:
        k: bits, >= 2.
        m: ones of each test input; None is any number from 1 on.
        n_samples: test inputs, drawn at random with replacement, all alike probable; None is every one there is.
        random_state: seed, or a generator of NumPy.

    Raises:
        ValueError: k below 2, m outside 1 to k, more than 2^20 test inputs without ``n_samples``.
        MemoryBudgetError: k x k numbers, of which there are two lots, do not fit.

    >>> task = permutation_task(5, m=2)
    >>> task.X_test.shape, task.X_test[0], task.Y_test[0], task.permutation
    ((10, 5), array([1, 1, 0, 0, 0]), array([0, 0, 1, 0, 1]), array([2, 4, 3, 0, 1]))
    """
    if not (is_whole(k, 2) and (m is None or is_whole(m, 1, k)) and (n_samples is None or is_whole(n_samples, 1))):
        raise ValueError(
            f"permutation_task(k={k!r}, m={m!r}, n_samples={n_samples!r}): whole numbers, k >= 2, m from 1 to k, "
            f"n_samples >= 1."
        )
    require_memory(
        16 * int(k) * (int(k) + int(n_samples or 0)),
        asked=f"permutation_task(k={k})",
        instead="Draw the permutation yourself: PermutationLearner(predictor='closed_form').fit(None, permutation).",
    )
    try:
        draw = np.random.default_rng(random_state)
    except TypeError:
        kind = type(random_state).__name__
        raise TypeError(f"random_state must be an int or a NumPy generator, not {kind}.") from None
    permutation = draw.permutation(k)
    inputs = _all_inputs(k, m) if n_samples is None else _some_inputs(k, m, n_samples, draw)
    moved = np.empty_like(inputs)
    moved[:, permutation] = inputs
    units = np.eye(k, dtype=np.int64)
    return PermutationTask(units, units[permutation], inputs, moved, permutation)


def _all_inputs(k: int, m: int | None) -> Array:
    count = 2**k - 1 if m is None else math.comb(k, m)
    if count > MOST_ROWS:
        raise ValueError(f"permutation_task(k={k}, m={m}) has {count} inputs to test on. Give n_samples=1000, or so.")
    if m is None:
        found: Any = np.arange(1, 2**k)[:, None] >> np.arange(k) & 1
        return np.ascontiguousarray(found, dtype=np.int64)
    inputs = np.zeros((count, k), dtype=np.int64)
    ones = np.array(list(itertools.combinations(range(k), m)), dtype=np.int64)
    np.put_along_axis(inputs, ones, 1, axis=1)
    return inputs


def _some_inputs(k: int, m: int | None, n_samples: int, draw: np.random.Generator) -> Array:
    if m is not None:
        return draw.permuted(np.tile(np.arange(k) < m, (n_samples, 1)), axis=1).astype(np.int64)
    inputs = draw.integers(2, size=(n_samples, k))
    while bool((empty := inputs.sum(1) == 0).any()):
        inputs[empty] = draw.integers(2, size=(int(empty.sum()), k))
    return inputs
