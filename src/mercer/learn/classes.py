"""Classes as numbers: found in y, and looked up in it again."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

__all__ = ["Array", "check_several", "class_codes", "find_classes"]

Array = np.ndarray[Any, Any]


def find_classes(y: Any) -> tuple[Array, Array]:
    """The classes, sorted, and the place of each row's among them, ``(n,)``.

    Raises:
        ValueError: fewer than two classes, or a y of numbers that are no classes.
    """
    labels = _as_array(y)
    check_classification_targets(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    check_several(classes)
    return classes, codes


def check_several(classes: Array) -> None:
    """Raise ValueError where there is nothing to tell apart."""
    if len(classes) < 2:
        raise ValueError(f"A classifier needs at least two classes, but y has one class: {classes.tolist()[0]!r}.")


def class_codes(y: Any, classes: Array) -> Array:
    """The places of the classes of validation rows in ``classes``, ``(n,)``.

    Raises:
        ValueError: one that is not there.
    """
    labels = _as_array(y)
    strange = np.setdiff1d(labels, classes)
    if len(strange):
        raise ValueError(
            f"The validation rows have classes that no training row has: {', '.join(map(repr, strange.tolist()))}. "
            f"Give validation data of the same classes."
        )
    return np.searchsorted(classes, labels)


def _as_array(y: Any) -> Array:
    return y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
