"""Learning rates that fall, for :func:`mercer.nn.training.train`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mercer.nn.training.loop import History

__all__ = ["CosineDecay"]


class CosineDecay:
    """An optimiser and the callback that lets its learning rates fall to 0 like half a cosine, epoch by epoch.

    Each group of parameters keeps the share that it has of the others. The rates are part of a checkpoint, so that a
    training that is taken up again falls on from where it was.

    Args:
        optimizer: makes one from parameters, such as ``partial(torch.optim.AdamW, lr=0.01)``.
        n_epochs: after so many the rates are 0.
        warmup: epochs in the beginning whose rates rise in equal steps instead.

    Raises:
        ValueError: no epochs, or a warm-up as long as all.

    >>> from functools import partial
    >>> decay = CosineDecay(partial(torch.optim.Adam, lr=0.1), n_epochs=4)
    >>> model = torch.nn.Linear(1, 1)
    >>> def loss(model, x):
    ...     return model(x).square().mean()
    >>> options = {"optimizer": decay, "callbacks": [decay.after_epoch]}
    >>> history = train(model, [torch.ones(8, 1)], loss=loss, n_epochs=2, **options)
    >>> round(decay.made.param_groups[0]["lr"], 3)
    0.05
    """

    made: torch.optim.Optimizer

    def __init__(self, optimizer: Callable[[Any], torch.optim.Optimizer], *, n_epochs: int, warmup: int = 0) -> None:
        if n_epochs < 1 or not 0 <= warmup < n_epochs:
            raise ValueError(f"CosineDecay(n_epochs={n_epochs}, warmup={warmup}): 0 <= warmup < n_epochs.")
        self.optimizer, self.n_epochs, self.warmup = optimizer, n_epochs, warmup

    def __call__(self, groups: Any) -> torch.optim.Optimizer:
        """The optimiser of these parameters, with the rates of the first epoch."""
        self.made = self.optimizer(groups)
        for group in self.made.param_groups:
            group["initial_lr"] = group["lr"]
        self._set(0)
        return self.made

    def after_epoch(self, model: nn.Module, history: History) -> None:
        """Set the rates of the next epoch: a callback of :func:`train`."""
        self._set(history.n_epochs)

    def _set(self, epoch: int) -> None:
        if epoch < self.warmup:
            share = (epoch + 1) / (self.warmup + 1)
        else:
            share = 0.5 * (1.0 + math.cos(math.pi * (epoch - self.warmup) / (self.n_epochs - self.warmup)))
        for group in self.made.param_groups:
            group["lr"] = share * group["initial_lr"]
