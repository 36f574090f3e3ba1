"""Random Fourier features of stationary kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer.kernels.base import Kernel
from mercer.kernels.draws import draw
from mercer.kernels.features.base import Features, require_count, require_method
from mercer.kernels.spectral_measure import Frequencies


class RandomFourier(Features):
    r"""Random Fourier features: a stationary kernel as an average of waves, drawn from its spectral density.

    .. math:: \phi(x) = \sqrt{\tfrac{k(x, x)}{m}} \left[\cos \omega_1 \cdot x, \ldots, \cos \omega_m \cdot x,
        \sin \omega_1 \cdot x, \ldots, \sin \omega_m \cdot x\right]

    so that <phi(x), phi(y)> is the mean of ``k(x, x) * cos(omega_i . (x - y))``: unbiased for every method, and exact
    at x = y. With independent frequencies its variance is ``(1 + k(2 r) - 2 k(r)^2) / (2 m)`` for k(0) = 1 and
    r = x - y. A phase ``omega . x`` is as exact as X is in its dtype: data far off their centre lose digits, so centre
    them.

    Args:
        kernel: a stationary kernel (:meth:`mercer.kernels.Kernel.spectrum`): RBF, Matern of any nu, RationalQuadratic,
            Laplacian, Constant, their sums, multiples, products, powers, and kernels of some columns.
        n_features: 2 m, even.
        d: columns of the points.
        method: "orthogonal" frequencies in blocks of d (lower variance while m is a small multiple of d; the default),
            "iid", or "quasi" (a scrambled Sobol sequence: much lower error in few dimensions; best with m a power
            of 2). Kernels whose frequencies are not of radial distribution are drawn through normal numbers, which are
            orthogonal then.
        random_state: int, generator or None; the same frequencies on every device.

    Raises:
        TypeError: the kernel has no spectrum.
        ValueError: an odd number of features, or an unknown method.

    Cost: ``n * d * m`` multiply-adds and ``2 n m`` sines; memory ``n * 3 m`` numbers.
    Source: Rahimi & Recht, Random features for large-scale kernel machines (NIPS 2007), algorithm 1; variance:
    Sutherland & Schneider, On the error of random Fourier features (UAI 2015), eq. 4; orthogonal: Yu et al., Orthogonal
    random features (NIPS 2016).

    >>> features = RandomFourier(mc.kernels.RBF(lengthscale=2.0), 4096, d=3, random_state=0)
    >>> features(torch.zeros(1, 3)) @ features(torch.ones(1, 3)).mT  # the kernel: 0.6873
    tensor([[0.68...]])
    """

    def __init__(
        self, kernel: Kernel, n_features: int, *, d: int, method: str = "orthogonal", random_state: Any = None
    ) -> None:
        self.kernel, self.n_features, self.d, self.method = kernel, n_features, d, method
        self.random_state = random_state
        self.check()

    def check(self) -> None:
        """Raise for an argument outside its domain; draw anew where another draw is asked for."""
        require_count("RandomFourier", "d", self.d)
        require_count("RandomFourier", "n_features", self.n_features, multiple=2)
        require_method("RandomFourier", self.method)
        spectrum = self.kernel.spectrum(self.d)
        asked = (self.n_features, spectrum.widths, spectrum.n_uniforms, self.method, self.random_state)
        if asked != getattr(self, "_asked", None):
            self._asked = asked
            m, widths, n_uniforms = self.n_features // 2, spectrum.widths, spectrum.n_uniforms
            self._draws = draw(m, widths, n_uniforms, method=self.method, random_state=self.random_state)

    @property
    def frequencies(self) -> Tensor:
        """The angular frequencies ``(m, d)``, float64, at the present hyperparameters."""
        return self.waves().omega

    def waves(self) -> Frequencies:
        """The angular frequencies, and k(x, x) as each stands for it, ``(m,)``; float64."""
        return self.kernel.spectrum(self.d).frequencies(*self._draws)

    def compute(self, X: Tensor) -> Tensor:
        """Cosines, then sines."""
        omega, weight = self.waves()
        phase = X @ omega.to(X).mT  # (*batch, n, m)
        amplitude = (2.0 * weight / self.n_features).sqrt().to(X)
        return torch.cat([phase.cos() * amplitude, phase.sin() * amplitude], -1)
