"""Similarities of sets and counts: what two have in common over what both have."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.points import require_not_negative
from mercer.operators.maps import Expression, make
from mercer.operators.statistics import Columns, DotProduct, MinSum


@dataclass(frozen=True)
class RowSum:
    """The sum of the chosen columns, or of their squares."""

    columns: tuple[int, ...]
    squared: bool = False

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        chosen = X[..., list(self.columns)]
        return (chosen.square() if self.squared else chosen).sum(-1)


class Jaccard(Kernel):
    r"""Jaccard (min-max, Ruzicka) kernel of counts or weights: common part over total.

    .. math:: k(x, y) = \frac{\sum_j \min(x_j, y_j)}{\sum_j \max(x_j, y_j)}, \quad x, y \ge 0

    Of indicators, 0 or 1, it is the size of the intersection of two sets over that of their union. An empty one, all
    zeros, is like nothing, not even itself: k = 0.

    Raises:
        ValueError: at binding, negative data.

    Cost: a pair costs two elementwise operations a column and one division.
    Source: Ralaivola et al., Graph kernels for chemical informatics (2005), definition 7 (MinMax).

    >>> Jaccard()(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])).to_dense()
    tensor([[0.3333, 1.0000]])
    """

    def trace(self, binder: Binder) -> list[Expression]:
        """common / (both sums - common)."""
        require_not_negative(binder.X, binder.Y, binder.all_columns, "Jaccard")
        common = binder.statistic(MinSum(Columns(binder.columns)))
        return [_over_union(binder, common, RowSum(binder.all_columns))]


class Tanimoto(Kernel):
    r"""Tanimoto kernel: of indicators the same as :class:`Jaccard`, but by one GEMM; the usual one for molecules.

    .. math:: k(x, y) = \frac{\langle x, y \rangle}{\lVert x \rVert^2 + \lVert y \rVert^2 - \langle x, y \rangle}

    It is positive semidefinite for all real x and y. A vector of zeros is like nothing, not even itself: k = 0.

    Cost: one fused pass; a pair costs ``d + 2`` multiply-adds and one division.
    Source: Ralaivola et al., Graph kernels for chemical informatics (2005), definition 6.

    >>> Tanimoto()(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])).to_dense()
    tensor([[0.3333, 1.0000]])
    """

    def trace(self, binder: Binder) -> list[Expression]:
        """common / (both squared norms - common)."""
        common = binder.statistic(DotProduct(Columns(binder.columns)))
        return [_over_union(binder, common, RowSum(binder.all_columns, squared=True))]


def _over_union(binder: Binder, common: Expression, size: RowSum) -> Expression:
    row, column = binder.row_value(size)
    return common * make("reciprocal_or_zero", (row + column) - common)
