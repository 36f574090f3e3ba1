"""Learning rates that fall, for :func:`mercer.nn.training.train`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mercer.nn.training.loop import History

__all__ = ["CosineDecay", "InverseRootDecay"]


class _Decay:
    """An optimiser whose groups of parameters all have the same share of their own rates, epoch by epoch."""

    made: torch.optim.Optimizer
    optimizer: Callable[[Any], torch.optim.Optimizer]

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

    def share(self, epoch: int) -> float:
        """Of the rates, in this epoch, counted from 0."""
        raise NotImplementedError

    def _set(self, epoch: int) -> None:
        for group in self.made.param_groups:
            group["lr"] = self.share(epoch) * group["initial_lr"]


class CosineDecay(_Decay):
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

    def __init__(self, optimizer: Callable[[Any], torch.optim.Optimizer], *, n_epochs: int, warmup: int = 0) -> None:
        if n_epochs < 1 or not 0 <= warmup < n_epochs:
            raise ValueError(f"CosineDecay(n_epochs={n_epochs}, warmup={warmup}): 0 <= warmup < n_epochs.")
        self.optimizer, self.n_epochs, self.warmup = optimizer, n_epochs, warmup

    def share(self, epoch: int) -> float:
        """1 at the end of the warm-up, 0 after the last epoch."""
        if epoch < self.warmup:
            return (epoch + 1) / (self.warmup + 1)
        return 0.5 * (1.0 + math.cos(math.pi * (epoch - self.warmup) / (self.n_epochs - self.warmup)))


class InverseRootDecay(_Decay):
    """As :class:`CosineDecay`, but rates fall like one over the root of the epochs, and have no end.

    Args:
        optimizer: makes one from parameters.
        warmup: epochs in which the rates rise in equal steps; after them they are ``sqrt(warmup / epochs)`` of theirs.

    Raises:
        ValueError: a warm-up below one epoch.

    >>> decay = InverseRootDecay(torch.optim.Adam, warmup=4)
    >>> [decay.share(epoch) for epoch in (0, 3, 15)]
    [0.25, 1.0, 0.5]
    """

    def __init__(self, optimizer: Callable[[Any], torch.optim.Optimizer], *, warmup: int) -> None:
        if warmup < 1:
            raise ValueError(f"InverseRootDecay(warmup={warmup}): it takes an epoch at least.")
        self.optimizer, self.warmup = optimizer, warmup

    def share(self, epoch: int) -> float:
        """1 in the last epoch of the warm-up."""
        done = epoch + 1
        return min(done / self.warmup, math.sqrt(self.warmup / done))
