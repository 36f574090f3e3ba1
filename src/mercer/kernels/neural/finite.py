"""Networks of finite width, drawn as the kernels assume: what they are the limit of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mercer.arrays import generator
from mercer.errors import ShapeError
from mercer.kernels.neural.layers import Conv, Flatten, GlobalAvgPool, LayerNorm, Residual, Unit, Weighted
from mercer.kernels.neural.shapes import needs_positions, pads, positions_after
from mercer.kernels.parameters import is_count

PARAMETRIZATIONS = ("ntk", "standard")


class ScaledLayer(nn.Module):
    """A dense layer or convolution whose standard normal weights are scaled in the forward pass."""

    def __init__(
        self, layer: Weighted, fan_in: int, out: int, sigmas: tuple[float, float], ntk: bool, n_axes: int
    ) -> None:
        super().__init__()
        self.layer, self.n_axes = layer, n_axes
        size = layer.size if isinstance(layer, Conv) else 1
        window = (size,) * n_axes
        sigma_w, sigma_b = (
            theirs if own is None else own for own, theirs in zip((layer.sigma_w, layer.sigma_b), sigmas, strict=True)
        )
        scales = sigma_w / math.sqrt(fan_in * size**n_axes), sigma_b
        self.scales = scales if ntk else (1.0, 1.0)
        self._drawn = (1.0, 1.0) if ntk else scales
        self.weight = nn.Parameter(torch.empty(out, fan_in, *window))
        self.bias = nn.Parameter(torch.empty(out))

    def draw(self, generator: torch.Generator) -> None:
        """New weights and biases."""
        with torch.no_grad():
            for parameter, scale in zip((self.weight, self.bias), self._drawn, strict=True):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, *positions)``."""
        weight, bias = self.weight * self.scales[0], self.bias * self.scales[1]
        if self.n_axes == 0:
            return functional.linear(x, weight, bias)
        convolve = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[self.n_axes]
        layer = self.layer
        if not isinstance(layer, Conv):
            return convolve(x, weight, bias)
        around = [pads(n, layer.size, layer.stride, layer.padding) for n in x.shape[2:]]
        widths = [n for pair in reversed(around) for n in pair]
        padded = functional.pad(x, widths, mode="circular" if layer.padding == "circular" else "constant")
        return convolve(padded, weight, bias, stride=layer.stride)


class Elementwise(nn.Module):
    """An activation, a pool, a norm: what has no parameters."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, *positions)``."""
        layer = self.layer
        if isinstance(layer, Unit):
            return layer.function(x)
        if isinstance(layer, Flatten):
            return x.flatten(1)
        if isinstance(layer, GlobalAvgPool):
            return x.flatten(2).mean(2)
        if isinstance(layer, LayerNorm):
            centred = x - x.mean(1, keepdim=True)
            return centred * (centred.square().mean(1, keepdim=True) + layer.eps).rsqrt()
        pool = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}[x.dim() - 2]
        return pool(x, layer.size, layer.step)


class Shaped(nn.Sequential):
    """A network of images that takes them as rows too."""

    def __init__(self, shape: tuple[int, ...], modules: Iterable[nn.Module]) -> None:
        super().__init__(*modules)
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, *positions)``, or ``(n, d)``."""
        if tuple(x.shape[1:]) not in (self.shape, (math.prod(self.shape),)):
            raise ShapeError(
                f"finite: the network takes points of shape {self.shape}, or rows of {math.prod(self.shape)} numbers, "
                f"but X has shape {tuple(x.shape)}."
            )
        x = x.reshape(len(x), *self.shape)
        for module in self:
            x = module(x)
        return x


class Sum(nn.Module):
    """A branch and a shortcut."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Both added."""
        total: Tensor = self.branch(x) + self.shortcut(x)
        return total


def build(
    layers: Sequence[Any],
    width: int,
    out_features: int,
    *,
    in_features: int,
    sigmas: tuple[float, float],
    parametrization: str,
    random_state: Any,
    positions: Sequence[int] = (),
) -> nn.Module:
    """What :meth:`mercer.kernels.InfiniteNetwork.finite` gives."""
    for name, value in (("width", width), ("out_features", out_features), ("in_features", in_features)):
        if not is_count(value):
            raise ValueError(f"finite({name}={value!r}): {name} is a whole number >= 1.")
    if parametrization not in PARAMETRIZATIONS:
        raise ValueError(f"finite(parametrization={parametrization!r}): it is one of {', '.join(PARAMETRIZATIONS)}.")
    if needs_positions(layers) and not positions:
        raise ValueError("finite: a network with convolutions needs to know its positions. Give it shape=(...).")
    last = [layer for layer in layers if isinstance(layer, Weighted | Residual)][-1]
    builder = _Builder(width, out_features, sigmas, parametrization == "ntk", last)
    network: nn.Sequential = builder.sequence(layers, in_features, tuple(positions))[0]
    draw = generator(random_state)
    if positions:
        network = Shaped((in_features, *positions), network)
    for module in network.modules():
        if isinstance(module, ScaledLayer):
            module.draw(draw)
    return network


class _Builder:
    def __init__(self, width: int, out: int, sigmas: tuple[float, float], ntk: bool, last: Any) -> None:
        self.width, self.out, self.sigmas, self.ntk, self.last = width, out, sigmas, ntk, last

    def sequence(
        self, layers: Sequence[Any], channels: int, positions: tuple[int, ...], inside: bool = False
    ) -> tuple[nn.Sequential, int, tuple[int, ...]]:
        """The module, its channels and its positions."""
        modules: list[nn.Module] = []
        for layer in layers:
            if isinstance(layer, Weighted):
                out = self.out if layer is self.last and not inside else self.width
                modules.append(ScaledLayer(layer, channels, out, self.sigmas, self.ntk, len(positions)))
                channels = out
            elif isinstance(layer, Residual):
                branch, width, _ = self.sequence(layer.layers, channels, positions, True)
                shortcut, _, _ = self.sequence(layer.shortcut, channels, positions, True)
                modules.append(Sum(branch, shortcut))
                channels = width
            else:
                modules.append(Elementwise(layer))
                if isinstance(layer, Flatten):
                    for n in positions:
                        channels *= n
            positions = positions_after([layer], positions)
        return nn.Sequential(*modules), channels, positions
