"""Several classes by a softmax of one latent function each: expectations over Gaussians by a fixed Sobol sequence."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["expected_log_softmax", "softmax_probabilities"]

_TRAINING_NODES, _PREDICTION_NODES = 64, 1024
_ROWS = 4096  # predicted together: nodes times rows times classes values are held


@lru_cache(maxsize=32)
def _nodes(n_nodes: int, n_classes: int) -> Tensor:
    """Standard normal points, ``(n_nodes, n_classes)``, and their mirror images: odd moments are exactly 0."""
    half = torch.quasirandom.SobolEngine(n_classes, scramble=True, seed=0).draw(n_nodes // 2, dtype=torch.float64)
    points = torch.special.ndtri(half.clamp(1e-9, 1.0 - 1e-9))
    return torch.cat([points, -points])


def expected_log_softmax(codes: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """``E log softmax(f)[code]`` for independent ``f_c ~ N(mean_c, variance_c)``, ``(b,)``; differentiable.

    By 64 fixed nodes: the same arguments give the same value.

    Args:
        codes: the class of each row, ``(b,)``, from 0 on.
        mean: ``(b, c)``.
        variance: ``(b, c)``, or ``(b, 1)`` where a row has one for all classes.

    >>> expected_log_softmax(torch.tensor([1]), torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0]]))
    tensor([-0.6931])
    """
    nodes = _nodes(_TRAINING_NODES, mean.shape[1]).to(mean)
    values = mean[None] + variance.clamp(min=1e-20).sqrt()[None] * nodes[:, None]  # (nodes, b, c)
    chosen = mean.gather(1, codes[:, None].long()).squeeze(1)  # exact: the nodes have mean 0
    return chosen - torch.logsumexp(values, 2).mean(0)


def softmax_probabilities(mean: Tensor, variance: Tensor) -> Tensor:
    """``E softmax(f)``, ``(m, c)``, by 1024 fixed nodes; rows sum to 1.

    Args:
        mean, variance: as in :func:`expected_log_softmax`.

    >>> softmax_probabilities(torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 2.0]]))
    tensor([[0.5000, 0.5000]])
    """
    nodes = _nodes(_PREDICTION_NODES, mean.shape[1]).to(mean)
    parts = []
    for start in range(0, len(mean), _ROWS):
        rows = slice(start, start + _ROWS)
        total = torch.zeros_like(mean[rows])
        for node in nodes:
            total += torch.softmax(mean[rows] + variance[rows].sqrt() * node, 1)
        parts.append(total / len(nodes))
    return torch.cat(parts)
