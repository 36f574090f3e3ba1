"""How far the tangent kernel of a network moves while it is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mercer.kernels import EmpiricalNTK
from mercer.plots import BLUE, ORANGE, axes_or_new

__all__ = ["NTKDrift"]


class NTKDrift:
    """Watches the empirical NTK of a network in training: where it stays, the network is a kernel machine.

    A callback of :func:`mercer.nn.training.train`; in a loop of your own call :meth:`record`.

    Args:
        module: the network.
        X: points at which the kernel is looked at, ``(n, ...)``; tens are enough.
        every: calls from one look to the next.
        options: of :class:`mercer.kernels.EmpiricalNTK`.

    Attributes:
        steps: the number of calls at each look; the first, 0, is at construction.
        changes: relative change of the matrix since then, in the Frobenius norm.
        alignments: cosine between the matrix and that one: a kernel that grows and does not turn keeps 1.

    >>> from mercer.nn.training import train
    >>> x = torch.linspace(-1.0, 1.0, 16)[:, None]
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
    >>> drift = NTKDrift(model, x)
    >>> loss = lambda m, batch: (m(batch[0]) - batch[1]).square().mean()
    >>> history = train(model, [(x, x**2)], loss=loss, n_steps=20, callbacks=[drift])
    >>> len(drift.changes), drift.changes[0], drift.changes[-1] > 0.0
    (21, 0.0, True)
    """

    def __init__(self, module: nn.Module, X: Any, *, every: int = 1, **options: Any) -> None:
        if every < 1:
            raise ValueError(f"NTKDrift(every={every}): it is a whole number >= 1.")
        self.module, self.X, self.every = module, X, every
        self.kernel = EmpiricalNTK(module, **options)
        self.steps: list[int] = [0]
        self.changes: list[float] = [0.0]
        self.alignments: list[float] = [1.0]
        self._calls = 0
        self._first = self._matrix()

    def __call__(self, module: nn.Module, history: Any = None) -> None:
        """What :func:`mercer.nn.training.train` calls after each epoch."""
        self.record()

    def record(self) -> None:
        """Count a step, and look at the kernel if it is time to."""
        self._calls += 1
        if self._calls % self.every:
            return
        K, first = self._matrix(), self._first
        self.steps.append(self._calls)
        self.changes.append(float((K - first).norm() / first.norm()))
        self.alignments.append(float((K * first).sum() / (K.norm() * first.norm())))

    def plot(self, ax: Any = None) -> Any:
        """Change and alignment against steps; returns the matplotlib axes."""
        ax = axes_or_new(ax)
        ax.plot(self.steps, self.changes, color=BLUE, label="relative change of the kernel")
        ax.plot(self.steps, [1.0 - a for a in self.alignments], color=ORANGE, label="1 - cosine to the first one")
        ax.set(xlabel="steps", ylim=(0.0, None))
        ax.legend(frameon=False)
        return ax

    def _matrix(self) -> Tensor:
        was_training = self.module.training
        self.module.eval()
        try:
            with torch.no_grad():
                return self.kernel(self.X).to_dense().double()
        finally:
            self.module.train(was_training)
