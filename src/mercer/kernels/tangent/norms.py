"""Norms whose second derivatives are right.

torch 2.13 gives wrong ones of ``layer_norm`` and ``instance_norm`` under ``vmap`` and ``jvp`` (first derivatives are
right): off by tens of percent. Gradients of an empirical NTK are second derivatives, so there both are written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["written_out"]


def written_out(is_wanted: bool) -> AbstractContextManager[Any]:
    """Inside, both norms are elementary operations, if wanted."""
    return _Norms() if is_wanted else nullcontext()


class _Norms(TorchFunctionMode):  # type: ignore[no-untyped-call,misc,unused-ignore]
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.layer_norm:
            return _layer_norm(*args, **(kwargs or {}))
        if func is functional.instance_norm:
            return _instance_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    scaled = _standardised(input, tuple(range(-len(normalized_shape), 0)), eps)
    scaled = scaled if weight is None else scaled * weight
    return scaled if bias is None else scaled + bias


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    shape = (-1, *(1 for _ in input.shape[2:]))
    if use_input_stats or running_mean is None or running_var is None:
        scaled = _standardised(input, tuple(range(2, input.dim())), eps)
    else:
        scaled = (input - running_mean.view(shape)) * (running_var.view(shape) + eps).rsqrt()
    scaled = scaled if weight is None else scaled * weight.view(shape)
    return scaled if bias is None else scaled + bias.view(shape)


def _standardised(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()
