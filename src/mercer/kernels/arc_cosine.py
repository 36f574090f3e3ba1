"""The arc-cosine kernels: wide layers of random units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mercer.kernels.base import NOT_NEGATIVE, POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression, make, reciprocal_or_zero, safe_sqrt
from mercer.operators.statistics import Angle, SquaredDistance


@dataclass(frozen=True)
class Lifted:
    """Points with weights and one more coordinate for the bias, ``(*batch, n, c + 1)``, as they stand or of norm 1."""

    columns: tuple[int, ...]
    weights: int
    bias: int

    def lift(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        """``[sqrt(weight_j) x_j, sqrt(bias)]``."""
        points = X[..., list(self.columns)] * theta[self.weights].to(X.dtype).sqrt().unsqueeze(-2)
        bias = safe_sqrt(theta[self.bias]).to(X.dtype)[..., None, None]
        return torch.cat([points, bias.expand(*points.shape[:-1], 1)], -1)


@dataclass(frozen=True)
class Direction(Lifted):
    """The lifted points divided by their norms; a zero vector stays one."""

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor:
        points = self.lift(X, theta)
        return points * reciprocal_or_zero(safe_sqrt(points.square().sum(-1, keepdim=True)))


@dataclass(frozen=True)
class Length(Lifted):
    """The norms of the lifted points."""

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        return safe_sqrt(self.lift(X, theta).square().sum(-1))


class ArcCosine(Kernel):
    r"""Arc-cosine kernel: an infinitely wide layer of random step (0), ReLU (1) or squared ReLU (2) units.

    .. math:: k(x, y) = \frac{1}{\pi} (\lVert x \rVert \lVert y \rVert)^n J_n(\theta), \quad
        \cos \theta = \frac{\langle x, y \rangle}{\lVert x \rVert \lVert y \rVert}, \quad
        \langle x, y \rangle = \sum_j w_j x_j y_j + b

    with J_0 = pi - t, J_1 = sin t + (pi - t) cos t, J_2 = 3 sin t cos t + (pi - t) (1 + 2 cos^2 t) of the angle t.
    Without a bias, multiples of a point differ in their size only. It is not centred: a shift of X changes it.

    Args:
        order: n, 0, 1 or 2; not learnable.
        weight_variance: w, ``()`` or ``(d,)``, > 0; variances of the weights, in units of X to the power -2. One value,
            or one a column (ARD).
        bias_variance: b, ``()``, >= 0; at 0 it stays 0 when other hyperparameters are learnt.

    Raises:
        ValueError: another order, a weight variance that is not positive, or a negative bias variance.

    Cost: one fused pass; a pair costs ``d + 6`` multiply-adds, an arc sine and, from order 1 on, two roots. Order 0
    and gradients read a tile once more: the angles of points of nearly the same direction are computed from
    differences, at order 0 those of nearly opposite ones too.
    Source: Cho & Saul, Kernel methods for deep learning (NIPS 2009), eq. 1 to 6; the bias as a constant coordinate.

    >>> ArcCosine(bias_variance=0.0)(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]])).to_dense()
    tensor([[2.0000, 0.3183]])
    """

    domains: ClassVar[dict[str, Domain]] = {"weight_variance": POSITIVE_VECTOR, "bias_variance": NOT_NEGATIVE}

    def __init__(self, order: int = 1, weight_variance: Value = 1.0, bias_variance: Value = 1.0) -> None:
        self.order, self.weight_variance, self.bias_variance = order, weight_variance, bias_variance
        self.check()

    def check(self) -> None:
        """Raise ValueError for an argument outside its domain."""
        super().check()
        if isinstance(self.order, bool) or self.order not in (0, 1, 2):
            raise ValueError(f"ArcCosine(order={self.order!r}): the order must be 0, 1 or 2.")

    def trace(self, binder: Binder) -> list[Expression]:
        """The angle at order 0; above, the op ``arc_cosine`` of the distance of directions, and the norms."""
        weights = binder.vector(self.hyperparameter("weight_variance"), "weight_variance")
        slots = binder.all_columns, weights, binder.slot(self.hyperparameter("bias_variance"), 0)
        if self.order == 0:
            return [1.0 - binder.statistic(Angle(Direction(*slots))) * (1.0 / math.pi)]
        versed_sine = 0.5 * binder.statistic(SquaredDistance(Direction(*slots)))  # 1 - cos of the angle
        row, column = binder.row_value(Length(*slots))
        norms = row ** float(self.order) * column ** float(self.order)
        return [norms * make("arc_cosine", versed_sine, value=self.order)]
