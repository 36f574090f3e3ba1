"""The rational quadratic kernel."""

from __future__ import annotations

from typing import ClassVar

from mercer.kernels.base import POSITIVE, POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.kernels.spectra import GammaMixture
from mercer.operators.maps import Expression, make


class RationalQuadratic(Kernel):
    r"""Rational quadratic kernel: Gaussian kernels of many lengthscales, mixed; ``alpha`` to infinity gives RBF.

    .. math:: k(x, y) = \left(1 + \frac{1}{2 \alpha} \sum_j \frac{(x_j - y_j)^2}{\ell_j^2}\right)^{-\alpha}

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD).
        alpha: ``()``, > 0; small values give heavy tails.

    Raises:
        ValueError: a lengthscale or ``alpha`` that is not positive.

    Cost: one fused pass; a pair costs ``d + 4`` multiply-adds, one logarithm and one exponential.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), eq. 4.19.

    >>> RationalQuadratic(alpha=0.5)(torch.zeros(1, 1), torch.ones(1, 1)).to_dense()
    tensor([[0.7071]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR, "alpha": POSITIVE}

    def __init__(self, lengthscale: Value = 1.0, alpha: Value = 1.0) -> None:
        self.lengthscale, self.alpha = lengthscale, alpha
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """exp(-alpha log(1 + s / (2 alpha))); ``log1p`` keeps the digits that a large alpha multiplies."""
        s = binder.squared_distance(self.hyperparameter("lengthscale"))
        alpha = binder.scalar(self.hyperparameter("alpha"))
        return [make("exp", -alpha * make("log1p", 0.5 * s / alpha))]

    def spectrum(self, d: int) -> GammaMixture:
        """Normal frequencies of Gamma distributed variance."""
        return GammaMixture(self.hyperparameter("lengthscale"), d, self.hyperparameter("alpha"))
