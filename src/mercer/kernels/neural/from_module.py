"""Layers of infinite networks read from ``torch.nn`` modules."""

from __future__ import annotations

from typing import Any

from torch import nn

from mercer.kernels.neural.layers import (
    GELU,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    LayerNorm,
    LeakyReLU,
    ReLU,
)
from mercer.kernels.neural.shapes import ADVICE

READ = "Linear, Conv1d, Conv2d, ReLU, LeakyReLU, GELU, AvgPool, AdaptiveAvgPool(1), Flatten, LayerNorm, Sequential"


def layers_of(module: nn.Module, path: str = "") -> list[Any]:
    """The layers of a module.

    Raises:
        ValueError: the first module that has no closed form, or is not understood.
    """
    where = f"from_module: {path or 'the module'}, {type(module).__name__}"
    match module:
        case nn.Sequential():
            return [layer for name, child in module.named_children() for layer in layers_of(child, f"{path}[{name}]")]
        case nn.Identity() | nn.Dropout() | nn.Dropout2d():
            return []
        case nn.Linear():
            return [Dense(None, None if module.bias is not None else 0.0)]
        case nn.Conv1d() | nn.Conv2d():
            return [_convolution(module, where)]
        case nn.ReLU():
            return [ReLU()]
        case nn.LeakyReLU():
            return [LeakyReLU(module.negative_slope)]
        case nn.GELU():
            if module.approximate != "none":
                raise ValueError(f"{where}: the tanh approximation has no closed form. Use GELU(), its exact form.")
            return [GELU()]
        case nn.AvgPool1d() | nn.AvgPool2d():
            size, stride = _one(module.kernel_size, where), _one(module.stride, where)
            if _one(module.padding, where) or module.ceil_mode:
                raise ValueError(f"{where}: padding and ceil_mode are not supported. Leave them out.")
            return [AvgPool(size, stride)]
        case nn.AdaptiveAvgPool1d() | nn.AdaptiveAvgPool2d():
            if _one(module.output_size, where) != 1:
                raise ValueError(f"{where}: only output_size=1, the mean over all positions, has a layer here.")
            return [GlobalAvgPool()]
        case nn.Flatten():
            return [Flatten()]
        case nn.LayerNorm():
            return [LayerNorm(module.eps)]
    advice = next((text for key, text in ADVICE.items() if key in type(module).__name__.lower()), None)
    raise ValueError(f"{where}: {advice or f'there is no layer for it. Read are {READ}'}.")


def _convolution(module: nn.Conv1d | nn.Conv2d, where: str) -> Conv:
    size, stride = _one(module.kernel_size, where), _one(module.stride, where)
    if module.groups != 1 or _one(module.dilation, where) != 1:
        raise ValueError(f"{where}: groups and dilation have no layer here. Use groups=1, dilation=1.")
    padding = module.padding
    if padding == "same" or (
        not isinstance(padding, str) and 2 * _one(padding, where) == size - 1 and size > 1 and stride == 1
    ):
        kind = "circular" if module.padding_mode == "circular" else "same"
    elif padding == "valid" or not any(padding):
        kind = "valid"
    else:
        raise ValueError(f"{where}: padding={padding!r} has no layer here. Use 0, or (size - 1) / 2 at stride 1.")
    return Conv(size, stride, kind, None, None if module.bias is not None else 0.0)


def _one(value: Any, where: str) -> int:
    """A number that is the same along every axis."""
    values = set(value) if isinstance(value, tuple | list) else {value}
    if len(values) != 1:
        raise ValueError(f"{where}: {value!r} differs between the axes, which has no layer here. Use one number.")
    return int(values.pop())
