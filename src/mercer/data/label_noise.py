"""Wrong labels on purpose, to see what a method makes of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["noisy_labels", "noisy_split"]

Part = tuple[NDArray[Any], NDArray[Any]]


def noisy_labels(y: Any, share: float, *, random_state: int = 0) -> NDArray[Any]:
    """A copy of labels in which a share of the rows has a class drawn at random from all of them.

    The true class may be drawn too: with c classes a share of ``share * (c - 1) / c`` ends up wrong.

    Args:
        y: ``(n,)`` classes, numbers or text.
        share: of the rows, each chosen independently with this probability; 0 to 1.
        random_state: seed.

    Raises:
        ValueError: a share outside of 0 to 1, or labels that are not in one row.

    >>> noisy_labels(["a", "b", "c", "a"], 0.5, random_state=2).tolist()
    ['b', 'b', 'c', 'c']
    """
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ValueError(f"noisy_labels: y must be one row of classes, not of shape {labels.shape}.")
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"noisy_labels: share must lie between 0 and 1, not {share}.")
    draw = np.random.default_rng(random_state)
    classes = np.unique(labels)
    is_drawn = draw.random(len(labels)) < share
    return np.where(is_drawn, classes[draw.integers(len(classes), size=len(labels))], labels)


def noisy_split(
    X: Any, y: Any, share: float, *, n_fit: int, n_choose: int, random_state: int = 0
) -> tuple[Part, Part, Part]:
    """Rows to fit and rows to choose by, both with wrong labels as in life, and rows to test with the true ones.

    Args:
        X: ``(n, d)``.
        y: ``(n,)`` classes, numbers or text.
        share: of the labels that are drawn at random; see :func:`noisy_labels`.
        n_fit: rows to fit.
        n_choose: rows to choose weights and penalties by.
        random_state: seed, of the order of the rows and of the labels.

    Returns:
        Three pairs (X, y): to fit, to choose by, to test, the last with all rows that are left.

    Raises:
        ValueError: no row is left to test, or as :func:`noisy_labels`.

    >>> fit, choose, test = noisy_split(np.eye(10), np.arange(10) % 2, 0.4, n_fit=5, n_choose=2)
    >>> [len(labels) for _, labels in (fit, choose, test)]
    [5, 2, 3]
    """
    points, labels = np.asarray(X), np.asarray(y)
    if not 0 < n_fit + n_choose < len(labels) or min(n_fit, n_choose) < 0:
        raise ValueError(
            f"noisy_split: n_fit={n_fit} and n_choose={n_choose} must leave some of the {len(labels)} rows to test."
        )
    order = np.random.default_rng(random_state).permutation(len(labels))
    points, labels = points[order], labels[order]
    noisy = noisy_labels(labels, share, random_state=random_state)
    fit, choose, test = np.split(np.arange(len(labels)), [n_fit, n_fit + n_choose])
    return (points[fit], noisy[fit]), (points[choose], noisy[choose]), (points[test], labels[test])
