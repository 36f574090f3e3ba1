"""Random Fourier features of stationary kernels, as a transformer."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arguments import check_whole
from mercer.arrays import as_tensor, generator
from mercer.config import require_memory
from mercer.kernels import features
from mercer.learn.inputs import check_data
from mercer.learn.kernel_transformer import KernelTransformer

__all__ = ["RandomFourier"]

_BLOCK = 1 << 21  # phases computed at once, in float64


class RandomFourier(KernelTransformer):
    r"""Random features whose dot products approximate a stationary kernel: for linear models on many rows, or streams.

    .. math:: \phi(x) = \sqrt{k(x, x) / m}\,[\cos \omega_i \cdot x, \sin \omega_i \cdot x]_{i = 1 .. m},
        \quad m = \text{n\_components} / 2

    Stands in for ``sklearn.kernel_approximation.RBFSampler``, whose arguments are the first three: the same kernel in
    expectation from other draws. Where that has one cosine of a random phase a frequency, this has a cosine and a sine
    for half as many frequencies, which is exact at x = y and has the smaller variance. An odd ``n_components`` ends in
    one cosine of a random phase, as there.

    Args:
        gamma: of the kernel "rbf", ``exp(-gamma |x - y|^2)``; "scale" is 1 / (d * variance of X).
        n_components: how many features; even is better.
        random_state: of the frequencies and of the phase.
        kernel: "rbf", "laplacian", or a stationary kernel of mercer or its text ("Matern(0.5)"), without gamma.
        method: how frequencies are drawn, "orthogonal", "iid" or "quasi"; see
            :class:`mercer.kernels.features.RandomFourier`.

    Attributes:
        frequencies_: ``(m, d)`` float64, in radians per unit of X.
        amplitudes_: ``(m,)`` float64.
        offset_: the random phase of the last cosine, in radians; None for an even ``n_components``.
        kernel_: the kernel as mercer has it.

    Raises:
        TypeError: in ``fit``, a kernel without a spectrum.
        ValueError: in ``fit``, ``n_components`` that is no whole number >= 1, or an unknown ``method``.

    Cost: ``n d m`` multiply-adds and ``n n_components`` sines in float64, whatever the type of X.
    Source: Rahimi & Recht, Random features for large-scale kernel machines (NIPS 2007), algorithm 1.

    >>> X = torch.linspace(0.0, 1.0, 50).reshape(-1, 1)
    >>> F = RandomFourier(n_components=1000, random_state=0).fit_transform(X)
    >>> float((F @ F.mT - torch.exp(-(X - X.mT) ** 2)).abs().max()) < 0.1
    True
    """

    def __init__(
        self,
        *,
        gamma: float | str = 1.0,
        n_components: int = 100,
        random_state: Any = None,
        kernel: Any = "rbf",
        method: str = "orthogonal",
    ) -> None:
        self.gamma = gamma
        self.n_components = n_components
        self.random_state = random_state
        self.kernel = kernel
        self.method = method

    def fit(self, X: Any, y: Any = None) -> Self:
        """Draw frequencies for points with as many columns as X.

        Args:
            X: ``(n, d)`` array, table, tensor or scipy sparse matrix; looked at only for ``gamma="scale"``.
            y: not used.
        """
        given = check_data(self, X, reset=True, accept_sparse=True)
        check_whole("n_components", self.n_components)
        self._gamma = self._gamma_of(given.points)
        self.kernel_ = self._resolved().kernel
        is_odd, draw = int(self.n_components) % 2, generator(self.random_state)
        drawn = features.RandomFourier(
            self.kernel_,
            int(self.n_components) + is_odd,
            d=self.n_features_in_,
            method=self.method,
            random_state=draw,
        )
        omega, weight = drawn.waves()
        self.frequencies_ = given.coefficients(omega.to(given.device))
        self.amplitudes_ = given.coefficients((2.0 * weight / self.n_components).sqrt().to(given.device))
        self.offset_ = 2.0 * math.pi * float(torch.rand((), generator=draw, dtype=torch.float64)) if is_odd else None
        return self

    def transform(self, X: Any) -> Any:
        """The features of the rows of X, ``(m, n_components)``: cosines, then sines."""
        check_is_fitted(self)
        given = check_data(self, X, reset=False, accept_sparse=True)
        omega, amplitudes = as_tensor(self.frequencies_), as_tensor(self.amplitudes_)
        n, m, n_features = len(given), len(omega), self._n_features_out
        dtype = torch.float64 if given.is_sparse and given.points.dtype == np.float64 else torch.float32
        dtype = dtype if given.is_sparse else given.points.dtype
        require_memory(
            n * n_features * dtype.itemsize, asked=f"{n_features} features of {n} rows", instead="Transform in parts."
        )
        result = torch.empty(n, n_features, dtype=dtype, device=omega.device)
        for i in range(0, n, max(1, _BLOCK // m)):
            rows = slice(i, min(i + max(1, _BLOCK // m), n))
            phase = _phases(given.points[rows], omega)  # (b, m); float64: phases of data far off 0 lose digits
            result[rows, m:] = phase[:, : n_features - m].sin() * amplitudes[: n_features - m]
            if self.offset_ is not None:
                phase[:, -1] += self.offset_
            result[rows, :m] = phase.cos() * amplitudes
        return given.answer(result)

    @property
    def _n_features_out(self) -> int:
        return 2 * int(self.amplitudes_.shape[0]) - (self.offset_ is not None)

    def _kernel_gamma(self) -> float:
        return self._gamma

    def _gamma_of(self, points: Any) -> float:
        if self.gamma != "scale":
            if not isinstance(self.gamma, Real) or not self.gamma >= 0.0:
                raise ValueError(f"gamma must be a number >= 0 or 'scale', not {self.gamma!r}.")
            return float(self.gamma)
        if isinstance(points, Tensor):
            variance = float(points.double().var(correction=0))
        else:
            variance = float(points.multiply(points).mean() - points.mean() ** 2)
        return 1.0 / (self.n_features_in_ * variance) if variance > 0.0 else 1.0


def _phases(points: Any, omega: Tensor) -> Tensor:
    if isinstance(points, Tensor):
        return points.to(omega) @ omega.mT
    return torch.from_numpy(np.asarray(points.astype("float64") @ omega.numpy().T))
