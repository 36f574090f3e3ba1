"""Eigenvalues that are 0 to round-off, and the inverse of the others."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["inverse_or_zero"]


def inverse_or_zero(values: Tensor, scale: Tensor) -> Tensor:
    """1 / values, and 0 for those that are zero to round-off of the largest in ``scale``: a pseudo-inverse's diagonal.

    >>> inverse_or_zero(torch.tensor([4.0, 1e-20]), torch.tensor([4.0]))
    tensor([0.2500, 0.0000])
    """
    least = len(values) * torch.finfo(torch.float64).eps * (float(scale.abs().max()) if len(scale) else 0.0)
    significant = values.abs() > least
    return torch.where(significant, 1.0 / torch.where(significant, values, 1.0), 0.0)
