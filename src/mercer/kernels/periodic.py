"""The periodic kernel."""

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
from mercer.kernels.waves import Harmonics
from mercer.operators.maps import Expression
from mercer.operators.statistics import Columns, Embed, SquaredDistance


@dataclass(frozen=True)
class Circles:
    """Each column wound around a circle of radius 1, two numbers a column, divided by the column's lengthscale.

    The circles touch the origin at the centre of the data, so points close together stay close to the origin, and their
    distances lose no digits. ``theta[period]`` is ``(*batch, 1 or c)``.
    """

    columns: Columns
    period: int

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor:
        turns = Columns(self.columns.columns, self.period)(X, theta, center)
        half_turn = math.pi * (turns - turns.round())
        sine, cosine = half_turn.sin(), half_turn.cos()
        sides = [-2.0 * sine * sine, 2.0 * sine * cosine]  # cos - 1 and sin of the whole turn
        if self.columns.scale is not None:
            lengthscale = theta[self.columns.scale].to(X.dtype).unsqueeze(-2)
            sides = [side / lengthscale for side in sides]
        return torch.cat(sides, -1)


class Periodic(Kernel):
    r"""Periodic kernel: functions that repeat in every column; a product of one periodic kernel a column.

    .. math:: k(x, y) = \exp\left(-2 \sum_j \frac{\sin^2(\pi (x_j - y_j) / p_j)}{\ell_j^2}\right)

    It is the Gaussian kernel of columns wound around circles. scikit-learn's ``ExpSineSquared`` is the same for one
    column; for several it puts the Euclidean distance into the sine, which is not positive semidefinite. GPyTorch's
    ``PeriodicKernel`` has ``lengthscale ** 2`` for its lengthscale.

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, without unit; small values allow much to happen within a period. One
            value, or one a column (ARD).
        period: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column.

    Raises:
        ValueError: a lengthscale or period that is not positive.

    Cost: one fused pass; a pair costs ``2 d + 2`` multiply-adds and one exponential.
    Source: MacKay, Introduction to Gaussian processes (1998), eq. 47; Rasmussen & Williams (2006), eq. 4.31.

    >>> Periodic(period=2.0)(torch.zeros(1, 1), torch.tensor([[1.0], [4.0]])).to_dense()
    tensor([[0.1353, 1.0000]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR, "period": POSITIVE_VECTOR}

    def __init__(self, lengthscale: Value = 1.0, period: Value = 1.0) -> None:
        self.lengthscale, self.period = lengthscale, period
        self.check()

    def spectrum(self, d: int) -> Harmonics:
        """Multiples of the fundamental frequency."""
        scales = (self.hyperparameter(name) for name in ("lengthscale", "period"))
        return Harmonics(*(one_a_column(scale, d) for scale in scales))

    def trace(self, binder: Binder) -> list[Expression]:
        """exp(-s / 2) of the points on circles."""
        slot = binder.vector(self.hyperparameter("period"), "period")

        def on_circles(columns: Embed) -> SquaredDistance:
            assert isinstance(columns, Columns)
            return SquaredDistance(Circles(columns, slot))

        s, scale = binder.scaled(on_circles, self.hyperparameter("lengthscale"), "lengthscale")
        return [torch.exp(-0.5 * s / (scale * scale))]  # type: ignore[list-item, arg-type]
