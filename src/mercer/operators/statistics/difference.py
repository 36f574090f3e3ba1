"""The signed difference of one column: what waves, and derivatives of kernels, are functions of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mercer.operators.statistics.statistic import Panels, Pulled, Statistic


@dataclass(frozen=True)
class Difference(Statistic):
    """e - f for an embedding of one column, on centred points; it changes its sign when rows and columns are exchanged.

    One elementwise pass. Near pairs keep all their digits: the error of ``e - f`` is that of the data, where the dot
    product of [cos, sin] features would leave the error of a phase as large as the whole range of the data.
    """

    centred: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True
    foldable: ClassVar[bool] = True

    def pairs(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        return (E - F).squeeze(-1)

    def panels(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...], scale: float, exact: bool) -> Panels:
        return _DifferencePanels(E[:, 0] * scale, F[:, 0] * scale)

    def pull(
        self, W: Tensor, E: Tensor, F: Tensor, dE: Tensor | None, dF: Tensor | None, parameters: Pulled = ()
    ) -> None:
        if dE is not None:
            dE[:, 0] += W.sum(1)
        if dF is not None:
            dF[:, 0] -= W.sum(0)

    def flops(self, width: int) -> float:
        return 12.0  # an elementwise pass runs at about a twelfth of a GEMM's rate


class _DifferencePanels:
    def __init__(self, E: Tensor, F: Tensor) -> None:
        self.E, self.F = E.contiguous(), F.contiguous()

    def fill(self, i0: int, i1: int, j0: int, j1: int, out: Tensor, scratch: Tensor) -> None:
        torch.sub(self.E[i0:i1, None], self.F[None, j0:j1], out=out)
