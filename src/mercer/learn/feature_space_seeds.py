"""First labels of k-means in feature space: each row with the nearest of some rows drawn as centres."""

from __future__ import annotations

import torch
from torch import Tensor

from mercer.learn.feature_space_means import round_off
from mercer.operators.solvers import System

__all__ = ["seed"]


def seed(system: System, weights: Tensor, k: int, *, spread: bool, draw: torch.Generator) -> Tensor:
    """Labels ``(n,)`` by the nearest of k rows drawn as first centres.

    Args:
        system: the kernel matrix.
        weights: of the rows, ``(n,)``.
        k: how many.
        spread: k-means++: each drawn in proportion to its squared distance from the ones before, the best of a few
            candidates; else all at random.

    Source: Arthur & Vassilvitskii, k-means++ (2007); several candidates as in scikit-learn.
    """
    diagonal = system.diagonal()
    floor = round_off(diagonal, torch.float64)
    closest, labels = torch.full_like(diagonal, torch.inf), torch.zeros_like(diagonal, dtype=torch.long)
    left = weights.clone()
    n_candidates = 2 + int(torch.tensor(float(k)).log()) if spread else 1
    for c in range(k):
        if not bool((weights * closest > 0).any()):
            break  # every row is a centre already, or the same as one: the other clusters stay empty
        chances = weights * closest if spread and c else left
        candidates = _sample(chances, n_candidates if c else 1, draw)
        distances = diagonal - 2.0 * system.rows(candidates) + diagonal[candidates, None]
        distances.masked_fill_(distances <= floor, 0.0)
        nearest = torch.minimum(closest, distances)  # (candidates, n)
        best = int((nearest @ weights).argmin())
        labels[distances[best] < closest] = c
        closest = nearest[best]
        left[candidates[best]] = 0.0
    return labels


def _sample(chances: Tensor, count: int, draw: torch.Generator) -> Tensor:
    """Rows in proportion to their chances, with replacement."""
    total = chances.cumsum(0)
    at = torch.rand(count, generator=draw, dtype=torch.float64).to(total) * total[-1]
    return torch.searchsorted(total, at, right=True).clamp(max=len(chances) - 1)
