"""Layers whose weights have gradients that are products of what goes in and what comes back.

For a layer ``z = W a`` the gradient in W is the outer product of the derivative g in z and of a, summed over positions
(windows of a convolution, tokens). Inner products of such gradients need no gradient: ``(a . a') (g . g')``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mercer.kernels.neural.finite import ScaledLayer
from mercer.kernels.neural.layers import Conv
from mercer.kernels.neural.shapes import pads

__all__ = ["Call", "Layer", "backward_rows", "has_products", "inputs_of"]


@dataclass(frozen=True)
class Layer:
    """A layer with such gradients.

    Attributes:
        path: of the module in the network.
        weight, bias: names of its parameters, None where it does not take part.
    """

    path: str
    weight: str | None
    bias: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters that take part."""
        return tuple(name for name in (self.weight, self.bias) if name is not None)


@dataclass(frozen=True)
class Call:
    """One use of a layer in a forward pass: which layer, and the shape of its output for one row.

    Attributes:
        layer: its place among the network's.
        shape: of the output, without the rows.
        n_in, n_out, n_positions: numbers that go in and come out at a position, and positions.
    """

    layer: int
    shape: tuple[int, ...]
    n_in: int
    n_out: int
    n_positions: int


def has_products(module: nn.Module) -> bool:
    """Whether the layer is one of those read here; whether its weights are used in no other way is seen later."""
    if isinstance(module, ScaledLayer):
        return module.n_axes <= 2
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return module.groups == 1
    return isinstance(module, nn.Linear)


def inputs_of(module: Any, layer: Layer, x: Tensor) -> Tensor:
    """What multiplies the weights at each position, ``(n, positions, in)``; a bias is the weight of a constant."""
    scales = module.scales if isinstance(module, ScaledLayer) else (1.0, 1.0)
    parts = []
    if layer.weight is not None:
        a = _windows(module, x)
        parts.append(a if scales[0] == 1.0 else a * scales[0])
    if layer.bias is not None:
        positions = parts[0].shape[1] if parts else _windows(module, x).shape[1]
        parts.append(x.new_full((len(x), positions, 1), scales[1]))
    return torch.cat(parts, 2) if len(parts) > 1 else parts[0]


def backward_rows(module: Any, g: Tensor) -> Tensor:
    """Derivatives in a layer's output ``(o, n, *shape)`` as ``(o, n, positions, out)``."""
    if isinstance(module, nn.Linear) or (isinstance(module, ScaledLayer) and module.n_axes == 0):
        return g.reshape(*g.shape[:2], -1, g.shape[-1])
    return g.flatten(3).mT


def gradients(a: Tensor, g: Tensor, layer: Layer, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradients themselves, ``(o, n, *shape)`` each: for checks and small cases."""
    whole = g.mT @ a  # (o, n, out, in)
    found, width = {}, whole.shape[-1]
    if layer.bias is not None:
        width -= 1
        found[layer.bias] = whole[..., width]
    if layer.weight is not None:
        shape = parameters[layer.weight].shape
        found[layer.weight] = whole[..., :width].reshape(*whole.shape[:2], *shape)
    return found


def _windows(module: Any, x: Tensor) -> Tensor:
    """``(n, positions, in)``."""
    if isinstance(module, nn.Linear) or (isinstance(module, ScaledLayer) and module.n_axes == 0):
        return x.reshape(len(x), -1, x.shape[-1])
    if isinstance(module, ScaledLayer):
        layer = module.layer
        if not isinstance(layer, Conv):
            return x.flatten(2).mT
        around = [pads(n, layer.size, layer.stride, layer.padding) for n in x.shape[2:]]
        widths = [n for pair in reversed(around) for n in pair]
        x = functional.pad(x, widths, mode="circular" if layer.padding == "circular" else "constant")
        axes = module.n_axes
        size, stride, dilation = (layer.size,) * axes, (layer.stride,) * axes, (1,) * axes
    else:
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        x = functional.pad(x, module._reversed_padding_repeated_twice, mode=mode)
        size, stride, dilation = module.kernel_size, module.stride, module.dilation
    if x.dim() == 3:  # a sequence as an image of one line
        x, size, stride, dilation = x.unsqueeze(2), (1, *size), (1, *stride), (1, *dilation)
    return functional.unfold(x, size, dilation=dilation, stride=stride).mT
