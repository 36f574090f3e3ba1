"""The cosine kernel: plane waves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.kernels.spectra import one_a_column
from mercer.kernels.waves import PlaneWave
from mercer.operators.maps import Expression
from mercer.operators.statistics import Columns, SquaredDistance


@dataclass(frozen=True)
class Wave:
    """The phase ``sum_j x_j / p_j`` wound around a circle of radius 1 that touches the origin at the data's centre."""

    columns: Columns

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor:
        turns = self.columns(X, theta, center).sum(-1, keepdim=True)
        half_turn = math.pi * (turns - turns.round())
        sine, cosine = half_turn.sin(), half_turn.cos()
        return torch.cat([-2.0 * sine * sine, 2.0 * sine * cosine], -1)


class Cosine(Kernel):
    r"""Cosine kernel: one plane wave of unknown phase, which never decays; times an RBF, a wave packet.

    .. math:: k(x, y) = \cos\left(2 \pi \sum_j \frac{x_j - y_j}{p_j}\right)

    The matrix has rank 2. Not to be confused with the cosine of the angle between two points, ``Pairwise("cosine")``.
    GPyTorch's ``CosineKernel(period_length=p)`` of one column is ``Cosine(period=2 * p)``; of several columns it takes
    the Euclidean distance, which is not positive semidefinite.

    Args:
        period: ``()`` or ``(d,)``, > 0, in the units of the columns of X: the wave length along each. One value, or one
            a column.

    Raises:
        ValueError: a period that is not positive.

    Cost: one fused pass; a pair costs 5 multiply-adds, whatever d.
    Source: Wilson & Adams, Gaussian process kernels for pattern discovery and extrapolation (ICML 2013), eq. 12, of one
    component without width.

    >>> Cosine(period=6.0)(torch.zeros(1, 1), torch.ones(1, 1)).to_dense()
    tensor([[0.5000]])
    """

    domains: ClassVar[dict[str, Domain]] = {"period": POSITIVE_VECTOR}

    def __init__(self, period: Value = 1.0) -> None:
        self.period = period
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """1 - s / 2 of the points on a circle."""
        slot = binder.vector(self.hyperparameter("period"), "period")
        return [1.0 - 0.5 * binder.statistic(SquaredDistance(Wave(Columns(binder.columns, slot))))]

    def spectrum(self, d: int) -> PlaneWave:
        """One frequency and its negative."""
        return PlaneWave(one_a_column(self.hyperparameter("period"), d))
