"""The softmax kernel."""

from __future__ import annotations

from typing import ClassVar

import torch

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.expression import Expression


class Softmax(Kernel):
    r"""Softmax kernel: what attention compares queries and keys with, before it divides by the sum of a row.

    .. math:: k(x, y) = \exp\left(\sum_j \frac{x_j y_j}{\ell_j^2}\right)

    Attention of width e, ``exp(q . k / sqrt(e))``, is ``Softmax(lengthscale=e ** 0.25)``. Values grow exponentially
    with the points: beyond an exponent of 88 float32 overflows to infinity.

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD).

    Raises:
        ValueError: a lengthscale that is not positive.

    Cost: one fused pass; a pair costs ``d`` multiply-adds and one exponential.
    Source: Choromanski et al., Rethinking attention with Performers (ICLR 2021), section 2.2.

    >>> Softmax()(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 3.0]])).to_dense()
    tensor([[1.6487]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR}

    def __init__(self, lengthscale: Value = 1.0) -> None:
        self.lengthscale = lengthscale
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """exp(s)."""
        return [torch.exp(binder.dot_product(self.hyperparameter("lengthscale")))]  # type: ignore[list-item, arg-type]
