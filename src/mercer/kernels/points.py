"""Data in: points as tensors, names of their columns, and what must not be in them."""

from __future__ import annotations

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


def require_finite(X: Tensor, name: str, columns: Iterable[int], names: Sequence[str] | None) -> None:
    """Raise unless the columns that a kernel looks at are free of NaN and infinity; one pass over X.

    Raises:
        ValueError: the first row and the column of a value that is not finite.
    """
    if torch._C._functorch.maybe_current_level() is not None or bool(torch.isfinite(X.detach().sum())):
        return  # within torch.func transforms values cannot be looked at
    seen = sorted(set(columns))
    bad = (~torch.isfinite(X.detach()[..., seen])).nonzero()
    if len(bad) == 0:
        return
    *_, row, position = bad[0].tolist()
    column = seen[position]
    value = X.detach()[(*bad[0].tolist()[:-1], column)].item()
    label = f"{column} ({names[column]!r})" if names is not None else str(column)
    raise ValueError(
        f"{name} contains {'NaN' if value != value else 'infinity'} (row {row}, column {label}, counted from 0; "
        f"{len(bad)} such values in the columns that the kernel uses). Drop these rows, or fill the values in."
    )
