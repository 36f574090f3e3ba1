"""Shortcuts of maps on tiles: which programs take them, and the pairs that they leave to the exact form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mercer.operators.maps import Bounds, Expression, leaf
from mercer.operators.operands import Operands, entries_at
from mercer.operators.spec import Spec
from mercer.operators.tiles.rewriting import lower_statistic

__all__ = ["Exceptions", "takes_shortcuts"]

FEW = 1 << 14  # pairs below which the calls are what costs, not what they do
SHARE = 1 / 32  # of exceptions in a tile, above which the exact program computes all of it: 12 times a pair's cost


def takes_shortcuts(operands: Operands, roots: Sequence[Expression]) -> bool:
    """Whether the quick forms of a map are worth it and good enough: one value a pair, in float32, on a CPU."""
    like = operands.like
    n, m = operands.shape
    return len(roots) == 1 and like.dtype == torch.float32 and like.device.type == "cpu" and n * m >= FEW


class Exceptions:
    """The pairs of a tile for which the quick form of ``root`` will not do.

    Args:
        bounds: where it holds.
        scales: of the program that takes it, for the panels of each statistic.
        used: the statistics in its buffers.
    """

    def __init__(
        self,
        operands: Operands,
        root: Expression,
        bounds: Sequence[Bounds],
        scales: dict[int, float],
        used: Sequence[int],
    ) -> None:
        self._operands, self._root = operands, root
        self._limits = [
            (used.index(b.slot), *_of_panels(operands.spec, b, scales[b.slot])) for b in bounds if b.slot in used
        ]

    def find(self, buffers: Sequence[Tensor]) -> tuple[Tensor, Tensor] | None:
        """Their rows and columns in a tile whose statistics have been filled; None where there are none."""
        beyond: Tensor | None = None
        for buffer, low, high in self._limits:
            least, most = torch.aminmax(buffers[buffer])  # the extremes alone say that most tiles have none
            if float(least) < low or float(most) > high:
                found = (buffers[buffer] < low).logical_or_(buffers[buffer] > high)
                beyond = found if beyond is None else beyond.logical_or_(found)
        if beyond is None:
            return None
        i, j = beyond.nonzero(as_tuple=True)
        return i, j

    def are_many(self, found: tuple[Tensor, Tensor], tile: Tensor) -> bool:
        """Whether the exact program had better compute the whole tile."""
        return len(found[0]) > SHARE * tile.numel()

    def values(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The exact values at positions in the matrix, ``(p,)``."""
        return entries_at(self._operands, rows, columns, self._operands.like.new_zeros(()), self._root)


def _of_panels(spec: Spec, bounds: Bounds, scale: float) -> tuple[float, float]:
    """Bounds in terms of what panels write: raw times ``scale``, of which the statistic is a multiple."""
    raw = leaf("statistic", bounds.slot)
    lowered = lower_statistic(spec, raw, clamped=False)
    factor = scale if lowered is raw else scale / lowered.args[1].number
    low, high = sorted((bounds.low * factor, bounds.high * factor))
    return low, high
