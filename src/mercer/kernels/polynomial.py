"""The polynomial kernel."""

from __future__ import annotations

from typing import ClassVar

from mercer.kernels.base import NOT_NEGATIVE, POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression


class Polynomial(Kernel):
    r"""Polynomial kernel: regression on all monomials up to ``degree``. It is not centred: a shift of X changes it.

    .. math:: k(x, y) = \left(\sum_j \frac{x_j y_j}{\ell_j^2} + c\right)^{p}

    scikit-learn's ``polynomial_kernel(X, Y, degree=p, gamma=g, coef0=c)`` is
    ``Polynomial(degree=p, offset=c, lengthscale=g ** -0.5)``.

    Args:
        degree: whole number >= 1; not learnable.
        offset: ``()``, >= 0; at 0 only monomials of the full degree are left.
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD).

    Raises:
        ValueError: a degree that is no whole number >= 1, a lengthscale that is not positive, or a negative offset.

    Cost: a pair costs ``d + 1`` multiply-adds and ``2 log2(degree)`` multiplications.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), section 4.2.2.

    >>> Polynomial(degree=2)(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])).to_dense()
    tensor([[144.]])
    """

    domains: ClassVar[dict[str, Domain]] = {"offset": NOT_NEGATIVE, "lengthscale": POSITIVE_VECTOR}

    def __init__(self, degree: int = 3, offset: Value = 1.0, lengthscale: Value = 1.0) -> None:
        self.degree, self.offset, self.lengthscale = degree, offset, lengthscale
        self.check()

    def check(self) -> None:
        """Raise ValueError or TypeError for an argument outside its domain."""
        super().check()
        if isinstance(self.degree, bool) or not isinstance(self.degree, int) or self.degree < 1:
            raise ValueError(
                f"Polynomial(degree={self.degree!r}): the degree must be a whole number >= 1 to give a kernel."
            )

    def trace(self, binder: Binder) -> list[Expression]:
        """(s + offset) ** degree."""
        s = binder.dot_product(self.hyperparameter("lengthscale")) + binder.scalar(self.hyperparameter("offset"))
        return [s ** float(self.degree)]
