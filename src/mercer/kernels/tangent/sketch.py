"""Random projections of gradients: features whose inner products are the kernel in the mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer.kernels.tangent.gradients import State, factors, jacobian
from mercer.kernels.tangent.network import Network

__all__ = ["sketched"]

_BLOCK = 1 << 24  # numbers of a projection that are drawn at a time


def sketched(network: Network, state: State, X: Tensor, cotangents: Tensor, *, size: int, seed: int) -> Tensor:
    """``(o, n, size)``: each gradient times one random matrix, which depends on the seed only.

    A layer's gradient ``g a'`` is projected as ``sqrt(size) (A a) * (B g)`` with entries N(0, 1 / size), summed over
    positions; other gradients by a Gaussian matrix. Layers are added: products of different ones vanish in the mean.
    """
    total = cotangents.new_zeros(len(cotangents), len(X), size)
    draw = torch.Generator().manual_seed(seed)
    if network.layers:
        for a, g in factors(network, state, X, cotangents):
            A, B = (_normal(draw, part.shape[-1], size, total) for part in (a, g))
            total = total + ((a @ A) * (g @ B)).sum(2) * size**0.5
    for names in network.groups:
        J = jacobian(network, state, names, X, cotangents)
        step = max(1, _BLOCK // size)
        for i in range(0, J.shape[2], step):
            part = J[..., i : i + step]
            total = total + part @ _normal(draw, part.shape[2], size, total)
    return total


def _normal(draw: torch.Generator, rows: int, size: int, like: Tensor) -> Any:
    return torch.randn(rows, size, generator=draw, dtype=torch.float64).to(like) / size**0.5
