"""The linear kernel."""

from __future__ import annotations

from typing import ClassVar

from mercer.kernels.base import NOT_NEGATIVE, POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression


class Linear(Kernel):
    r"""Linear kernel: ridge regression as a kernel; samples are planes. It is not centred: a shift of X changes it.

    .. math:: k(x, y) = \sum_j \frac{x_j y_j}{\ell_j^2} + b

    scikit-learn's ``DotProduct(sigma_0=s)`` is ``Linear(bias=s ** 2)``.

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD): a
            large one means that the column matters little.
        bias: ``()``, >= 0; the prior variance of the value at x = 0. At 0, the default, it stays 0 when other
            hyperparameters are learnt.

    Raises:
        ValueError: a lengthscale that is not positive, or a negative bias.

    Cost: a pair costs ``d + 1`` multiply-adds.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), section 4.2.2.

    >>> Linear(bias=0.5)(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])).to_dense()
    tensor([[11.5000]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR, "bias": NOT_NEGATIVE}

    def __init__(self, lengthscale: Value = 1.0, bias: Value = 0.0) -> None:
        self.lengthscale, self.bias = lengthscale, bias
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """Two terms, the dot product and the bias."""
        return [binder.dot_product(self.hyperparameter("lengthscale")), binder.scalar(self.hyperparameter("bias"))]
