"""One column of the points as a row value."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Coordinate:
    """x_j, ``(*batch, n, d) -> (*batch, n)``."""

    column: int

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        return X[..., self.column]
