"""Batches of tensors that are in memory already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mercer.errors import ShapeError

__all__ = ["TensorBatches"]


class TensorBatches:
    """A loader for :func:`mercer.nn.training.train`: rows of tensors, some at a time, in a new order each time.

    A ``DataLoader`` takes rows one by one and puts them together again, which for small networks takes longer than the
    training itself.

    Args:
        tensors: with equally many rows.
        batch_size: rows of a batch; the last one has what is left.
        shuffle: False keeps the order.

    Attributes:
        generator: of the order, which :func:`train` seeds.

    Raises:
        ShapeError: tensors of different lengths, or none.
        ValueError: a batch size below 1.

    >>> loader = TensorBatches([torch.arange(5), torch.arange(5) * 10], 3, shuffle=False)
    >>> [x.tolist() for x, _ in loader], len(loader)
    ([[0, 1, 2], [3, 4]], 2)
    """

    def __init__(self, tensors: Sequence[Tensor], batch_size: int, *, shuffle: bool = True) -> None:
        if not tensors or len({len(t) for t in tensors}) != 1:
            raise ShapeError(f"TensorBatches: tensors with equally many rows, not {[tuple(t.shape) for t in tensors]}.")
        if batch_size < 1:
            raise ValueError(f"TensorBatches: batch_size={batch_size} must be 1 or more.")
        self.tensors, self.batch_size, self.shuffle = tuple(tensors), batch_size, shuffle
        self.generator = torch.Generator()

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        n = len(self.tensors[0])
        order = torch.randperm(n, generator=self.generator) if self.shuffle else torch.arange(n)
        for rows in order.split(self.batch_size):
            yield tuple(t[rows.to(t.device)] for t in self.tensors)

    def __len__(self) -> int:
        return -(-len(self.tensors[0]) // self.batch_size)
