"""The Gaussian kernel."""

from __future__ import annotations

from typing import ClassVar

import torch

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.kernels.spectra import Gaussian
from mercer.operators.maps import Expression


class RBF(Kernel):
    r"""Gaussian kernel (squared exponential): samples have all derivatives.

    .. math:: k(x, y) = \exp\left(-\frac{1}{2} \sum_j \frac{(x_j - y_j)^2}{\ell_j^2}\right)

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD).

    Raises:
        ValueError: a lengthscale that is not positive.

    Cost: one fused pass; a pair costs ``d + 2`` multiply-adds and one exponential.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), eq. 4.9.

    >>> RBF(lengthscale=2.0)(torch.zeros(1, 3), torch.ones(1, 3)).to_dense()
    tensor([[0.6873]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR}

    def __init__(self, lengthscale: Value = 1.0) -> None:
        self.lengthscale = lengthscale
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """exp(-s / 2)."""
        return [torch.exp(-0.5 * binder.squared_distance(self.hyperparameter("lengthscale")))]  # type: ignore[list-item, arg-type]

    def spectrum(self, d: int) -> Gaussian:
        """Normal frequencies."""
        return Gaussian(self.hyperparameter("lengthscale"), d)
