"""Wendland's kernels of compact support."""

from __future__ import annotations

from typing import ClassVar

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression, make


class Wendland(Kernel):
    r"""Wendland kernel: exactly 0 from the distance ``lengthscale`` on; ``smoothness`` times differentiable.

    .. math:: k(x, y) = (1 - r)_+^{j + q} \, p_{q, j}(r), \quad r^2 = \sum_j \frac{(x_j - y_j)^2}{\ell_j^2}, \quad
        j = \lfloor d / 2 \rfloor + q + 1

    with the polynomials p of degree q: 1, then 1 + (j + 1) r, and so on. Most of a matrix whose points are spread over
    many lengthscales is zero: :func:`mercer.operators.to_sparse` gives the rest.

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X; here it is the radius of the support.
            One value, or one a column (ARD).
        smoothness: q, 0 to 3; not learnable. Samples have about as many derivatives as those of a Matern kernel with
            ``nu = smoothness + 1/2``.
        dimension: d, the largest number of columns in which the kernel is positive semidefinite; None takes that of
            the data. A kernel for more dimensions falls faster and is one for fewer too.

    Raises:
        ValueError: a lengthscale that is not positive, another smoothness; at binding, more columns than ``dimension``.

    Cost: one fused pass; a pair costs ``d + 2`` multiply-adds, one root and about ``smoothness + log2(d)``
    multiplications.
    Source: Wendland, Piecewise polynomial, positive definite and compactly supported radial functions (1995);
    Rasmussen & Williams (2006), eq. 4.21.

    >>> Wendland(lengthscale=2.0)(torch.zeros(1, 1), torch.tensor([[0.0], [1.0], [2.0]])).to_dense()
    tensor([[1.0000, 0.3125, 0.0000]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR}

    def __init__(self, lengthscale: Value = 1.0, smoothness: int = 1, dimension: int | None = None) -> None:
        self.lengthscale, self.smoothness, self.dimension = lengthscale, smoothness, dimension
        self.check()

    def check(self) -> None:
        """Raise ValueError for an argument outside its domain."""
        super().check()
        if isinstance(self.smoothness, bool) or self.smoothness not in (0, 1, 2, 3):
            raise ValueError(f"Wendland(smoothness={self.smoothness!r}): the smoothness must be 0, 1, 2 or 3.")
        d = self.dimension
        if d is not None and (isinstance(d, bool) or not isinstance(d, int) or d < 1):
            raise ValueError(f"Wendland(dimension={d!r}): the dimension must be a whole number >= 1, or None.")

    def trace(self, binder: Binder) -> list[Expression]:
        """The op ``wendland`` of the squared distance in lengthscales."""
        d = binder.width if self.dimension is None else self.dimension
        if binder.width > d:
            raise ValueError(
                f"Wendland(dimension={d}): the kernel sees {binder.width} columns, in which it need not be positive "
                f"semidefinite. Give dimension={binder.width}, or None."
            )
        s = binder.squared_distance(self.hyperparameter("lengthscale"))
        return [make("wendland", s, value=(d // 2 + self.smoothness + 1, self.smoothness))]
