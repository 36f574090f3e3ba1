"""Sketched features of polynomial kernels of many columns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.kernels.base import Kernel
from mercer.kernels.features.base import Features, require_count
from mercer.kernels.polynomial import Polynomial
from mercer.kernels.spectra import one_a_column


class TensorSketch(Features):
    r"""TensorSketch: a polynomial kernel's monomials, too many to write down, hashed into ``n_features`` sums.

    Each column of ``z = [x / lengthscale, sqrt(offset)]`` is added, with a random sign, to one of the r entries of a
    sketch ``C_k(z)``, for each of the p factors with a hash of its own; their circular convolution

    .. math:: \phi(x) = \mathrm{FFT}^{-1}\left(\prod_{k=1}^{p} \mathrm{FFT}(C_k(z))\right)

    is the same kind of sketch of all products of p columns. Unbiased; at degree 1 and offset 0 the variance is
    ``(|x|^2 |y|^2 + (x . y)^2 - 2 sum_j x_j^2 y_j^2) / r``. Exact features: :class:`ExactFeatures`.

    Args:
        kernel: :class:`mercer.kernels.Polynomial`.
        n_features: r.
        d: columns of the points.
        random_state: int, generator or None.

    Raises:
        TypeError: another kernel.

    Cost: ``n * p * (d + r log r)`` operations, whatever the number of monomials; memory ``2 n r`` numbers.
    Source: Pham & Pagh, Fast and scalable polynomial kernels via explicit feature maps (KDD 2013), section 4.

    >>> features = TensorSketch(mc.kernels.Polynomial(degree=2), 5000, d=2, random_state=0)
    >>> features(torch.tensor([[1.0, 0.0]])) @ features(torch.tensor([[1.0, 1.0]])).mT  # (1 + 1)^2
    tensor([[4.0000]])
    """

    def __init__(self, kernel: Kernel, n_features: int, *, d: int, random_state: Any = None) -> None:
        self.kernel, self.n_features, self.d, self.random_state = kernel, n_features, d, random_state
        self.check()

    def check(self) -> None:
        """Raise for an argument outside its domain; draw anew where another draw is asked for."""
        super().check()
        if not isinstance(self.kernel, Polynomial):
            raise TypeError(f"TensorSketch is of Polynomial, not of {self.kernel!r}.")
        require_count("TensorSketch", "d", self.d)
        require_count("TensorSketch", "n_features", self.n_features)
        asked = (self.kernel.degree, self.n_features, self.d, self.random_state)
        if asked != getattr(self, "_asked", None):
            self._asked = asked
            source, shape = generator(self.random_state), (self.kernel.degree, self.d + 1)
            self._entries = torch.randint(self.n_features, shape, generator=source)
            self._signs = 2.0 * torch.randint(2, shape, generator=source).to(torch.float64) - 1.0

    def compute(self, X: Tensor) -> Tensor:
        """Products of the transforms of the sketches, transformed back."""
        if X.numel() == 0:  # which the FFT refuses
            return X.new_zeros(*X.shape[:-1], self.n_features)
        lengthscale = one_a_column(self.kernel.hyperparameter("lengthscale"), self.d).to(X)
        level = self.kernel.hyperparameter("offset").sqrt().to(X).expand(*X.shape[:-1], 1)
        Z = torch.cat([X / lengthscale, level], -1)  # (*batch, n, d + 1)
        product: Tensor | None = None
        for entries, signs in zip(self._entries.to(X.device), self._signs.to(X), strict=True):
            sketch = X.new_zeros(*X.shape[:-1], self.n_features).index_add(-1, entries, Z * signs)
            transform = torch.fft.rfft(sketch)
            product = transform if product is None else product * transform
        features: Tensor = torch.fft.irfft(product, n=self.n_features)
        return features
