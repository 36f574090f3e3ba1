"""An architecture written once: its kernels of infinite width, and the same network at any width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mercer.kernels.neural.finite import build
from mercer.kernels.neural.from_module import layers_of
from mercer.kernels.neural.kernel import NetworkKernel
from mercer.kernels.parameters import Value

__all__ = ["InfiniteNetwork"]


class InfiniteNetwork:
    """A network of infinitely many units a layer.

    Args:
        layers: of :mod:`mercer.kernels.neural.layers`, in order, each an argument.
        sigma_w: standard deviation of the weights, relative to 1 / sqrt(fan in); where a layer has none of its own.
        sigma_b: standard deviation of the biases.
        shape: of one input, channels first, for images and sequences that come as flat rows (as estimators want them).

    Attributes:
        ntk: the neural tangent kernel, an ordinary :class:`mercer.kernels.Kernel`.
        nngp: the kernel of the Gaussian process that the network is before training.

    Raises:
        TypeError: no layers, or something that is no layer; the message names what to use instead.
        ValueError: layers without a closed form in this order.
        ShapeError: layers that do not fit ``shape``.

    >>> from mercer.kernels.neural.layers import Conv, Dense, GlobalAvgPool, ReLU
    >>> network = InfiniteNetwork(Conv(3), ReLU(), GlobalAvgPool(), Dense(), sigma_w=2**0.5)
    >>> network.ntk(torch.ones(2, 1, 4, 4)).to_dense()
    tensor([[1.9150, 1.9150],
            [1.9150, 1.9150]])
    """

    def __init__(
        self, *layers: Any, sigma_w: Value = 1.0, sigma_b: Value = 0.1, shape: Sequence[int] | None = None
    ) -> None:
        self.layers, self.sigma_w, self.sigma_b, self.shape = list(layers), sigma_w, sigma_b, shape
        self.ntk = NetworkKernel(self.layers, "ntk", shape, sigma_w, sigma_b)
        self.nngp = NetworkKernel(self.layers, "nngp", shape, sigma_w, sigma_b)

    @classmethod
    def from_module(
        cls,
        module: torch.nn.Module,
        *,
        sigma_w: Value = 1.0,
        sigma_b: Value = 0.1,
        shape: Sequence[int] | None = None,
    ) -> InfiniteNetwork:
        """The same architecture as a ``torch.nn.Sequential``, of any widths; its weights are not looked at.

        Dropout is left out, as in evaluation. A layer without bias has sigma_b = 0. Tanh, SiLU and the like go by
        quadrature (``Activation``).

        Raises:
            ValueError: the first module without a closed form, with what to use instead.

        >>> from torch import nn
        >>> InfiniteNetwork.from_module(nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 1)))
        InfiniteNetwork(Dense(sigma_w=None, sigma_b=None), GELU(), Dense(sigma_w=None, sigma_b=None), sigma_w=1.0, \
sigma_b=0.1)
        """
        return cls(*layers_of(module), sigma_w=sigma_w, sigma_b=sigma_b, shape=shape)

    def finite(
        self,
        width: int,
        out_features: int = 1,
        *,
        in_features: int | None = None,
        parametrization: str = "ntk",
        random_state: Any = None,
    ) -> torch.nn.Module:
        """The network with ``width`` units or channels a layer, drawn at random, in float32.

        Args:
            width: of every layer with weights but the last.
            out_features: of the last one.
            in_features: columns of X; of images the channels, which the network's ``shape`` says as well.
            parametrization: "ntk" draws standard normal weights and scales them in the forward pass, as the kernel is
                defined; "standard" stores them scaled, so that training changes wide layers more.
            random_state: int, generator or None.

        Raises:
            ValueError: a width below 1, an unknown parametrization.

        >>> from mercer.kernels.neural.layers import Dense, ReLU
        >>> network = InfiniteNetwork(Dense(), ReLU(), Dense())
        >>> network.finite(64, in_features=3, random_state=0)(torch.ones(5, 3)).shape
        torch.Size([5, 1])
        """
        if in_features is None:
            if self.shape is None:
                raise ValueError("finite: say how many columns X has: finite(width, in_features=...).")
            in_features = self.shape[0]
        return build(
            self.layers,
            width,
            out_features,
            in_features=in_features,
            positions=() if self.shape is None else self.shape[1:],
            sigmas=(float(self.ntk.hyperparameter("sigma_w")), float(self.ntk.hyperparameter("sigma_b"))),
            parametrization=parametrization,
            random_state=random_state,
        )

    def __repr__(self) -> str:
        shape = "" if self.shape is None else f", shape={self.shape!r}"
        layers = "".join(f"{layer!r}, " for layer in self.layers)
        return f"{type(self).__name__}({layers}sigma_w={self.sigma_w!r}, sigma_b={self.sigma_b!r}{shape})"
