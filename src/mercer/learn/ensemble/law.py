"""What an ensemble of infinitely wide networks is once it is trained: a Gaussian at every point, in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer.arrays import as_tensor, check_finite
from mercer.errors import ShapeError
from mercer.kernels import NTK, InfiniteNetwork, Kernel
from mercer.learn.ntk_network import network_kernels
from mercer.learn.trained_covariance import change_by_training

__all__ = ["EnsembleLaw", "kernel_pair"]


class EnsembleLaw:
    r"""Mean and standard deviation of networks trained to the end on the squared error, over their random starts.

    With T the neural tangent kernel, S that of the prior and :math:`A = T(x, X)\, T(X, X)^{-1}`,

    .. math:: f(x) \sim N(A Y,\; S(x, x) + A S(X, X) A^\top - A S(X, x) - S(x, X) A^\top)

    for every output alike; outputs are independent of one another.

    Args:
        kernel: ``NTK(...)``; an :class:`mercer.kernels.InfiniteNetwork`; a pair (T, S) of kernels; or any other kernel
            k, which stands for both: the posterior of a Gaussian process without noise, which is what networks tend
            to whose last layer alone is trained (``NNGP(...)``).
        X: ``(n, d)``, no row twice.
        Y: ``(n,)`` or ``(n, t)``.

    Attributes:
        X, Y: the data, float64 ``(n, d)`` and ``(n, t)``.
        coefficients: T(X, X)^-1 Y, float64 ``(n, t)``.

    Raises:
        ShapeError: Y has another number of rows, or none.
        TypeError: something that is no kernel.
        ValueError: NaN; T(X, X) is singular.

    Cost: one Cholesky factorisation of n x n, in float64.
    Source: Lee et al., Wide neural networks of any depth evolve as linear models (NeurIPS 2019), eq. 16.

    >>> law = EnsembleLaw(NTK(depth=2), [[0.0], [1.0]], [0.0, 1.0])
    >>> law.mean([[0.5]]), law.std([[0.5], [1.0]])
    (tensor([[0.4893]], dtype=torch.float64), tensor([0.0299, 0.0000], dtype=torch.float64))
    """

    def __init__(self, kernel: Any, X: Any, Y: Any) -> None:
        self.tangent, self.prior = kernel_pair(kernel)
        self.X = as_tensor(X, dtype=torch.float64)
        Y = as_tensor(Y, dtype=torch.float64)
        Y = Y.unsqueeze(-1) if Y.dim() == 1 else Y
        if self.X.dim() != 2 or Y.dim() != 2 or len(Y) != len(self.X) or len(Y) == 0:
            raise ShapeError(
                f"EnsembleLaw: X {tuple(self.X.shape)} and Y {tuple(Y.shape)} must be (n, d) and (n, t), n >= 1."
            )
        check_finite(self.X, "X")
        check_finite(Y, "Y")
        self.Y = Y
        gram = self.tangent(self.X).to_dense()
        self._factor, info = torch.linalg.cholesky_ex(gram)
        # Of a singular matrix round-off may leave a factor, with a pivot that has no digits.
        if int(info) or bool(self._factor.diagonal().square().min() <= 1e-12 * gram.diagonal().max()):
            raise ValueError(
                f"EnsembleLaw: the matrix of {self.tangent!r} on these {len(gram)} rows is singular. Two rows are "
                f"equal for the kernel, or it has fewer features than there are rows: leave some out."
            )
        self.coefficients = torch.cholesky_solve(Y, self._factor)

    def mean(self, X: Any) -> Tensor:
        """The mean over all networks, ``(m, t)``."""
        return self.tangent(as_tensor(X, dtype=torch.float64), self.X).to_dense() @ self.coefficients

    def std(self, X: Any) -> Tensor:
        """The standard deviation over the networks, of every output alike, ``(m,)``; 0 where they all agree."""
        points = as_tensor(X, dtype=torch.float64)
        across = self.prior(points, self.X).to_dense()
        weights = torch.cholesky_solve(self.tangent(self.X, points).to_dense(), self._factor).mT  # A, (m, n)
        start = self.prior(points).diagonal()
        variance = start + change_by_training(weights, across, self.prior(self.X), whole=False)
        # What is below round-off of the variance before training is a point where training leaves nothing open.
        return torch.where(variance > 1e-12 * start, variance, 0.0).sqrt()


def kernel_pair(kernel: Any) -> tuple[Kernel, Kernel]:
    """The kernel that training follows, and that of the networks before it.

    Raises:
        TypeError: neither a kernel, nor a pair of them, nor an infinite network.

    >>> tangent, prior = kernel_pair(NTK(depth=2))
    >>> prior
    NNGP(depth=2, activation='relu', sigma_w=1.0, sigma_b=0.1)
    """
    if isinstance(kernel, tuple) and len(kernel) == 2 and all(isinstance(k, Kernel) for k in kernel):
        return kernel[0], kernel[1]
    if isinstance(kernel, InfiniteNetwork | NTK) or getattr(kernel, "kind", None) == "ntk":
        kernels = network_kernels(kernel)
        return kernels["ntk"], kernels["nngp"]
    if isinstance(kernel, Kernel):
        return kernel, kernel
    raise TypeError(f"kernel={kernel!r}: give a mercer kernel, a pair of them, or an InfiniteNetwork.")
