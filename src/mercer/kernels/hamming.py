"""The kernel of categorical columns."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression
from mercer.operators.statistics import Codes, Mismatch, OneHot, SquaredDistance

ONE_HOT_LIMIT = 256  # a GEMM of this width takes as long as elementwise comparison of about 20 columns


class Hamming(Kernel):
    r"""Hamming kernel of categories coded as numbers: each column in which two points differ costs a factor.

    .. math:: k(x, y) = \exp\left(-\sum_j \frac{[x_j \ne y_j]}{\ell_j}\right)

    Codes are compared for equality only; their order and size mean nothing. The gradient in X is 0. In float32 codes
    must be whole numbers below 2^24 to stay distinct.

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, without unit. One value, or one a column (ARD).

    Raises:
        ValueError: a lengthscale that is not positive; at binding, missing categories (NaN).

    Cost: with at most 256 different categories in all, a GEMM of as many columns as there are categories; else four
    elementwise operations a column. Binding the kernel to data sorts each column once.
    Source: Hutter et al., Sequential model-based optimization for general algorithm configuration (LION 2011), eq. 2.

    >>> Hamming(lengthscale=2.0)(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 2.0]])).to_dense()
    tensor([[0.6065]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR}

    def __init__(self, lengthscale: Value = 1.0) -> None:
        self.lengthscale = lengthscale
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """exp(-weighted number of mismatches)."""
        slot = binder.vector(self.hyperparameter("lengthscale"), "lengthscale")
        columns = binder.all_columns
        categories = _categories(binder, columns)
        if categories is not None:
            distance = 0.5 * binder.statistic(SquaredDistance(OneHot(columns, categories, slot)))
        else:
            distance = binder.statistic(Mismatch(Codes(columns, slot)))
        return [torch.exp(-distance)]  # type: ignore[list-item, arg-type]


def _categories(binder: Binder, columns: tuple[int, ...]) -> tuple[tuple[float, ...], ...] | None:
    """The values of each column in X and Y, or None where they are too many for indicators."""
    found: list[tuple[float, ...]] = []
    room = ONE_HOT_LIMIT
    for column in columns:
        values: list[Tensor] = [Z.detach()[..., column].flatten() for Z in (binder.X, binder.Y)]
        known = torch.cat(values).unique()
        room -= len(known)
        if room < 0:
            return None
        found.append(tuple(known.tolist()))
    return tuple(found)
