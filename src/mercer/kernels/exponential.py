"""The exponential kernel."""

from __future__ import annotations

from typing import ClassVar

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.kernels.spectra import StudentT
from mercer.operators.maps import Expression, make


class Exponential(Kernel):
    r"""Exponential kernel, also called Ornstein-Uhlenbeck or absolute exponential: samples are continuous and rough.

    .. math:: k(x, y) = \exp\left(-\sqrt{\sum_j \frac{(x_j - y_j)^2}{\ell_j^2}}\right)

    It is ``Matern(nu=0.5)``: ``MaternKernel(nu=0.5)`` of GPyTorch, ``Matern(nu=0.5)`` of scikit-learn. The same kernel
    of the l1 distance is :class:`Laplacian`.

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD).

    Raises:
        ValueError: a lengthscale that is not positive.

    Cost: one fused pass; a pair costs ``d + 2`` multiply-adds, one root and one exponential.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), eq. 4.18.

    >>> Exponential(lengthscale=2.0)(torch.zeros(1, 1), torch.ones(1, 1)).to_dense()
    tensor([[0.6065]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR}

    def __init__(self, lengthscale: Value = 1.0) -> None:
        self.lengthscale = lengthscale
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """exp(-r)."""
        return [make("matern", binder.squared_distance(self.hyperparameter("lengthscale")), value=0.5)]

    def spectrum(self, d: int) -> StudentT:
        """Student t frequencies with one degree of freedom."""
        return StudentT(self.hyperparameter("lengthscale"), d, 0.5)
