"""Wrong labels on purpose, to see what a method makes of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["noisy_labels"]


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
