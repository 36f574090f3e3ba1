"""The Matern kernels."""

from __future__ import annotations

import math
from typing import ClassVar

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.kernels.spectra import StudentT
from mercer.operators.maps import Expression, make


class Matern(Kernel):
    r"""Matern kernel: samples have ``ceil(nu) - 1`` derivatives.

    .. math:: k(x, y) = \frac{2^{1-\nu}}{\Gamma(\nu)} r^\nu K_\nu(r), \quad
        r = \sqrt{2 \nu \sum_j \frac{(x_j - y_j)^2}{\ell_j^2}}

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD).
        nu: smoothness, any value > 0; not learnable. 1/2, 3/2, ... 21/2 use closed forms, the rest the Bessel function.

    Raises:
        ValueError: a lengthscale or ``nu`` that is not positive.
        TypeError: ``nu`` is no number.

    Cost: one fused pass; at half-integer ``nu`` a pair costs ``d + nu + 4`` multiply-adds, one root and one
    exponential; else one Bessel function of scipy, on the CPU.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), eq. 4.14.

    >>> Matern(lengthscale=2.0, nu=0.5)(torch.zeros(1, 1), torch.ones(1, 1)).to_dense()
    tensor([[0.6065]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR}

    def __init__(self, lengthscale: Value = 1.0, nu: float = 1.5) -> None:
        self.lengthscale, self.nu = lengthscale, nu
        self.check()

    def check(self) -> None:
        """Raise ValueError or TypeError for an argument outside its domain."""
        super().check()
        if isinstance(self.nu, bool) or not isinstance(self.nu, int | float):
            raise TypeError(f"Matern(nu={self.nu!r}): nu must be a number; it cannot be learnt.")
        if not (self.nu > 0.0 and math.isfinite(self.nu)):
            raise ValueError(f"Matern(nu={self.nu!r}): nu must be > 0 and finite; for nu = infinity use RBF.")

    def trace(self, binder: Binder) -> list[Expression]:
        """The op ``matern`` of the squared distance in lengthscales."""
        return [make("matern", binder.squared_distance(self.hyperparameter("lengthscale")), value=float(self.nu))]

    def spectrum(self, d: int) -> StudentT:
        """Student t frequencies."""
        return StudentT(self.hyperparameter("lengthscale"), d, float(self.nu))
