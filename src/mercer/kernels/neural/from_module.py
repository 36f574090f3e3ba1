"""Layers of infinite networks read from ``torch.nn`` modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from mercer.kernels.neural.layers import (
    GELU,
    Activation,
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

# With torch's default arguments; others are looked at above.
ELEMENTWISE: dict[type[nn.Module], str] = {
    nn.Tanh: "tanh",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.Sigmoid: "sigmoid",
    nn.LogSigmoid: "logsigmoid",
    nn.Softsign: "softsign",
    nn.SELU: "selu",
}
READ = (
    "Linear, Conv1d, Conv2d, ReLU, ReLU6, LeakyReLU, GELU, "
    + ", ".join(kind.__name__ for kind in ELEMENTWISE)
    + ", AvgPool, AdaptiveAvgPool(1), Flatten, LayerNorm, Dropout, Sequential"
)


def layers_of(module: nn.Module, path: str = "") -> list[Any]:
    """The layers of a module.

    Raises:
        ValueError: the first module that has no closed form, or is not understood.
    """
    where = f"from_module: {path or 'the module'}, {type(module).__name__}"
    match module:
        case nn.Sequential():
            if type(module).forward is not nn.Sequential.forward:
                raise ValueError(f"{where}: it has a forward of its own. Write it as a plain nn.Sequential.")
            layers = [layer for name, part in module.named_children() for layer in layers_of(part, f"{path}[{name}]")]
            if not path:
                _require_flatten(layers)
            return layers
        case nn.Identity() | nn.modules.dropout._DropoutNd():
            return []
        case nn.Linear():
            return [Dense(None, None if module.bias is not None else 0.0)]
        case nn.Conv1d() | nn.Conv2d():
            return [_convolution(module, where)]
        case nn.ReLU6():  # a Hardtanh to torch
            return [Activation("relu6")]
        case nn.ReLU():
            return [ReLU()]
        case nn.LeakyReLU():
            return [LeakyReLU(module.negative_slope)]
        case nn.GELU():
            return [GELU()] if module.approximate == "none" else [Activation("gelu_tanh")]
        case nn.AvgPool1d() | nn.AvgPool2d():
            if _one(module.padding, where) or module.ceil_mode or getattr(module, "divisor_override", None):
                raise ValueError(f"{where}: padding, ceil_mode and divisor_override are not supported. Leave them out.")
            return [AvgPool(_one(module.kernel_size, where), _one(module.stride, where))]
        case nn.AdaptiveAvgPool1d() | nn.AdaptiveAvgPool2d():
            if _one(module.output_size, where) != 1:
                raise ValueError(f"{where}: only output_size=1, the mean over all positions, has a layer here.")
            return [GlobalAvgPool()]
        case nn.Flatten():
            if (module.start_dim, module.end_dim) != (1, -1):
                raise ValueError(f"{where}: only all axes but the first are flattened together. Use nn.Flatten().")
            return [Flatten()]
        case nn.LayerNorm():
            return [LayerNorm(module.eps)]
    for kind, name in ELEMENTWISE.items():
        if type(module) is kind:
            return [Activation(name)]
    advice = next((text for key, text in ADVICE.items() if key in type(module).__name__.lower()), None)
    raise ValueError(f"{where}: {advice or f'there is no layer for it. Read are {READ}'}.")


def _require_flatten(layers: Sequence[Any]) -> None:
    """Raise where torch's Linear would act on the last axis of images, and a dense layer on their channels."""
    are_positions = False
    for layer in layers:
        if isinstance(layer, Conv | AvgPool):
            are_positions = True
        elif isinstance(layer, Flatten | GlobalAvgPool):
            are_positions = False
        elif isinstance(layer, Dense) and are_positions:
            raise ValueError(
                "from_module: a Linear follows convolutions without nn.Flatten() before it, so it acts on the last "
                "axis of the positions, which has no layer here. Put nn.Flatten() in front, or take a convolution."
            )


def _convolution(module: nn.Conv1d | nn.Conv2d, where: str) -> Conv:
    size, stride = _one(module.kernel_size, where), _one(module.stride, where)
    if module.groups != 1 or _one(module.dilation, where) != 1:
        raise ValueError(f"{where}: groups and dilation have no layer here. Use groups=1, dilation=1.")
    padding = module.padding
    if padding == "valid" or (not isinstance(padding, str) and not any(padding)):
        return Conv(size, stride, "valid", None, None if module.bias is not None else 0.0)
    if module.padding_mode not in ("zeros", "circular"):
        raise ValueError(
            f"{where}: padding_mode={module.padding_mode!r} has no layer here. Use 'zeros' or 'circular', or padding=0."
        )
    if padding != "same" and not (2 * _one(padding, where) == size - 1 and stride == 1):
        raise ValueError(
            f"{where}: padding={padding!r} has no layer here. Use 0, or (size - 1) / 2 at stride 1. Conv({size}, "
            f"{stride}) of mercer.kernels.neural.layers pads so that windows end at the last position: of 4 positions, "
            f"with size 3 and stride 2, it sees 0 1 2 and 2 3 _, torch with padding=1 _ 0 1 and 1 2 3."
        )
    kind = "circular" if module.padding_mode == "circular" else "same"
    return Conv(size, stride, kind, None, None if module.bias is not None else 0.0)


def _one(value: Any, where: str) -> int:
    """A number that is the same along every axis."""
    values = set(value) if isinstance(value, tuple | list) else {value}
    if len(values) != 1:
        raise ValueError(f"{where}: {value!r} differs between the axes, which has no layer here. Use one number.")
    return int(values.pop())
