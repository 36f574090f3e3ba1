"""Weights of the papers' own code in mercer's layers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from mercer.nn.convolution.dense_kernel import LongConvKernel
from mercer.nn.convolution.s4d_kernel import S4DKernel

__all__ = ["from_gconv", "from_s4d", "from_safari"]

Layer = TypeVar("Layer", bound=torch.nn.Module)


def from_safari(cls: type[Layer], state_dict: Mapping[str, Tensor], **options: Any) -> Layer:
    """A long convolution of HazyResearch/safari; see :meth:`LongConv.from_official`."""
    weights = dict(state_dict)
    D = _take(weights, "D", "LongConv")
    name = "kernel.kernel" if "kernel.kernel" in weights else "kernel"
    k = _take(weights, name, "LongConv")
    n_heads, (C, H) = k.shape[0], D.shape
    is_standalone = name == "kernel"
    if is_standalone:
        L = k.shape[-1] // 2
        k = torch.cat([k[..., :L], k[..., L:].flip(-1)])
    elif n_heads not in (C, 2 * C):
        raise ValueError(f"from_official: {n_heads} kernels a channel do not go with D {tuple(D.shape)}.")
    causal = k.shape[0] == C
    size = float(k.square().mean().sqrt()) or 1.0  # what a squash must not exceed by much, whatever they started from
    settings = {"squash": None, "dropout": 0.0, "init_std": size, **options.pop("kernel_options", {})}
    kernel = partial(LongConvKernel, **settings)
    layer = cls(H, k.shape[-1], kernel=kernel, causal=causal, heads=C, output=_output_kind(weights, H), **options)
    return _load(layer, {"D": D, "kernel.kernel": k, **weights})


def from_s4d(cls: type[Layer], state_dict: Mapping[str, Tensor], *, length: int, **options: Any) -> Layer:
    """The minimal S4D of state-spaces/s4; see :meth:`LongConv.from_official`."""
    weights = dict(state_dict)
    D = _take(weights, "D", "LongConv")
    renamed = {"log_dt": "log_dt", "C": "C", "log_A_real": "log_w_real", "A_imag": "w_imag"}
    found = {f"kernel.{ours}": _take(weights, f"kernel.{theirs}", "LongConv") for theirs, ours in renamed.items()}
    found["kernel.C"] = found["kernel.C"].unsqueeze(0)
    # Its map is a convolution of width 1.
    weights = {name: w.squeeze(-1) if name.endswith("weight") else w for name, w in weights.items()}
    kernel = partial(S4DKernel, state_dim=2 * found["kernel.w_imag"].shape[-1], **options.pop("kernel_options", {}))
    layer = cls(len(D), length, kernel=kernel, output=_output_kind(weights, len(D)), **options)
    return _load(layer, {"D": D.unsqueeze(0), **found, **weights})


def from_gconv(
    cls: type[Layer], state_dict: Mapping[str, Tensor], *, length: int | None = None, **options: Any
) -> Layer:
    """A GConv of ctlllll/SGConv; see :meth:`SGConv.from_official`."""
    weights = dict(state_dict)
    D = _take(weights, "D", "SGConv")
    parts = [weights.pop(f"kernel_list.{i}") for i in range(sum(name.startswith("kernel_list.") for name in weights))]
    if not parts:
        raise ValueError("from_official: there is no kernel_list.0, so these are not the weights of a GConv.")
    (C, H), (n_heads, _, d) = D.shape, parts[0].shape
    if n_heads not in (C, 2 * C):
        raise ValueError(f"from_official: {n_heads} kernels a channel do not go with D {tuple(D.shape)}.")
    settings: dict[str, Any] = {"kernel_dim": d, **options}
    multiplier, power = weights.pop("multiplier", None), weights.pop("decay", None)
    if power is not None:
        settings.setdefault("power", 1.0)
    elif multiplier is not None:
        settings["decay"] = (float(multiplier.min()), float(multiplier.max()))
    basis = weights.pop("eigvecs", None)
    if basis is not None:
        settings |= {"layout": "hankel", "reference": True}
    if length is None:
        if options.get("resample"):
            raise ValueError("SGConv.from_official: a kernel that is resampled needs length=, its l_max.")
        uncut = d << (len(parts) - 1 + options.get("init_scale", 0))
        length = uncut if basis is None else basis.shape[-1]
    norm = weights.pop("kernel_norm", None)
    is_set = bool(weights.pop("kernel_norm_initialized", torch.tensor(True)))
    output = _output_kind(weights, H)
    layer = cls(H, length, causal=n_heads == C, heads=C, output=output, **settings)
    kernel: Any = layer.kernel
    if len(kernel.kernel_list) != len(parts):
        raise ValueError(
            f"from_official: {len(parts)} scales of {d} numbers do not make length={length} with init_scale="
            f"{kernel.init_scale}: that takes {len(kernel.kernel_list)}. Give l_max and init_scale as in training."
        )
    found = {f"kernel.kernel_list.{i}": w for i, w in enumerate(parts)}
    found |= {"kernel.multiplier": kernel.multiplier if multiplier is None else multiplier}
    found |= {} if power is None else {"kernel.decay": power}
    found |= {} if basis is None else {"kernel.basis": basis.mT}
    # Before its first forward pass the official layer has ones there, (H, 1), and makes the norm then.
    found |= {"kernel.kernel_norm": norm if is_set and norm is not None else kernel.kernel_norm}
    layer = _load(layer, {"D": D, **found, **weights})
    if norm is None or not is_set:
        kernel.set_norm()
    if kernel.layout != "hankel" and not kernel.resample:  # the official layer cuts its pieces where a sequence ends
        layer.length = kernel.length = kernel.uncut_length
    return layer


def _take(weights: dict[str, Tensor], name: str, layer: str) -> Tensor:
    if name not in weights:
        raise ValueError(f"{layer}.from_official: there is no {name!r} among {', '.join(sorted(weights))}.")
    return weights.pop(name)


def _output_kind(weights: Mapping[str, Tensor], channels: int) -> str | None:
    if "output_linear.0.weight" in weights:
        return "glu"
    return "linear" if "output_linear.weight" in weights else None


def _load(layer: Layer, weights: Mapping[str, Tensor]) -> Layer:
    """The weights as they are, in their precision."""
    layer = layer.to(weights["D"].dtype)
    kernel_norm = weights.get("kernel.kernel_norm")
    if kernel_norm is not None:
        current: Any = layer.state_dict()["kernel.kernel_norm"]
        weights = {**weights, "kernel.kernel_norm": kernel_norm.expand_as(current)}
    try:
        layer.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise ValueError(f"from_official: the weights do not fit. {error}") from None
    return layer
