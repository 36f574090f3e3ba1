"""The histogram intersection kernel."""

from __future__ import annotations

from typing import ClassVar

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.kernels.points import require_not_negative
from mercer.operators.maps import Expression
from mercer.operators.statistics import MinSum


class Intersection(Kernel):
    r"""Histogram intersection kernel: how much two histograms have in common.

    .. math:: k(x, y) = \sum_j \frac{\min(x_j, y_j)}{\ell_j}, \quad x, y \ge 0

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD): a
            large one means that the column matters little.

    Raises:
        ValueError: a lengthscale that is not positive; at binding, negative data.

    Cost: a pair costs two elementwise operations a column.
    Source: Barla, Odone & Verri, Histogram intersection kernel for image classification (ICIP 2003), eq. 2.

    >>> Intersection()(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.5]])).to_dense()
    tensor([[1.5000]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR}

    def __init__(self, lengthscale: Value = 1.0) -> None:
        self.lengthscale = lengthscale
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """The sum of the smaller coordinates."""
        require_not_negative(binder.X, binder.Y, binder.all_columns, "Intersection")
        common, scale = binder.scaled(MinSum, self.hyperparameter("lengthscale"), "lengthscale")
        return [common / scale]
