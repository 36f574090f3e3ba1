"""The power exponential kernel: Laplacians of any exponent, of the l2 norm and of others."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression, make
from mercer.operators.statistics import L1Distance, PowerDistance


class PowerExponential(Kernel):
    r"""Power exponential kernel, or generalised Laplacian: between the Laplacian and the Gaussian, and rougher.

    .. math:: k(x, y) = \exp\left(-\left(\sum_j \left|\frac{x_j - y_j}{\ell_j}\right|^p\right)^{q / p}\right)

    ``q`` is ``exponent`` and ``p`` is ``norm``. ``PowerExponential(l, q, 2)`` is a function of the Euclidean distance;
    with p = q it is a product of one factor a column, and ``PowerExponential(l, 1, 1)`` is :class:`Laplacian`.
    xRFM's kernels are these: "l2" has p = 2, "l1" p = q, "lpq" any p and q.

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD).
        exponent: q, 0 < q <= p; not learnable.
        norm: p, 0 < p <= 2; not learnable. Beyond these bounds k is not positive semidefinite.

    Raises:
        ValueError: a lengthscale that is not positive; an exponent or a norm outside its bounds.

    Cost: with ``norm=2`` one fused pass, ``d + 6`` multiply-adds, a power and an exponential a pair; with ``norm=1``
    three elementwise operations a column; else a power a column.
    Source: Schoenberg, Metric spaces and positive definite functions (1938), theorem 5; Beaglehole et al., xRFM
    (arXiv 2508.10053), section 2.

    >>> PowerExponential(lengthscale=2.0, exponent=0.5)(torch.zeros(1, 1), torch.ones(1, 1)).to_dense()
    tensor([[0.4931]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR}

    def __init__(self, lengthscale: Value = 1.0, exponent: float = 1.0, norm: float = 2.0) -> None:
        self.lengthscale, self.exponent, self.norm = lengthscale, exponent, norm
        self.check()

    def check(self) -> None:
        """Raise ValueError for an argument outside its domain."""
        super().check()
        for name in ("exponent", "norm"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"PowerExponential({name}={value!r}): {name} must be a number; it cannot be learnt.")
        if not 0.0 < self.exponent <= self.norm <= 2.0:
            raise ValueError(
                f"PowerExponential(exponent={self.exponent!r}, norm={self.norm!r}): 0 < exponent <= norm <= 2 is "
                f"needed, else the kernel is not positive semidefinite."
            )

    def trace(self, binder: Binder) -> list[Expression]:
        """exp(-(S / lengthscale^p)^(q / p)), S the sum of powers of differences."""
        p, q = float(self.norm), float(self.exponent)
        lengthscale = self.hyperparameter("lengthscale")
        if p == 2.0:
            s = binder.squared_distance(lengthscale)
        else:
            statistic: Any = L1Distance if p == 1.0 else partial(PowerDistance, power=p)
            S, scale = binder.scaled(statistic, lengthscale, "lengthscale")
            s = S / make("pow", scale, p)
        return [make("exp", -(s if p == q else make("pow", s, q / p)))]
