"""Density of targets under a covariance from Gram matrices."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mercer.nn.gram_state import gram_factor

__all__ = ["add_noise", "log_density"]


def log_density(K: Tensor, Y: Tensor) -> Tensor:
    """``sum_c log N(y_c; 0, K)`` of targets ``(n, c)``, for each K of ``(*batch, n, n)``; differentiable.

    Raises:
        IndefiniteGram: K is not positive definite.
    """
    lower = gram_factor(K, "the covariance of y")
    half = torch.linalg.solve_triangular(lower, Y.expand(*K.shape[:-2], *Y.shape), upper=False)
    each = 2.0 * lower.diagonal(dim1=-2, dim2=-1).log().sum(-1) + len(Y) * math.log(2.0 * math.pi)
    result: Tensor = -0.5 * (half.square().sum((-2, -1)) + Y.shape[1] * each)
    return result


def add_noise(K: Tensor, noise: Any) -> Tensor:
    """``K + noise I``; differentiable in both."""
    result: Tensor = K + noise * torch.eye(K.shape[-1], dtype=K.dtype, device=K.device)
    return result
