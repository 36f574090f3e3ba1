"""Data in: points as tensors, names of their columns, and what must not be in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import ShapeError


def as_points(X: Any, name: str, *, like: Tensor | None = None) -> Tensor:
    """Points as a floating-point tensor ``(*batch, n, d)``.

    Args:
        X: numpy, pandas, torch or nested lists; integers and booleans become torch's default type.
        name: how messages call it.
        like: convert to this tensor's dtype and device.

    Raises:
        ShapeError: no matrix.
        TypeError: something that is no real number.
    """
    tensor = as_tensor(X)
    if tensor.is_complex():
        raise TypeError(f"{name} is complex ({tensor.dtype}). Give real and imaginary part as columns of their own.")
    if tensor.dim() < 2:
        raise ShapeError(
            f"{name} has shape {tuple(tensor.shape)}, but a kernel needs points (n, d). "
            f"For n numbers use {name}.reshape(-1, 1)."
        )
    return tensor if like is None else tensor.to(dtype=like.dtype, device=like.device)


def column_names(X: Any) -> list[str] | None:
    """The names of the columns of a pandas table, None for anything else."""
    return list(map(str, X.columns)) if hasattr(X, "columns") else None


def require_usable(X: Tensor, name: str, columns: Iterable[int], names: Sequence[str] | None) -> None:
    """Raise unless the columns that a kernel looks at are finite and their squares too; one pass over X.

    Raises:
        ValueError: the first row and the column of a value that is NaN, infinite or too large.
    """
    # Within torch.func transforms values cannot be looked at.
    if X.numel() == 0 or torch._C._functorch.maybe_current_level() is not None:
        return
    X = X.detach()
    # Tiles work in float32 at least; a squared distance is at most 4 d times the largest square.
    limit = (torch.finfo(torch.promote_types(X.dtype, torch.float32)).max / (8.0 * X.shape[-1])) ** 0.5
    low, high = (float(t) for t in torch.aminmax(X))  # NaN if there is one
    if -limit < low and high < limit:
        return
    seen = sorted(set(columns))
    bad = ~(X[..., seen].abs() < limit)
    if not bool(bad.any()):
        return
    *batch, row, position = bad.nonzero()[0].tolist()
    column = seen[position]
    value = float(X[(*batch, row, column)])
    label = f"{column} ({names[column]!r})" if names is not None else str(column)
    place = f"row {row}, column {label}, counted from 0; {int(bad.sum())} such values in columns that the kernel uses"
    if math.isfinite(value):
        raise ValueError(
            f"{name} contains {value:.3g} ({place}), whose square overflows {X.dtype}. "
            f"Use larger units, or float64 (limit {limit:.1g} here)."
        )
    raise ValueError(
        f"{name} contains {'NaN' if math.isnan(value) else 'infinity'} ({place}). "
        f"Drop these rows, or fill the values in."
    )


def require_not_negative(X: Tensor, Y: Tensor, columns: Sequence[int], kernel: str) -> None:
    """Raise ValueError if a column that the kernel looks at holds a negative number."""
    if torch._C._functorch.maybe_current_level() is not None:
        return
    for Z in (X,) if X is Y else (X, Y):
        seen = Z.detach()[..., list(columns)]
        if bool(((seen < 0.0) & (seen > -torch.inf)).any()):
            raise ValueError(f"the {kernel} kernel compares histograms: X and Y must not be negative.")
