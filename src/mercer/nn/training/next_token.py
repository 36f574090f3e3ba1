"""The loss of language models."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["next_token_loss"]


def next_token_loss(model: nn.Module, batch: Any) -> Tensor:
    """The mean cross-entropy of the next token, in nats; its exponential is the perplexity.

    Args:
        model: from tokens ``(B, n)`` to logits ``(B, n, vocabulary)``.
        batch: tokens ``(B, n + 1)``: each is the target of the one before.

    >>> model = mc.nn.models.LanguageModel(50, layers=1, width=16, heads=2)
    >>> loss = next_token_loss(model, torch.randint(50, (4, 33)))
    >>> bool(abs(loss - np.log(50)) < 1.0)  # which is what guessing costs
    True
    """
    logits = model(batch[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
