"""Splitting rows into leaves of bounded size, each to have its own features, and routing points to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.learn.feature_columns import FeatureColumns

__all__ = ["FeatureTree", "grow"]

_LEAST_WEIGHT = 0.01  # a leaf whose weight at a point is less is not asked there


@dataclass(frozen=True)
class FeatureTree:
    """Splits at the median of a direction.

    Attributes:
        directions: ``(splits, width)``.
        thresholds: ``(splits,)``; a point goes right where its product with the direction is larger.
        spreads: the distance of the quartiles of those products, ``(splits,)``: the unit of ``temperature``.
        children: ``(splits, 2)``: a split s >= 0, or the leaf -1 - s.
    """

    directions: Tensor
    thresholds: Tensor
    spreads: Tensor
    children: Tensor

    def route(self, columns: FeatureColumns, X: Tensor, temperature: float) -> Tensor:
        """The weight of each leaf at each point, ``(n, leaves)``; rows sum to 1, and are 0 or 1 at temperature 0."""
        n_leaves = len(self.thresholds) + 1
        weights = torch.zeros(len(X), n_leaves, dtype=torch.float64, device=X.device)
        if n_leaves == 1:
            return weights + 1.0
        products = columns.times(X, self.directions.mT.to(X.dtype).to(X.device)).double()
        signed = (products - self.thresholds.to(X.device)) / self.spreads.to(X.device)
        to_right = (signed > 0).double() if temperature == 0.0 else torch.sigmoid(signed / temperature)
        reached = {0: torch.ones(len(X), dtype=torch.float64, device=X.device)}
        for split in range(len(self.thresholds)):  # a child always has a larger number than its parent
            here, right = reached.pop(split), to_right[:, split]
            for child, share in zip(self.children[split].tolist(), (1.0 - right, right), strict=True):
                if child >= 0:
                    reached[child] = here * share
                else:
                    weights[:, -1 - child] = here * share
        weights[weights < _LEAST_WEIGHT * weights.amax(1, keepdim=True)] = 0.0
        return weights / weights.sum(1, keepdim=True)

    def state(self) -> dict[str, Any]:
        """As arrays."""
        return {name: value.cpu().numpy() for name, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray[Any, Any]]) -> FeatureTree:
        """The inverse of :meth:`state`."""
        return cls(**{name: torch.from_numpy(value) for name, value in state.items()})


def grow(
    columns: FeatureColumns, X: Tensor, leaf_size: int, direction: Callable[[Tensor], Tensor]
) -> tuple[FeatureTree, list[Tensor]]:
    """Split until no leaf has more than ``leaf_size`` rows.

    Args:
        columns: of X ``(n, d)``.
        direction: along which some rows (their positions are given) are to be split, ``(width,)``.

    Returns:
        the tree, and the rows of each leaf.
    """
    directions: list[Tensor] = []
    thresholds: list[Any] = []
    spreads: list[Any] = []
    children: list[Any] = []
    leaves: list[Tensor] = []
    waiting: list[tuple[Tensor, tuple[int, int] | None]] = [(torch.arange(len(X), device=X.device), None)]
    while waiting:
        rows, parent = waiting.pop(0)
        number = -1 - len(leaves)
        sides = None
        if len(rows) > leaf_size:
            along = direction(rows)
            products = columns.times(X[rows], along.unsqueeze(1).to(X.dtype)).squeeze(1).double()
            low, middle, high = torch.quantile(_sample(products), products.new_tensor([0.25, 0.5, 0.75])).tolist()
            sides = products > middle
            if not 0 < int(sides.sum()) < len(rows):
                raise ValueError(
                    f"{len(rows)} rows cannot be split: most of them are alike. Give a leaf_size above {len(rows)}."
                )
            number = len(thresholds)
            directions.append(along.double())
            thresholds.append(middle)
            spreads.append(max(high - low, 1e-12))
            children.append([0, 0])
            waiting += [(rows[~sides], (number, 0)), (rows[sides], (number, 1))]
        else:
            leaves.append(rows)
        if parent is not None:
            children[parent[0]][parent[1]] = number
    width = columns.width
    tree = FeatureTree(
        torch.stack(directions) if directions else torch.zeros(0, width, dtype=torch.float64),
        torch.tensor(thresholds, dtype=torch.float64),
        torch.tensor(spreads, dtype=torch.float64),
        torch.tensor(children, dtype=torch.int64).reshape(-1, 2),
    )
    return tree, leaves


def _sample(values: Tensor) -> Tensor:
    """torch.quantile takes 16 million values at most; every so many will do."""
    return values[:: -(-len(values) // 2**20)]
