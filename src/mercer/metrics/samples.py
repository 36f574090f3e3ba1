"""Two samples as a distance takes them: float64 tensors inside, a number or a tensor out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import as_tensor, check_finite, generator, like
from mercer.errors import ShapeError

__all__ = ["Samples", "as_sample", "check_order", "distances_apart", "root"]


def as_sample(X: Any, name: str) -> Tensor:
    """Points ``(n, d)`` in float64, with their graph; ``(n,)`` is one column.

    Raises:
        ShapeError: no points.
        ValueError: NaN or infinity.
    """
    points = as_tensor(X).double()
    points = points.unsqueeze(-1) if points.dim() == 1 else points
    if points.dim() != 2 or 0 in points.shape:
        raise ShapeError(f"{name} must be (n, d) or (n,) with n > 0, but has shape {tuple(points.shape)}.")
    check_finite(points.detach(), name)
    return points


@dataclass(frozen=True)
class Samples:
    """Two samples of the same columns.

    Attributes:
        X, Y: ``(n, d)`` and ``(m, d)``, float64.
        example: decides the kind of the answer: a tensor if one of the samples was one.
    """

    X: Tensor
    Y: Tensor
    example: Any

    @classmethod
    def of(cls, X: Any, Y: Any) -> Samples:
        """Check and convert. Raises ShapeError where the columns differ."""
        left, right = as_sample(X, "X"), as_sample(Y, "Y")
        if left.shape[1] != right.shape[1]:
            raise ShapeError(f"X has {left.shape[1]} columns and Y has {right.shape[1]}; they must agree.")
        return cls(left, right.to(left.device), Y if isinstance(Y, Tensor) and not isinstance(X, Tensor) else X)

    def answer(self, value: Tensor) -> Any:
        """A tensor ``()`` that keeps its graph for tensors, else a float."""
        return like(value, self.example) if isinstance(self.example, Tensor) else float(value)

    def weights(self, X_weights: Any = None, Y_weights: Any = None) -> tuple[Tensor, Tensor]:
        """Weights of both samples, each adding up to 1; None are equal ones.

        Raises:
            ValueError: negative weights, or none that is positive.
            ShapeError: another number of them than points.
        """
        return _weights(X_weights, self.X, "X_weights"), _weights(Y_weights, self.Y, "Y_weights")


def _weights(given: Any, points: Tensor, name: str) -> Tensor:
    n = len(points)
    if given is None:
        return torch.full((n,), 1.0 / n, dtype=torch.float64, device=points.device)
    weights = as_tensor(given, dtype=torch.float64, device=points.device)
    if weights.shape != (n,):
        raise ShapeError(f"{name} must be one a point, ({n},), but has shape {tuple(weights.shape)}.")
    if not bool((weights >= 0.0).all()) or not 0.0 < float(weights.sum()) < torch.inf:
        raise ValueError(f"{name} must be >= 0 and finite, with one of them > 0.")
    return weights / weights.sum()


def distances_apart(points: Tensor, *, max_points: int, random_state: Any) -> Tensor:
    """The distances between different points ``(n, d)``, those of equal points left out.

    Args:
        max_points: where there are more, so many are drawn.
        random_state: of that draw.
    """
    if len(points) > max_points:
        rows = torch.randperm(len(points), generator=generator(random_state))[:max_points]
        points = points[rows.to(points.device)]
    distances = torch.pdist(points)
    return distances[distances > 0.0]


def check_order(p: float, allowed: Sequence[float] | None = None) -> float:
    """The order of a distance. Raises ValueError unless it is a number >= 1, or one of those allowed."""
    if isinstance(p, bool) or not isinstance(p, int | float) or not 1.0 <= p < float("inf"):
        raise ValueError(f"p={p!r}: the order must be a finite number >= 1.")
    if allowed is not None and p not in allowed:
        raise ValueError(f"p={p!r}: the order must be one of {', '.join(map(str, allowed))}.")
    return float(p)


def root(power: Tensor, p: float) -> Tensor:
    """``power^(1 / p)``, 0 for what round-off has made negative, with derivative 0 there."""
    positive = power > 0.0
    return torch.where(positive, torch.where(positive, power, 1.0) ** (1.0 / p), 0.0 * power)
