"""The Laplacian kernel."""

from __future__ import annotations

from typing import ClassVar

import torch

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.kernels.spectra import CauchyAxes
from mercer.operators.maps import Expression
from mercer.operators.statistics import L1Distance


class Laplacian(Kernel):
    r"""Laplacian kernel of the l1 distance: a product of Matern-1/2 kernels, one a column.

    .. math:: k(x, y) = \exp\left(-\sum_j \frac{|x_j - y_j|}{\ell_j}\right)

    scikit-learn's ``laplacian_kernel(X, Y, gamma=g)`` is ``Laplacian(lengthscale=1 / g)``. The same kernel of the l2
    distance is ``Matern(nu=0.5)``.

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD).

    Raises:
        ValueError: a lengthscale that is not positive.

    Cost: one fused pass; a pair costs three elementwise operations a column and one exponential.
    Source: Rahimi & Recht, Random features for large-scale kernel machines (NIPS 2007), figure 1.

    >>> Laplacian(lengthscale=2.0)(torch.zeros(1, 3), torch.ones(1, 3)).to_dense()
    tensor([[0.2231]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR}

    def __init__(self, lengthscale: Value = 1.0) -> None:
        self.lengthscale = lengthscale
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """exp(-distance)."""
        distance, scale = binder.scaled(L1Distance, self.hyperparameter("lengthscale"), "lengthscale")
        return [torch.exp(-(distance / scale))]  # type: ignore[list-item, arg-type]

    def spectrum(self, d: int) -> CauchyAxes:
        """Cauchy frequencies along every axis."""
        return CauchyAxes(self.hyperparameter("lengthscale"), d)
