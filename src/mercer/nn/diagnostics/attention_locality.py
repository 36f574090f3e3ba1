"""How near to themselves the rows of a sequence look, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mercer.nn.attention.layer import AttentionLayer

__all__ = ["attention_locality", "attention_weights"]


@torch.no_grad()
def attention_locality(model: nn.Module, x: Any, *, radius: int = 16) -> Tensor:
    """The share of attention that stays within a distance, in each attention of a network.

    Weights are taken by size (those of linear attention may be negative) and divided by their sum over the row; then
    the mean over rows, heads and sequences. A causal row that looks at everything alike has much of its share near at
    the beginning, so compare networks at equal length.

    Args:
        model: with attentions of mercer or ``nn.MultiheadAttention`` in it, or modules of your own that have a method
            ``weights``: called as their ``forward``, it gives the weights ``(B, H, n, n)``.
        x: what the model takes; a tuple is its arguments.
        radius: the largest distance that counts as near, in rows.

    Returns:
        ``(layers,)`` in the order in which they run.

    Raises:
        ValueError: no attention was seen, or a negative radius.

    >>> model = mc.nn.models.TransNormer(10, layers=2, width=16, heads=2, block=8)
    >>> near = attention_locality(model, torch.randint(10, (2, 64)), radius=7)
    >>> near[0], bool(near[1] < 0.6)  # a block has 8 rows
    (tensor(1.), True)
    """
    if radius < 0:
        raise ValueError(f"attention_locality(radius={radius}): it is a distance >= 0.")
    shares = []
    for weights in attention_weights(model, x):
        near, n = weights.abs(), weights.shape[-1]
        row = torch.arange(n, device=near.device)
        inside = (row[:, None] - row).abs() <= radius
        total = near.sum(-1)
        # A row without any weight (all scores 0) says nothing.
        share = (near * inside).sum(-1)[total > 0.0] / total[total > 0.0]
        shares.append(share.mean())
    return torch.stack(shares)


@torch.no_grad()
def attention_weights(model: nn.Module, x: Any) -> list[Tensor]:
    """The weights ``(B, H, n, n)`` of every attention of a network, in the order in which they run.

    Args:
        model: as for :func:`attention_locality`; it runs once, in evaluation mode.
        x: what the model takes; a tuple is its arguments.

    Raises:
        ValueError: no attention was seen.
    """
    found: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(_watcher(found), with_kwargs=True)
        for module in model.modules()
        if isinstance(module, nn.MultiheadAttention) or callable(getattr(module, "weights", None))
    ]
    was_training = model.training
    model.eval()
    try:
        model(*x) if isinstance(x, tuple) else model(x)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    if not found:
        raise ValueError(
            "attention_weights: the model ran no attention of mercer, no nn.MultiheadAttention, and nothing else that "
            "has a method weights()."
        )
    return found


def _watcher(found: list[Tensor]) -> Callable[..., None]:
    def watch(module: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if isinstance(module, nn.MultiheadAttention):
            options = {**options, "need_weights": True, "average_attn_weights": False}
            # The method and not the module: calling that would call this hook again.
            weights: Any = module.forward(*args, **options)[1]
            found.append(weights if weights.dim() == 4 else weights[None])
        elif isinstance(module, AttentionLayer):
            found.append(module.weights(args[0]))
        else:
            found.append(module.weights(*args, **options))

    return watch
