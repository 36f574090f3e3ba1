"""The kernel that is the same for all pairs."""

from __future__ import annotations

from typing import ClassVar

from mercer.kernels.base import NOT_NEGATIVE, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.kernels.spectral_measure import Atom
from mercer.operators.maps import Expression


class Constant(Kernel):
    r"""Constant kernel: an unknown level. A number added to a kernel means this.

    .. math:: k(x, y) = c

    Args:
        value: ``()``, >= 0; the prior variance of the level.

    Raises:
        ValueError: a negative value.

    Cost: nothing a pair.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), table 4.1.

    >>> Constant(value=2.0)(torch.zeros(1, 3), torch.ones(2, 3)).to_dense()
    tensor([[2., 2.]])
    """

    domains: ClassVar[dict[str, Domain]] = {"value": NOT_NEGATIVE}

    def __init__(self, value: Value = 1.0) -> None:
        self.value = value
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """The value."""
        return [binder.scalar(self.hyperparameter("value"))]

    def spectrum(self, d: int) -> Atom:
        """Frequency 0."""
        return Atom(self.hyperparameter("value"), d)
