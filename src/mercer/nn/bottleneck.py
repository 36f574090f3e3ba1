"""The three-layer network with a bottleneck of width one and a residual link."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mercer.arguments import check_whole
from mercer.arrays import as_tensor, generator
from mercer.errors import ShapeError
from mercer.kernels.neural.activations import Unit, as_unit, hermite_degree, hermite_sum

__all__ = ["BottleneckResidualMLP"]


class BottleneckResidualMLP(nn.Module):
    r"""Three layers with one number between the second and the third.

    .. math:: f(x) = g(x) + \sum_i c_i \, \sigma_1(a_i t - b_i), \quad t = \frac{g(x) - \mu}{s}, \quad
        g(x) = \sum_j u_j \, \sigma_2(\langle v_j, x \rangle + s_j) / \sqrt{m}

    V (rows uniform on the unit sphere), its biases, a (signs) and b are random and frozen; u and c start at 0 and are
    what :func:`mercer.nn.training.train_layerwise` learns. t is g standardised, which the paper leaves out: ridge
    shrinks g, and all knots b would lie beyond its values. Training sets mean, scale and knots; until then they are 0,
    1 and normal draws.

    Args:
        in_features: d.
        width_inner: m, units of the first layer.
        width_outer: units of the link.
        activation_inner: "hermite2", "hermite3", ...: the sum of normalised Hermite polynomials up to that degree,
            without biases; or a name or layer of :mod:`mercer.kernels.neural.layers`, with standard normal biases.
        activation_outer: such a name or layer.
        random_state: of the frozen weights.

    Raises:
        ValueError: sizes below 1, or an unknown activation.

    Source: Wang, Nichani & Lee, Learning hierarchical polynomials with three-layer neural networks (ICLR 2024, arXiv
    2311.13774), from memory of it.

    >>> BottleneckResidualMLP(5, 100, 20)(torch.zeros(3, 5)).detach()
    tensor([0., 0., 0.])
    """

    V: Tensor
    inner_bias: Tensor
    a: Tensor
    b: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        in_features: int,
        width_inner: int,
        width_outer: int,
        activation_inner: str | Unit = "hermite3",
        activation_outer: str | Unit = "relu",
        *,
        random_state: Any = 0,
    ) -> None:
        super().__init__()
        sizes = {"in_features": in_features, "width_inner": width_inner, "width_outer": width_outer}
        for name, value in sizes.items():
            check_whole(f"BottleneckResidualMLP: {name}", value)
        in_features, width_inner, width_outer = map(int, sizes.values())
        self.in_features = in_features
        degree = hermite_degree(activation_inner)
        self.inner = as_unit(activation_inner) if degree is None else hermite_sum(degree)
        self.outer = as_unit(activation_outer)
        draw = generator(random_state)
        V = torch.randn(width_inner, in_features, generator=draw)
        bias = torch.randn(width_inner, generator=draw)
        self.register_buffer("V", V / V.square().sum(1, keepdim=True).sqrt())
        self.register_buffer("inner_bias", bias if degree is None else torch.zeros_like(bias))
        self.register_buffer("a", 2.0 * torch.randint(0, 2, (width_outer,), generator=draw) - 1.0)
        self.register_buffer("b", torch.randn(width_outer, generator=draw))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        self.u = nn.Parameter(torch.zeros(width_inner))
        self.c = nn.Parameter(torch.zeros(width_outer))

    def hidden(self, X: Any) -> Tensor:
        """The first layer ``(n, width_inner)``, over the root of its width, of numbers ``(n, in_features)``."""
        X = as_tensor(X, dtype=self.V.dtype, device=self.V.device)
        if X.dim() != 2 or X.shape[1] != self.in_features:
            raise ShapeError(f"BottleneckResidualMLP: X must be (n, {self.in_features}), not {tuple(X.shape)}.")
        features: Tensor = self.inner.function(X @ self.V.mT + self.inner_bias) * len(self.V) ** -0.5
        return features

    def bottleneck(self, X: Any) -> Tensor:
        """g, ``(n,)``: what the first stage of training learns."""
        return self.hidden(X) @ self.u

    def units(self, g: Tensor) -> Tensor:
        """The units of the link ``(n, width_outer)`` at values of the bottleneck ``(n,)``."""
        t = (g - self.mean) / self.scale
        return self.outer.function(self.a * t[:, None] - self.b)

    def forward(self, X: Any) -> Tensor:
        """f, ``(n,)``."""
        g = self.bottleneck(X)
        return g + self.units(g) @ self.c
