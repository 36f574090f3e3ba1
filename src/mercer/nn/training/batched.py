"""Training of many independent networks at once: full batches or minibatches, each network stopped by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from mercer.config import cache_bytes
from mercer.errors import NotConverged, ShapeError
from mercer.nn.batched_module import BatchedModule
from mercer.nn.training.loop import reproducible
from mercer.progress import Progress, track

__all__ = ["BatchedHistory", "half_squares", "mean_squares", "train_batched"]

BatchedLoss = Callable[[Tensor, Tensor], Tensor]


def mean_squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean squared error of each network: ``(n_models, n, t)`` against ``(n, t)`` or one a network."""
    return (outputs - targets).square().mean((-2, -1))


def half_squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the sum of squares of each network, the loss in theories of wide networks: its rates do not know n."""
    return 0.5 * (outputs - targets).square().sum((-2, -1))


@dataclass
class BatchedHistory:
    """What :func:`train_batched` has done.

    Attributes:
        steps: after which losses were looked at, ``(checks,)``, from 0 on.
        losses: training losses then, ``(checks, n_models)``; NaN once a network has stopped.
        valid_losses: on the validation data; None without.
        n_steps: of each network, those behind the weights that it ended with, ``(n_models,)``.
        stopped: why each ended: "done", "tolerance", "patience" or "diverged".
        seconds: wall time.
    """

    steps: Tensor
    losses: Tensor
    valid_losses: Tensor | None
    n_steps: Tensor
    stopped: list[str] = field(repr=False)
    seconds: float = 0.0


def train_batched(
    model: BatchedModule,
    X: Tensor,
    Y: Tensor,
    *,
    n_steps: int,
    optimizer: Callable[[Any], torch.optim.Optimizer] | None = None,
    loss: BatchedLoss = mean_squares,
    batch_size: int | None = None,
    X_valid: Tensor | None = None,
    Y_valid: Tensor | None = None,
    patience: int | None = None,
    tolerance: float | None = None,
    check_every: int = 10,
    block_size: int | None = None,
    random_state: int = 0,
    description: str = "training networks",
) -> BatchedHistory:
    """Train many networks in place, each as if it were alone.

    A network that has stopped is taken out, so that it costs nothing more; parameters that need no gradient stay.

    Args:
        model: :class:`mercer.nn.BatchedMLP` or another :class:`mercer.nn.BatchedModule`.
        X: ``(n, d)``, the same for all networks, or ``(n_models, n, d)``.
        Y: ``(n, t)`` or ``(n,)``, the same for all, or ``(n_models, n, t)``.
        n_steps: of the optimiser, at most.
        optimizer: makes one from parameters, such as ``partial(torch.optim.SGD, lr=0.1)``; None is Adam with 1e-3. It
            must treat every number by itself, as SGD and Adam do: one that mixes them would mix the networks.
        loss: of outputs and targets, ``(networks,)``.
        batch_size: rows of a step, drawn anew at every step, the same for all networks; None takes all rows.
        X_valid, Y_valid: for validation; a network ends with the weights of its least validation loss.
        patience: stop a network after so many checks without a lower validation loss.
        tolerance: stop a network whose training loss on all rows is at most this.
        check_every: steps between two looks at the losses.
        block_size: networks trained at a time; None takes on a CPU as many as stay in its cache.
        random_state: of the rows of the steps.
        description: of the progress line.

    Raises:
        ShapeError: X or Y does not fit the networks or one another.
        ValueError: a number that is not >= 1, patience without validation data.
        NotConverged: the loss of some networks became NaN or infinite. The others are trained to their end first;
            ``.solution`` is the history, which says which.

    >>> from functools import partial
    >>> from mercer.nn import BatchedMLP
    >>> networks = BatchedMLP(100, (1, 32, 1), random_state=0)
    >>> x = torch.linspace(-1.0, 1.0, 20)[:, None]
    >>> adam = partial(torch.optim.Adam, lr=0.02)
    >>> history = train_batched(networks, x, x.abs(), n_steps=500, optimizer=adam, tolerance=1e-2)
    >>> history.stopped.count("tolerance"), bool((networks(x) - x.abs()).square().mean((1, 2)).max() <= 1e-2)
    (100, True)
    """
    for name, value in (("n_steps", n_steps), ("check_every", check_every), ("patience", patience)):
        if value is not None and not (isinstance(value, Integral) and value >= 1):
            raise ValueError(f"train_batched({name}={value!r}): it must be a whole number >= 1.")
    if patience is not None and (X_valid is None or Y_valid is None):
        raise ValueError("train_batched: patience waits for a lower validation loss, so it needs X_valid and Y_valid.")
    data = _Data(X, Y, model.n_models, "")
    valid = None if X_valid is None or Y_valid is None else _Data(X_valid, Y_valid, model.n_models, "_valid")
    steps = [*range(0, n_steps, check_every), n_steps]
    losses = torch.full((len(steps), model.n_models), torch.nan, dtype=torch.float64)
    valid_losses = None if valid is None else losses.clone()
    history = BatchedHistory(
        torch.tensor(steps), losses, valid_losses, torch.zeros(model.n_models, dtype=torch.int64), []
    )
    history.stopped = [""] * model.n_models
    size = _block_size(model) if block_size is None else block_size
    blocks = torch.arange(model.n_models).split(size)
    started = time.perf_counter()
    progress: Progress[int] = track(None, description=description, total=n_steps * len(blocks))
    with progress, reproducible(random_state):
        for number, rows in enumerate(blocks, start=1):
            trainer = _Block(model, rows, data, valid, loss, optimizer or torch.optim.Adam, history)
            order = torch.Generator().manual_seed(random_state)
            for check, step in enumerate(steps):
                if not trainer.look(check, step, patience, tolerance, is_last=step == n_steps):
                    break
                for _ in range(min(check_every, n_steps - step)):
                    trainer.step(None if batch_size is None else torch.randperm(data.n, generator=order)[:batch_size])
                    progress.advance()
            progress.advance(number * n_steps - progress.done)
    history.seconds = time.perf_counter() - started
    diverged = [i for i, why in enumerate(history.stopped) if why == "diverged"]
    if diverged:
        raise NotConverged(
            f"train_batched: {len(diverged)} of {model.n_models} networks diverged, the first is number {diverged[0]}. "
            f"Give the optimizer a smaller learning rate. The others are trained; .solution.stopped says which.",
            history,
        )
    return history


class _Data:
    """Points and targets, shared by all networks or one set for each."""

    def __init__(self, X: Tensor, Y: Tensor, n_models: int, suffix: str) -> None:
        self.X, self.Y, self.n = X, Y, X.shape[-2] if X.dim() > 1 else 0
        for name, tensor, dims in (("X", X, (2, 3)), ("Y", Y, (1, 2, 3))):
            n = 0 if tensor.dim() not in dims else tensor.shape[0 if tensor.dim() < 3 else 1]
            if n == 0 or n != self.n or (tensor.dim() == 3 and len(tensor) != n_models):
                raise ShapeError(
                    f"train_batched: {name}{suffix} has shape {tuple(tensor.shape)} beside X{suffix} {tuple(X.shape)}. "
                    f"Give X (n, d) and Y (n, t) for all networks, or ({n_models}, n, d) and ({n_models}, n, t)."
                )

    def of(self, networks: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """X and Y for some of the networks, and of them some rows."""
        found = []
        for tensor in (self.X, self.Y):
            tensor = tensor if tensor.dim() < 3 else tensor[networks.to(tensor.device)]
            axis = 0 if tensor.dim() < 3 else 1
            found.append(tensor if rows is None else tensor.index_select(axis, rows.to(tensor.device)))
        return found[0], found[1]


class _Block:
    """Some of the networks in training: a copy, which is written back network by network as they stop."""

    def __init__(
        self,
        model: BatchedModule,
        rows: Tensor,
        data: _Data,
        valid: _Data | None,
        loss: BatchedLoss,
        optimizer: Callable[[Any], torch.optim.Optimizer],
        history: BatchedHistory,
    ) -> None:
        self.model, self.rows, self.data, self.valid, self.loss, self.history = model, rows, data, valid, loss, history
        self.networks = model.select(rows).train()
        self.parameters = [p for p in self.networks.parameters() if p.requires_grad]
        self.optimizer = optimizer(self.parameters)
        self.X, self.Y = data.of(rows)
        self.least = torch.full((len(rows),), torch.inf, dtype=torch.float64)
        self.since = torch.zeros(len(rows), dtype=torch.int64)  # checks since the least validation loss

    def step(self, batch: Tensor | None) -> None:
        """One step of the optimiser."""
        X, Y = (self.X, self.Y) if batch is None else self.data.of(self.rows, batch)
        self.optimizer.zero_grad(set_to_none=True)
        # The gradient of a sum over independent networks is, for each of them, its own.
        self.loss(self.networks(X), Y).sum().backward()
        self.optimizer.step()

    @torch.no_grad()
    def look(self, check: int, step: int, patience: int | None, tolerance: float | None, *, is_last: bool) -> bool:
        """Note the losses, and take out the networks that have stopped; whether any are left."""
        self.networks.eval()
        losses = self.loss(self.networks(self.X), self.Y).double().cpu()
        self.history.losses[check, self.rows] = losses
        why = [""] * len(losses)
        if self.valid is not None and self.history.valid_losses is not None:
            X, Y = self.valid.of(self.rows)
            found = self.loss(self.networks(X), Y).double().cpu()
            self.history.valid_losses[check, self.rows] = found
            better = found < self.least
            self.least = torch.where(better, found, self.least)
            self.since = torch.where(better, 0, self.since + 1)
            self._keep_weights(better.nonzero().flatten(), step)
            why = ["patience" if patience is not None and n >= patience else "" for n in self.since.tolist()]
        if tolerance is not None:
            why = ["tolerance" if bool(value <= tolerance) else w for w, value in zip(why, losses, strict=True)]
        why = ["diverged" if not bool(value.isfinite()) else w for w, value in zip(why, losses, strict=True)]
        if is_last:
            why = [w or "done" for w in why]
        stopped = torch.tensor([bool(w) for w in why])
        for i, w in zip(self.rows.tolist(), why, strict=True):
            self.history.stopped[i] = w
        if self.valid is None:
            self._keep_weights(stopped.nonzero().flatten(), step)
        if bool(stopped.any()):
            self._keep_networks((~stopped).nonzero().flatten())
        self.networks.train()
        return len(self.rows) > 0

    def _keep_weights(self, which: Tensor, step: int) -> None:
        """Write the present weights of some networks into the model."""
        if len(which):
            self.model.put(self.rows[which], self.networks.select(which))
            self.history.n_steps[self.rows[which]] = step

    def _keep_networks(self, which: Tensor) -> None:
        """Go on with some networks only; what the optimiser remembers of them goes along."""
        for parameter in self.parameters:
            state = self.optimizer.state.get(parameter, {})
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = value[which.to(value.device)]
        self.networks.keep(which)
        self.rows, self.least, self.since = self.rows[which], self.least[which], self.since[which]
        self.X, self.Y = self.data.of(self.rows)


def _block_size(model: BatchedModule) -> int:
    """On a GPU all networks. On a CPU so many that their parameters stay near a core, but not so few that calls count.

    Measured at widths (10, 512, 10) with a cache of 512 KiB: 4, 16, 64 and 256 at a time took 3.0, 1.0, 1.0 and 2.0 s.
    """
    first = next(model.parameters())
    if first.is_cuda:
        return model.n_models
    each = sum(p.numel() * p.element_size() for p in model.parameters()) // model.n_models
    return max(32, 4 * cache_bytes() // each)
