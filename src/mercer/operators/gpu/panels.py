"""How a tile of each statistic is computed in a fused kernel, and how weights are pulled back to its points: source.

Two forms. :class:`ColumnPanel` adds up one column at a time from differences: exact for coincident points, any dtype,
the fastest for few columns. :class:`SplitPanel` is a float32 GEMM on the tensor cores.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from mercer.operators.gpu.column_panel import FORMS, ColumnPanel
from mercer.operators.gpu.split_panel import SplitPanel
from mercer.operators.statistics import SquaredDistance, Statistic

SPLIT_FROM = 16  # the narrowest embedding worth a GEMM: three products of padded halves cost as much as 12 columns

Panel = ColumnPanel | SplitPanel


def make_panel(g: int, statistic: Statistic, width: int, dtype: torch.dtype, exact: bool) -> Panel:
    """The form that suits the number of columns and the dtype."""
    kind = type(statistic)
    if FORMS[kind].split and dtype == torch.float32 and width >= SPLIT_FROM:
        return SplitPanel(g, kind, width, exact and kind is SquaredDistance)
    return ColumnPanel(g, kind, width)


def unsupported(statistics: Iterable[Statistic]) -> str | None:
    """The first statistic without a fused form, by name, or None."""
    return next((type(s).__name__ for s in statistics if type(s) not in FORMS), None)
