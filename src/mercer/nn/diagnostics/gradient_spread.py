"""How steady the gradients of a training are."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["GradientHistory", "gradient_spread"]


class GradientHistory:
    """Notes the norm of the gradients of some parameters at every step of a training.

    Args:
        model: the network.
        names: shell patterns; parameters whose name matches one of them are watched.

    Attributes:
        names: of those that are.

    Raises:
        ValueError: no parameter matches.

    It watches from the start to :meth:`stop`. A step is one backward pass: with several of them a step, each counts.

    >>> from mercer.nn.training import train
    >>> x = torch.linspace(0.0, 1.0, 64)[:, None]
    >>> model = torch.nn.Linear(1, 1)
    >>> gradients = GradientHistory(model, names=["weight"])
    >>> history = train(model, [(x, 3.0 * x)], loss=lambda m, b: (m(b[0]) - b[1]).square().mean(), n_steps=5)
    >>> gradients.norms.shape, bool(gradient_spread(gradients) < 0.1)
    (torch.Size([5]), True)
    """

    def __init__(self, model: nn.Module, *, names: Any = ("*query*", "*key*", "*value*")) -> None:
        watched = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and any(fnmatch(name, pattern) for pattern in names)
        }
        if not watched:
            raise ValueError(f"GradientHistory: no parameter of the model matches one of {list(names)}.")
        self.names = list(watched)
        self._squares: list[list[Tensor]] = [[] for _ in watched]
        self._handles = [
            parameter.register_hook(self._watcher(squares))
            for parameter, squares in zip(watched.values(), self._squares, strict=True)
        ]

    @property
    def norms(self) -> Tensor:
        """The norm of all watched gradients together at each step, ``(steps,)``, float64."""
        n = min(map(len, self._squares))
        if n == 0:
            return torch.zeros(0, dtype=torch.float64)
        return torch.stack([torch.stack(squares[:n]).double().cpu() for squares in self._squares]).sum(0).sqrt()

    def stop(self) -> None:
        """Watch no longer; what was noted stays."""
        for handle in self._handles:
            handle.remove()

    @staticmethod
    def _watcher(squares: list[Tensor]) -> Any:
        return lambda gradient: squares.append(gradient.detach().float().square().sum())


def gradient_spread(history: Any, *, share: float = 0.5) -> float:
    """Standard deviation of gradient norms over their mean, in the last part of a training.

    Args:
        history: a :class:`GradientHistory`, or the norms of the steps.
        share: how much of the training, counted from its end.

    Raises:
        ValueError: fewer than two steps in that part.
    """
    norms = history.norms if isinstance(history, GradientHistory) else torch.as_tensor(history, dtype=torch.float64)
    last = norms[len(norms) - round(share * len(norms)) :]
    if len(last) < 2:
        raise ValueError(f"gradient_spread(share={share}): it needs 2 steps or more, and has {len(last)}.")
    return float(last.std() / last.mean())
