"""Sequences as estimators get them: rows of steps, each a number or several."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import validate_data
from torch import Tensor

from mercer.errors import ShapeError

__all__ = ["as_sequence_lengths", "as_sequences"]

_NO_TARGETS = object()


def as_sequences(estimator: Any, X: Any, y: Any = _NO_TARGETS) -> tuple[Tensor, Any]:
    """Sequences ``(n, L, features)`` in float64, and the targets; sets or compares ``n_features_in_``, which is L.

    Args:
        estimator: whose data it is.
        X: ``(n, L)`` or ``(n, L, features)``: array, table or tensor.
        y: targets at fit; left out for sequences alone.

    Raises:
        ValueError: NaN or infinity, another number of steps or features than at fit, a missing y.
    """
    X = X.detach().cpu().numpy() if isinstance(X, Tensor) else X
    y = y.detach().cpu().numpy() if isinstance(y, Tensor) else y
    options: dict[str, Any] = {"dtype": np.float64, "allow_nd": True}
    if y is _NO_TARGETS:
        rows, targets = validate_data(estimator, X, reset=False, **options), None
    else:
        rows, targets = validate_data(estimator, X, y, **options)
    if rows.ndim > 3:
        raise ShapeError(f"sequences are (n, L) or (n, L, features), not {rows.shape}.")
    steps = torch.from_numpy(np.ascontiguousarray(rows))
    steps = steps.unsqueeze(-1) if steps.dim() == 2 else steps
    if targets is None and steps.shape[-1] != estimator._n_columns:
        raise ShapeError(f"X has {steps.shape[-1]} features a step, but {estimator._n_columns} at fit.")
    return steps, targets


def as_sequence_lengths(lengths: Any, steps: Tensor) -> Tensor | None:
    """Lengths ``(n,)`` as whole numbers, or None.

    Raises:
        ValueError: another number of them than sequences, or one outside 1 to L.
    """
    if lengths is None:
        return None
    sizes = torch.as_tensor(lengths)
    if sizes.shape != (len(steps),) or bool((sizes < 1).any()) or bool((sizes > steps.shape[1]).any()):
        raise ValueError(f"lengths: {len(steps)} whole numbers from 1 to {steps.shape[1]}, not {tuple(sizes.shape)}.")
    return sizes.long()
