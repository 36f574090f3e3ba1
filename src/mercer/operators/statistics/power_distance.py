"""The sum of powers of coordinate differences: the statistic of product kernels that are no Laplacian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mercer.operators.statistics.statistic import Panels, Pulled, Statistic


@dataclass(frozen=True)
class PowerDistance(Statistic):
    """sum_k |e_k - f_k|^power, on centred points; a power costs a logarithm and an exponential a column."""

    power: float = 1.0
    centred: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    def pairs(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        difference = (E - F).abs()
        # The derivative of a power below 1 is infinite at 0, times sign(0) = 0: a coincident pair pulls nowhere.
        positive = difference > 0
        powers = torch.where(positive, difference, torch.ones_like(difference)) ** self.power
        return torch.where(positive, powers, torch.zeros_like(powers)).sum(-1)

    def panels(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...], scale: float, exact: bool) -> Panels:
        return _PowerPanels(E, F, self.power)

    def pull(
        self, W: Tensor, E: Tensor, F: Tensor, dE: Tensor | None, dF: Tensor | None, parameters: Pulled = ()
    ) -> None:
        for k in range(E.shape[1]):
            pulled = self._slope(E[:, k], F[:, k]).mul_(W)
            if dE is not None:
                dE[:, k] += pulled.sum(1)
            if dF is not None:
                dF[:, k] -= pulled.sum(0)

    def slopes(self, W: Tensor, V: Tensor, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        columns = [self._slope(E[:, k], F[:, k]).mul_(W) @ V for k in range(E.shape[1])]
        return torch.stack(columns, -1)

    def _slope(self, e: Tensor, f: Tensor) -> Tensor:
        """The derivative of |e - f|^power by e, 0 at e = f."""
        difference = e.unsqueeze(1) - f
        size = difference.abs()
        size.masked_fill_(size == 0, torch.inf if self.power < 1.0 else 0.0)
        return size.pow_(self.power - 1.0).mul_(difference.sign_()).mul_(self.power)

    def flops(self, width: int) -> float:
        return 80.0 * width  # the power alone takes three times the elementwise passes of an l1 distance


class _PowerPanels:
    def __init__(self, E: Tensor, F: Tensor, power: float) -> None:
        self.E, self.F, self.power = E.mT.contiguous(), F.mT.contiguous(), power

    def fill(self, i0: int, i1: int, j0: int, j1: int, out: Tensor, scratch: Tensor) -> None:
        out.zero_()
        for e, f in zip(self.E[:, i0:i1], self.F[:, j0:j1], strict=True):
            torch.sub(e.unsqueeze(1), f, out=scratch)
            out.add_(scratch.abs_().pow_(self.power))
