"""Independent noise as a kernel."""

from __future__ import annotations

from typing import ClassVar

from mercer.kernels.base import NOT_NEGATIVE, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression, leaf


class White(Kernel):
    r"""White noise: a variance of its own for every point.

    .. math:: k(x_i, x_j) = \sigma^2 \delta_{ij}

    "The same point" means the same row of the same X, not equal coordinates: ``kernel(X)`` and its blocks
    ``kernel(X)[rows, columns]`` carry the noise where row and column are the same point; ``kernel(X, Y)`` never does,
    not even where Y is X or repeats a row of it. Two equal rows of X are two points, each with its own noise.

    Args:
        noise: ``()``, >= 0; a variance, in squared units of y.

    Raises:
        ValueError: a negative noise.

    Cost: O(n) a product, nothing a pair.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), eq. 2.19.

    >>> White(noise=0.1)(torch.zeros(2, 3)).to_dense()
    tensor([[0.1000, 0.0000],
            [0.0000, 0.1000]])
    """

    domains: ClassVar[dict[str, Domain]] = {"noise": NOT_NEGATIVE}

    def __init__(self, noise: Value = 1.0) -> None:
        self.noise = noise
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """noise * delta."""
        return [binder.scalar(self.hyperparameter("noise")) * leaf("delta")]
