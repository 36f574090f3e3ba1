"""The one training loop: reproducible, resumable, stopped early where asked, silent where short."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mercer.arguments import check_whole
from mercer.errors import NotConverged
from mercer.nn.checkpoint import load_checkpoint, save_checkpoint
from mercer.progress import Progress, track

__all__ = ["History", "Loss", "evaluate", "move", "reproducible", "train"]

Loss = Callable[[nn.Module, Any], Tensor]


@dataclass
class History:
    """What :func:`train` has done.

    Attributes:
        losses: the mean training loss of each epoch.
        valid_losses: the mean validation loss after each epoch; empty without validation data.
        best_epoch: of the least validation loss, counted from 1; 0 without validation data.
        n_steps: optimiser steps in all.
        seconds: wall time in all, of interrupted runs too.
        stopped: why it ended: "done", "patience" or "callback"; empty while it runs.
    """

    losses: list[float] = field(default_factory=list)
    valid_losses: list[float] = field(default_factory=list)
    best_epoch: int = 0
    n_steps: int = 0
    seconds: float = 0.0
    stopped: str = ""

    @property
    def n_epochs(self) -> int:
        """Epochs begun and ended."""
        return len(self.losses)


def train(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    loss: Loss,
    n_epochs: int | None = None,
    n_steps: int | None = None,
    optimizer: Callable[[Any], torch.optim.Optimizer] | None = None,
    valid_loader: Iterable[Any] | None = None,
    valid_loss: Loss | None = None,
    patience: int | None = None,
    callbacks: Sequence[Callable[[nn.Module, History], bool | None]] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    random_state: int = 0,
    accumulate: int = 1,
    description: str = "training",
) -> History:
    """Train a network in place; it is left in evaluation mode.

    Args:
        model: on the device where it is to be trained; batches follow it there.
        loader: batches, afresh each time it is iterated over.
        loss: ``loss(model, batch)``, a scalar tensor.
        n_epochs: passes over the loader; or give ``n_steps`` of the optimiser.
        optimizer: makes one from parameters, such as ``partial(torch.optim.Adam, lr=1e-4)``; None is Adam with 1e-3.
            It is given ``model.parameter_groups()`` where the model has that, for layers with learning rates of their
            own.
        valid_loader: batches for the validation loss, measured after each epoch. The model ends with the weights of
            the least one.
        valid_loss: None is ``loss``.
        patience: stop after so many epochs without a lower validation loss.
        callbacks: called after each epoch with the model and the history; True stops.
        checkpoint: a file that holds everything after each epoch. If it is there, training goes on from it and ends as
            if it had never been interrupted; it is left there.
        random_state: of dropout and of the loader's order; each epoch has its own, so that a resumed run draws the
            same.
        accumulate: batches whose mean gradient makes a step, where one batch of as many rows would not fit in memory;
            what is left at the end of an epoch makes a step too.
        description: of the progress line.

    Raises:
        ValueError: not exactly one of ``n_epochs`` and ``n_steps``, ``patience`` without validation data, or
            ``accumulate`` below 1.
        NotConverged: the loss became NaN or infinite; ``.solution`` is the history.
        FileFormatError: the checkpoint is damaged or of another model.

    >>> x = torch.linspace(0.0, 1.0, 64)[:, None]
    >>> model = torch.nn.Linear(1, 1)
    >>> history = train(model, [(x, 3.0 * x)], loss=lambda m, b: (m(b[0]) - b[1]).square().mean(), n_steps=5)
    >>> history.n_epochs, history.losses[-1] < history.losses[0]
    (5, True)
    """
    if (n_epochs is None) == (n_steps is None):
        raise ValueError(f"train: give n_epochs or n_steps, and not both; got {n_epochs} and {n_steps}.")
    if patience is not None and valid_loader is None:
        raise ValueError("train: patience waits for a lower validation loss, so it needs valid_loader.")
    check_whole("accumulate", accumulate)
    groups = getattr(model, "parameter_groups", model.parameters)()
    made = (torch.optim.Adam if optimizer is None else optimizer)(groups)
    history, best = History(), copy.deepcopy(model.state_dict()) if valid_loader is not None else None
    if checkpoint is not None and Path(checkpoint).exists():
        history = History(**load_checkpoint(checkpoint, model, made, best))
    total = n_epochs if n_epochs is not None else n_steps
    progress: Progress[int] = track(None, description=description, total=total)
    with progress, reproducible(random_state):
        while not history.stopped:
            progress.advance((history.n_epochs if n_epochs is not None else history.n_steps) - progress.done)
            if _is_done(history, n_epochs, n_steps):
                history.stopped = "done"
                break
            started = time.perf_counter()
            _reseed(random_state, history.n_epochs, loader)
            history.losses.append(_epoch(model, loader, loss, made, history, n_steps, accumulate, progress))
            if valid_loader is not None:
                history.valid_losses.append(evaluate(model, valid_loader, valid_loss or loss))
                if history.valid_losses[-1] <= min(history.valid_losses):
                    history.best_epoch, best = history.n_epochs, copy.deepcopy(model.state_dict())
                if patience is not None and history.n_epochs - history.best_epoch >= patience:
                    history.stopped = "patience"
            # A list: every callback is called, also after one that stops.
            if any([callback(model, history) for callback in callbacks]):  # noqa: C419
                history.stopped = "callback"
            history.seconds += time.perf_counter() - started
            if checkpoint is not None:
                save_checkpoint(checkpoint, model, made, best, vars(history))
    if best is not None:
        model.load_state_dict(best)
    model.eval()
    return history


@torch.no_grad()
def evaluate(model: nn.Module, loader: Iterable[Any], loss: Loss) -> float:
    """The mean loss over a loader in evaluation mode; batches count by their rows. The mode is put back."""
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for batch in loader:
        batch = move(batch, model)
        n = _rows(batch)
        total, count = total + n * float(loss(model, batch)), count + n
    model.train(was_training)
    return total / count if count else math.nan


def move(batch: Any, model: nn.Module) -> Any:
    """A batch (tensor, tuple, list or dict of tensors) on the model's device."""
    device = next((p.device for p in model.parameters()), None)
    if device is None:
        return batch
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {k: move(v, model) for k, v in batch.items()}
    return type(batch)(move(v, model) for v in batch) if isinstance(batch, list | tuple) else batch


@contextmanager
def reproducible(random_state: int) -> Iterator[None]:
    """Inside, torch draws from ``random_state`` and denormals are zero; the caller's generators stay as they were."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(random_state)
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            torch.set_flush_denormal(False)


def _reseed(random_state: int, epoch: int, loader: Iterable[Any]) -> None:
    """Seed an epoch: torch's generators, and the loader's own if it has one."""
    seed = (random_state * 1_000_003 + epoch) % 2**63
    torch.manual_seed(seed)
    own = getattr(loader, "generator", None)
    if isinstance(own, torch.Generator):
        own.manual_seed(seed)


def _epoch(
    model: nn.Module,
    loader: Iterable[Any],
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    history: History,
    n_steps: int | None,
    accumulate: int,
    progress: Progress[int],
) -> float:
    """One pass; the mean loss, batches counting by their rows."""
    # The line goes on within an epoch, which may last hours; a loader without a length moves it once an epoch only.
    n_batches = len(loader) if isinstance(loader, Sized) else None
    stride = 1.0 / accumulate if n_steps is not None else 1.0 / max(1, n_batches) if n_batches is not None else 0.0
    note = f"loss {history.losses[-1]:.4g}" if history.losses else ""
    model.train()
    total, count, waiting = torch.zeros((), dtype=torch.float64), 0, 0
    for batch in loader:
        if n_steps is not None and history.n_steps >= n_steps:
            break
        batch = move(batch, model)
        value = loss(model, batch)
        if not waiting:
            optimizer.zero_grad(set_to_none=True)
        value.backward()
        waiting += 1
        if waiting == accumulate:
            _step(optimizer, waiting)
            history.n_steps, waiting = history.n_steps + 1, 0
        progress.advance(stride, note=note)
        n = _rows(batch)
        # No float() here: on a GPU it would wait for every step.
        total, count = total.to(value.device) + n * value.detach(), count + n
    if waiting:
        _step(optimizer, waiting)
        history.n_steps += 1
    if not count:
        raise ValueError("train: the loader gave no batch. An iterator is used up after one pass: give a DataLoader.")
    mean = float(total) / count
    if not math.isfinite(mean):
        raise NotConverged(
            f"train: the loss is {mean} in epoch {history.n_epochs + 1}. Give the optimizer a smaller learning rate.",
            history,
        )
    return mean


def _step(optimizer: torch.optim.Optimizer, n_batches: int) -> None:
    """A step by the mean of the gradients that were added up."""
    if n_batches > 1:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad /= n_batches
    optimizer.step()


def _rows(batch: Any) -> int:
    if isinstance(batch, dict):
        batch = next(iter(batch.values()))
    return len(batch[0]) if isinstance(batch, list | tuple) else len(batch)


def _is_done(history: History, n_epochs: int | None, n_steps: int | None) -> bool:
    return history.n_epochs >= n_epochs if n_epochs is not None else history.n_steps >= (n_steps or 0)
