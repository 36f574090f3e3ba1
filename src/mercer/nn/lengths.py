"""How many rows of each sequence of a batch there are, where the others are padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mercer.errors import ShapeError

__all__ = ["Lengths", "kept_rows"]

Lengths = Tensor | Sequence[int]


def kept_rows(x: Tensor, lengths: Lengths | None) -> Tensor | None:
    """Which rows of ``(B, n, width)`` are no padding, ``(B, n)``; None is all.

    Raises:
        ShapeError: not one length a sequence, or one outside 0 to n.
    """
    if lengths is None:
        return None
    lengths = torch.as_tensor(lengths)
    B, n = x.shape[:2]
    fits = lengths.shape == (B,) and not (lengths.is_floating_point() or lengths.dtype == torch.bool)
    if fits and not torch.compiler.is_compiling():
        fits = bool(((lengths >= 0) & (lengths <= n)).all())
    if not fits:
        raise ShapeError(f"lengths must be ({B},), whole numbers from 0 to {n}, one a sequence, but are {lengths}.")
    return torch.arange(n, device=x.device) < lengths.to(x.device)[:, None]
