"""What modules that hold many networks of one shape have in common: some of them can be taken out and put back."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor, nn

__all__ = ["BatchedModule"]


class BatchedModule(nn.Module):
    """Base of modules of ``n_models`` independent networks, the first axis of every parameter, buffer and output.

    A subclass sets ``n_models``; its forward pass may look at no other network, and gives ``(n_models, ...)``. Then
    :func:`mercer.nn.training.train_batched` trains it.
    """

    n_models: int

    def select(self, which: Iterable[int] | Tensor) -> Self:
        """A copy of some of the networks, in the order given.

        Raises:
            IndexError: a number that no network has.
        """
        rows = _rows(which)
        # deepcopy takes what its memo holds already, so that only the networks asked for are copied.
        memo: dict[int, Tensor] = {id(b): b[rows.to(b.device)] for b in self.buffers()}
        for p in self.parameters():
            memo[id(p)] = nn.Parameter(p.detach()[rows.to(p.device)], requires_grad=p.requires_grad)
        made = copy.deepcopy(self, memo)
        made.n_models = len(rows)
        return made

    @torch.no_grad()
    def keep(self, which: Iterable[int] | Tensor) -> None:
        """Drop all networks but some, in place: the parameters are the same objects, with fewer rows."""
        rows = _rows(which)
        for tensor in (*self.parameters(), *self.buffers()):
            tensor.grad, tensor.data = None, tensor.data[rows.to(tensor.device)]
        self.n_models = len(rows)

    @torch.no_grad()
    def put(self, which: Iterable[int] | Tensor, networks: Self) -> None:
        """Take over all parameters of other networks of the same shape, in the places ``which``, one for each."""
        rows = _rows(which)
        for mine, theirs in zip(self.parameters(), networks.parameters(), strict=True):
            mine[rows.to(mine.device)] = theirs.to(mine)


def _rows(which: Iterable[int] | Tensor) -> Tensor:
    return which if isinstance(which, Tensor) else torch.tensor(list(which), dtype=torch.int64)
