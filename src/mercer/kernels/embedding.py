"""Mean embeddings: a sample as one function, and distances between samples (maximum mean discrepancy)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mercer.arrays import as_tensor, like
from mercer.errors import ShapeError
from mercer.kernels.points import as_points, column_names

if TYPE_CHECKING:
    from mercer.kernels.base import Kernel

__all__ = ["MeanEmbedding"]


class MeanEmbedding:
    r"""The weighted mean of a kernel over a sample, as a function and as a vector of the kernel's space.

    .. math:: \mu(z) = \sum_i w_i \, k(x_i, z)

    Everything is exact, by products that store no matrix, and differentiable in points, weights and hyperparameters.
    With ``White`` in the kernel, noise counts within a sample only.

    Args:
        kernel: of the embedding.
        X: the sample, ``(n, d)``.
        weights: ``(n,)``, of any sign; 1/n each by default.

    Raises:
        ShapeError: X is no matrix of points or empty, or the weights do not fit it.

    Source: Gretton et al., A kernel two-sample test, JMLR 13 (2012), lemma 6.

    >>> from mercer.kernels import RBF
    >>> left = RBF().mean_embedding([[0.0], [2.0]])
    >>> left([[1.0]]).round(4)
    array([0.6065])
    >>> round(float(left.distance(RBF().mean_embedding([[0.0], [3.0]]))), 4)
    0.4435
    """

    def __init__(self, kernel: Kernel, X: Any, weights: Any = None) -> None:
        self.names = column_names(X)
        self.kernel = kernel.resolve(self.names) if self.names is not None else kernel
        self.X = as_points(X, "X")
        n = self.X.shape[0]
        if self.X.dim() != 2 or n == 0:
            raise ShapeError(f"mean_embedding needs points (n, d) with n > 0, but X has shape {tuple(self.X.shape)}.")
        if weights is None:
            self.weights = self.X.new_full((n,), 1.0 / n)
        else:
            self.weights = as_tensor(weights, dtype=self.X.dtype, device=self.X.device)
        if self.weights.shape != (n,):
            raise ShapeError(f"weights must be one a point, ({n},), but have shape {tuple(self.weights.shape)}.")

    def __call__(self, Z: Any) -> Any:
        """The values at points Z ``(m, d)``, ``(m,)``; a tensor for a tensor, else an ndarray. Cost: n m pairs."""
        if column_names(Z) not in (None, self.names):
            raise ValueError(f"mean embedding: the columns of Z are {column_names(Z)}, those of X are {self.names}.")
        points = as_points(Z, "Z", like=self.X)
        return like(self.kernel(points, self.X) @ self.weights, Z)

    def inner(self, other: MeanEmbedding) -> Tensor:
        """``sum_ij w_i u_j k(x_i, y_j)``, a float64 tensor ``()``. Raises ValueError where the kernels differ."""
        self._require_one_kernel(other)
        if other is self:
            return self._product(self.kernel(self.X) @ self.weights, self.weights)
        values = self.kernel(self.X, other.X.to(self.X)) @ other.weights.to(self.X)
        return self._product(values, self.weights)

    def norm(self) -> Tensor:
        """The length of the embedding: the square root of its inner product with itself."""
        return _root(self.inner(self))

    def distance(self, other: MeanEmbedding) -> Tensor:
        """The length of the difference, a float64 tensor ``()``: the maximum mean discrepancy (MMD)."""
        return _root(self.squared_distance(other))

    def squared_distance(self, other: MeanEmbedding, *, unbiased: bool = False) -> Tensor:
        """The squared maximum mean discrepancy, a float64 tensor ``()``.

        Args:
            other: with the same kernel.
            unbiased: leave out pairs of a point with itself, and divide by the number of the others: its mean over
                samples is the squared distance of their distributions, so it can be negative. With weights, pairs
                count ``w_i w_j``.

        Raises:
            ValueError: the kernels differ, or ``unbiased`` with one point only.

        Cost: one pass over ``(n + m)^2 / 2`` pairs. Accuracy: eps times ``norm()**2``, eps of the points' type; use
        float64 for samples that are nearly alike.
        """
        self._require_one_kernel(other)
        n = len(self.X)
        Y, u = other.X.to(self.X), other.weights.to(self.X)
        K = self.kernel(torch.cat([self.X, Y]))
        sides = torch.block_diag(self.weights.unsqueeze(-1), u.unsqueeze(-1))  # (n + m, 2)
        gram = sides.double().mT @ (K @ sides).double()
        within, between = gram.diagonal(), gram[0, 1] + gram[1, 0]
        if unbiased:
            own = K.diagonal().double()
            parts = zip(within, (own[:n], own[n:]), (self.weights.double(), u.double()), strict=True)
            return torch.as_tensor(torch.stack([_without_own(*part) for part in parts]).sum() - between)
        return torch.as_tensor(within.sum() - between)

    @staticmethod
    def _product(values: Tensor, weights: Tensor) -> Tensor:
        return (values.double() * weights.double()).sum()

    def _require_one_kernel(self, other: MeanEmbedding) -> None:
        if self.kernel is not other.kernel and self.kernel != other.kernel:
            raise ValueError(f"The embeddings have different kernels: {self.kernel!r} and {other.kernel!r}.")
        if self.X.shape[1] != other.X.shape[1]:
            raise ShapeError(f"The samples have {self.X.shape[1]} and {other.X.shape[1]} columns; they must agree.")

    def __repr__(self) -> str:
        return f"MeanEmbedding({self.kernel!r}, n={len(self.X)})"


def _without_own(total: Tensor, own: Tensor, weights: Tensor) -> Tensor:
    """``sum_ij w_i w_j k_ij`` over pairs i != j, scaled as if they were all pairs."""
    square, others = weights.sum().square(), weights.sum().square() - weights.square().sum()
    if len(weights) < 2 or float(others.detach()) == 0.0:
        raise ValueError("squared_distance(unbiased=True) needs at least two points with weight in each sample.")
    return (total - (weights.square() * own).sum()) * (square / others)


def _root(square: Tensor) -> Tensor:
    """The square root, 0 for what round-off has made negative, with derivative 0 there."""
    positive = square > 0.0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0 * square)
