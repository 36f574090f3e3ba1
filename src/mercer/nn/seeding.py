"""Layers that draw their weights from a seed of their own, or from torch's global generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mercer.arrays import generator

__all__ = ["seeded"]


@contextmanager
def seeded(random_state: Any) -> Iterator[None]:
    """Inside, torch draws from ``random_state``, and its global generator stays as it was; None changes nothing.

    >>> with seeded(0):
    ...     a = torch.nn.Linear(2, 2)
    >>> with seeded(0):
    ...     b = torch.nn.Linear(2, 2)
    >>> torch.equal(a.weight, b.weight)
    True
    """
    if random_state is None:
        yield
        return
    # On the CPU also under a default device, such as that of shapes without numbers.
    seed = int(torch.randint(2**62, (1,), generator=generator(random_state), device="cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
