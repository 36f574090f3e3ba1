"""The norms of sequence networks, by name or by a function: the one place where they are made and refused."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mercer.nn.attention.srms_norm import SRMSNorm
from mercer.nn.lengths import Lengths, kept_rows

__all__ = ["NORMS", "Norm", "build_norm", "normed", "refuse_batch_norm"]

Norm = str | Callable[[int], nn.Module]
NORMS = ("rms", "srms", "layer", "batch")

_LEAK = (
    "A batch norm takes its mean over all places, later ones too: in training the model would see the future. "
    'Take norm="rms", or mixers that are not causal.'
)


def build_norm(norm: Norm, width: int, *, causal: bool = True) -> nn.Module:
    """A norm of rows ``(..., width)``.

    Args:
        norm: "rms"; "srms", without a gain; "layer"; "batch"; or a function of the width.
        width: of the rows.
        causal: whether rows must not know later ones, as a batch norm lets them in training.

    Raises:
        ValueError: an unknown name, or a batch norm where rows must not know later ones.
    """
    if callable(norm):
        built = norm(width)
        if causal:
            refuse_batch_norm(built)
        return built
    if norm not in NORMS:
        raise ValueError(f'norm={norm!r}: choose "rms", "srms", "layer" or "batch", or give a function of the width.')
    if norm == "batch" and causal:
        raise ValueError(_LEAK)
    if norm == "srms":
        return SRMSNorm()
    if norm == "rms":
        return nn.RMSNorm(width, eps=1e-6)
    return nn.LayerNorm(width) if norm == "layer" else _BatchNorm(width)


def refuse_batch_norm(module: nn.Module) -> None:
    """Raise where a part of a causal model is a batch norm.

    Raises:
        ValueError: it is.
    """
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        raise ValueError(_LEAK)


def normed(norm: nn.Module, x: Tensor, lengths: Lengths | None) -> Tensor:
    """``norm(x)`` of rows ``(B, n, width)``; in training a batch norm takes its mean without the padding.

    Raises:
        ShapeError: lengths that do not fit.
    """
    if lengths is None or not isinstance(norm, _BatchNorm) or not norm.training:
        found: Tensor = norm(x)
        return found
    kept = kept_rows(x, lengths)
    assert kept is not None
    return torch.zeros_like(x).masked_scatter(kept.unsqueeze(-1), norm(x[kept]))


class _BatchNorm(nn.BatchNorm1d):
    """Of columns that stand last."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = super().forward(x.flatten(0, -2)).view_as(x)
        return found
