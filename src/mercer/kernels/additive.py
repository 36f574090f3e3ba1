"""Kernels of single columns, added up: main effects, and interactions up to an order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch

from mercer.kernels.algebra import Composite, total
from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression, constant


class Additive(Composite):
    r"""Additive kernel: a function of each column alone, summed; no interactions.

    .. math:: k(x, y) = \sum_j \kappa(x_j, y_j)

    Args:
        kernel: the kernel of single columns. Its hyperparameters are shared by all columns, but those with as many
            entries as there are columns (ARD) give each column its own.

    Raises:
        TypeError: no kernel.

    Cost: that of the inner kernel once a column, each a term that is planned on its own.
    Source: Duvenaud, Nickisch & Rasmussen, Additive Gaussian processes (NIPS 2011), eq. 4.

    >>> Additive(RBF(lengthscale=[1.0, 2.0]))(torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [9.0, 2.0]])).to_dense()
    tensor([[2.0000, 0.6065]])
    """

    in_grammar = True
    inner = ("kernel",)

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """The terms of every column."""
        return [term for terms in _column_terms(self.kernel, binder) for term in terms]


class ANOVA(Composite):
    r"""ANOVA kernel: functions of single columns, of pairs, ... of up to p columns, each order with its variance.

    .. math:: k(x, y) = \sum_{q=1}^{p} \sigma_q^2 \sum_{j_1 < \ldots < j_q} \prod_{i=1}^{q} \kappa(x_{j_i}, y_{j_i})

    The learnt variances tell how much of the signal is main effects, and how much interactions of each order.

    Args:
        kernel: the kernel of single columns. Its hyperparameters are shared by all columns, but those with as many
            entries as there are columns (ARD) give each column its own.
        variances: ``(p,)``, >= 0: one a order, from 1 to p. Orders beyond the number of columns are 0.

    Raises:
        TypeError: no kernel.
        ValueError: a negative variance.

    Cost: the inner kernel once a column, and ``2 d p`` multiply-adds a pair, by the recursion of elementary symmetric
    polynomials. That of Newton and Girard, which the source uses, takes as many, but subtracts and loses digits.
    Source: Duvenaud, Nickisch & Rasmussen, Additive Gaussian processes (NIPS 2011), eq. 5 to 7.

    >>> ANOVA(Constant(1.0), variances=[1.0, 10.0, 100.0])(torch.zeros(1, 3), torch.ones(1, 3)).to_dense()
    tensor([[133.]])
    """

    in_grammar = True
    domains: ClassVar[dict[str, Domain]] = {"variances": Domain(vector=True, strict=False)}
    inner = ("kernel",)

    def __init__(self, kernel: Kernel, variances: Value = (1.0, 1.0)) -> None:
        self.kernel, self.variances = kernel, variances
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """One term: the elementary symmetric polynomials of the columns' kernels."""
        variances = torch.atleast_1d(self.hyperparameter("variances"))
        order = variances.shape[-1]
        sums = [constant(1.0)] + [constant(0.0)] * order  # of all products of q columns seen so far
        for terms in _column_terms(self.kernel, binder):
            one = total(terms)
            for q in range(order, 0, -1):
                sums[q] = sums[q] + one * sums[q - 1]
        return [total([binder.scalar(variances[..., q - 1]) * sums[q] for q in range(1, order + 1)])]


def _column_terms(kernel: Kernel, binder: Binder) -> Iterator[list[Expression]]:
    """The terms of the kernel on each column alone."""
    d = binder.width
    found = {h.path: h for h in kernel.hyperparameters()}
    # as tensors, so that all columns share what they have in common
    kernel = kernel.with_values({path: h.value for path, h in found.items()})
    own = [p for p, h in found.items() if h.domain.vector and h.value.dim() and h.value.shape[-1] == d > 1]
    for j in range(d):
        one = kernel.with_values({path: found[path].value[..., j : j + 1] for path in own}) if own else kernel
        yield one.trace(binder.on([j]))
