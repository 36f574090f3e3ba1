"""The sum of the smaller coordinates of two points as a statistic: how much two histograms overlap."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.operators.statistics.statistic import Panels, Pulled, Statistic


@dataclass(frozen=True)
class MinSum(Statistic):
    """sum_k min(e_k, f_k); two elementwise passes a column, no cancellation for points that are not negative."""

    def pairs(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        return torch.minimum(E, F).sum(-1)

    def panels(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...], scale: float, exact: bool) -> Panels:
        return _MinPanels(E, F)

    def pull(
        self, W: Tensor, E: Tensor, F: Tensor, dE: Tensor | None, dF: Tensor | None, parameters: Pulled = ()
    ) -> None:
        half = torch.tensor(0.5, dtype=W.dtype, device=W.device)  # both sides of a tie share it, as in autograd
        for k in range(E.shape[1]):
            smaller = torch.heaviside(F[None, :, k] - E[:, k, None], half)
            if dE is not None:
                dE[:, k] += (smaller * W).sum(1)
            if dF is not None:
                dF[:, k] += ((1.0 - smaller) * W).sum(0)

    def flops(self, width: int) -> float:
        return 16.0 * width  # elementwise passes run at about a twelfth of a GEMM's rate


class _MinPanels:
    def __init__(self, E: Tensor, F: Tensor) -> None:
        self.E, self.F = E.mT.contiguous(), F.mT.contiguous()

    def fill(self, i0: int, i1: int, j0: int, j1: int, out: Tensor, scratch: Tensor) -> None:
        out.zero_()
        for e, f in zip(self.E[:, i0:i1], self.F[:, j0:j1], strict=True):
            out.add_(torch.minimum(e.unsqueeze(1), f, out=scratch))
