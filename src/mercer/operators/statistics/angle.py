"""The angle between two points as a statistic, with all its digits near 0 and near pi."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mercer.operators.maps import reciprocal_or_zero, safe_sqrt
from mercer.operators.statistics.statistic import DotProduct, Panels, Pulled, Statistic

# acos of a cosine that is off by eps is off by eps / sin(angle); where the sine is below 1/8, differences decide.
LARGEST_COSINE = (1.0 - 0.125**2) ** 0.5


@dataclass(frozen=True)
class Angle(Statistic):
    """The angle in radians between e and f, embedded as unit vectors; a zero vector is at a right angle to all others.

    A tile is one GEMM and an arc cosine; pairs that are nearly parallel or opposite, whose cosine has lost its digits,
    are computed again from e - f and e + f (Kahan, How futile are mindless assessments of roundoff, 2006, section 12).
    """

    vanishes: ClassVar[bool] = True

    def pairs(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        apart, together = safe_sqrt((E - F).square().sum(-1)), safe_sqrt((E + F).square().sum(-1))
        return 2.0 * torch.atan2(apart, together)

    def itself(self, E: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        return torch.zeros_like(E.sum(-1))

    def panels(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...], scale: float, exact: bool) -> Panels:
        return _AnglePanels(self, E, F)

    def pull(
        self, W: Tensor, E: Tensor, F: Tensor, dE: Tensor | None, dF: Tensor | None, parameters: Pulled = ()
    ) -> None:
        # On the sphere d(angle)/de = (cos e - f) / sin; 0 at coincident points, where there is no direction.
        cosine = E @ F.mT
        i, j = cosine.abs().gt(LARGEST_COSINE).nonzero(as_tuple=True)
        sine = ((1.0 - cosine) * (1.0 + cosine)).sqrt()
        sine[i, j] = 0.5 * (E[i] - F[j]).norm(dim=1) * (E[i] + F[j]).norm(dim=1)
        W = W * reciprocal_or_zero(sine)
        DotProduct().pull(-W, E, F, dE, dF)
        W = W * cosine
        if dE is not None:
            dE.addcmul_(W.sum(1, keepdim=True), E)
        if dF is not None:
            dF.addcmul_(W.sum(0).unsqueeze(1), F)

    def flops(self, width: int) -> float:
        return 2.0 * width + 200.0  # an arc cosine and the search for near pairs


class _AnglePanels:
    def __init__(self, angle: Angle, E: Tensor, F: Tensor) -> None:
        self.angle, self.E, self.F = angle, E, F
        zero_rows, zero_columns = (~E.any(1)).nonzero()[:, 0], (~F.any(1)).nonzero()[:, 0]
        self.zeros = (zero_rows, zero_columns) if len(zero_rows) and len(zero_columns) else None

    def fill(self, i0: int, i1: int, j0: int, j1: int, out: Tensor, scratch: Tensor) -> None:
        torch.mm(self.E[i0:i1], self.F[j0:j1].mT, out=out)
        low, high = torch.aminmax(out)
        if max(-float(low), float(high)) > LARGEST_COSINE:  # the extremes alone say that most tiles have none
            i, j = torch.abs(out, out=scratch).gt(LARGEST_COSINE).nonzero(as_tuple=True)
            out.clamp_(-1.0, 1.0).acos_()
            out[i, j] = self.angle.pairs(self.E[i0 + i], self.F[j0 + j])
        else:
            out.acos_()
        if self.zeros is not None:
            rows, columns = self.zeros
            rows = rows[(rows >= i0) & (rows < i1)] - i0
            columns = columns[(columns >= j0) & (columns < j1)] - j0
            out[rows[:, None], columns] = 0.0
