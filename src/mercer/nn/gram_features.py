"""The first layer of a deep kernel machine: inner products of the inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mercer.arrays import as_tensor, check_finite
from mercer.errors import ShapeError
from mercer.nn.gram_state import GramState

__all__ = ["FeaturesToGram"]


class FeaturesToGram(nn.Module):
    r"""Inner products of rows and inducing points, ``G_0 = X X' / d`` with a learnt scale for each column.

    Args:
        inducing: where the inducing points start, ``(P, d)``: rows of the data, for instance. They are copied.
        ard: a scale for each column; False is one for all.
        learn: whether the scales are learnt.
        learn_inducing: whether the inducing points move.
        dtype: None is that of ``inducing``.

    Raises:
        ShapeError: inducing points that are no matrix, or none.
        ValueError: NaN or infinity among them.

    >>> FeaturesToGram(torch.eye(2))(torch.ones(3, 2)).ti.shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        inducing: Any,
        *,
        ard: bool = True,
        learn: bool = True,
        learn_inducing: bool = True,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        points = as_tensor(inducing, dtype=dtype).detach().clone()
        if points.dim() != 2 or not points.numel():
            raise ShapeError(f"FeaturesToGram: inducing must be (P, d) points, not of shape {tuple(points.shape)}.")
        check_finite(points, "inducing")
        d = points.shape[1]
        self.inducing = nn.Parameter(points, requires_grad=learn_inducing)
        self.log_scale = nn.Parameter(points.new_zeros(d if ard else 1), requires_grad=learn)

    def forward(self, X: Any) -> GramState:
        """Of rows ``(n, d)``, a tensor or anything that holds numbers.

        Raises:
            ShapeError: another number of columns.
        """
        d, X = self.inducing.shape[1], as_tensor(X, dtype=self.inducing.dtype, device=self.inducing.device)
        if X.dim() != 2 or X.shape[1] != d:
            raise ShapeError(f"FeaturesToGram: X must be (n, {d}) like its inducing points, not {tuple(X.shape)}.")
        scale = self.log_scale.exp() / d**0.5
        X, Z = X * scale, self.inducing * scale
        return GramState(Z @ Z.mT, X @ Z.mT, X.square().sum(1))
