"""The loss of language models."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

__all__ = ["next_token_loss"]


def next_token_loss(model: nn.Module, batch: Any, *, n_rows: int | None = None) -> Tensor:
    """The mean cross-entropy of the next token, in nats; its exponential is the perplexity.

    Args:
        model: from tokens ``(B, n)`` to logits ``(B, n, vocabulary)``.
        batch: tokens ``(B, n + 1)``: each is the target of the one before.
        n_rows: logits of so many places at a time, computed again in the backward pass; None is all at once. With a
            vocabulary of words it is the logits that fill the memory: those of 267 735 words for 128 x 512 places take
            70 GB, and of 2048 places 2. The model then has ``hidden`` and ``logits``, as those of
            :mod:`mercer.nn.models` do.

    Raises:
        ValueError: ``n_rows`` below 1.

    >>> model = mc.nn.models.LanguageModel(50, layers=1, width=16, heads=2)
    >>> loss = next_token_loss(model, torch.randint(50, (4, 33)))
    >>> bool(abs(loss - np.log(50)) < 1.0)  # which is what guessing costs
    True
    """
    targets = batch[:, 1:].flatten()
    if n_rows is None:
        return functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), targets)
    if n_rows < 1:
        raise ValueError(f"next_token_loss(n_rows={n_rows}): it must be >= 1, or None.")
    network: Any = model
    hidden: Tensor = network.hidden(batch[:, :-1]).flatten(0, 1)
    parts = zip(hidden.split(n_rows), targets.split(n_rows), strict=True)
    total: Tensor = sum(checkpoint(_loss_of, network, rows, their, use_reentrant=False) for rows, their in parts)
    return total / len(targets)


def _loss_of(model: Any, rows: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(model.logits(rows), targets, reduction="sum")
