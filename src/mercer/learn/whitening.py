"""Columns made standard normal as far as that goes: uncorrelated, of variance 1, or with normal ranks before."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

__all__ = ["Whitening"]

_RANK_TOLERANCE = 1e-10  # of the largest variance: directions with less are left out
_MOST_KNOTS = 1000  # of the map of a column to normal ranks


class Whitening:
    """Points to coordinates that are uncorrelated and of variance 1 over the rows it was fitted on.

    Args:
        mean: ``(d,)``.
        root: ``(d, r)``; directions in which the rows do not vary are gone.
        knots: ``(q, d)`` increasing values of each column, or None.
        scores: ``(q,)`` the normal quantiles that they are mapped to; values beyond the knots get the last one.
    """

    def __init__(self, mean: Tensor, root: Tensor, knots: Tensor | None = None, scores: Tensor | None = None) -> None:
        self.mean, self.root, self.knots, self.scores = mean, root, knots, scores

    @classmethod
    def fit(cls, X: Tensor, *, ranks: bool) -> Self:
        """From rows ``(n, d)`` in float64."""
        knots = scores = None
        if ranks:
            count = min(len(X), _MOST_KNOTS)
            levels = (torch.arange(count, dtype=X.dtype, device=X.device) + 0.5) / count
            knots, scores = torch.quantile(X, levels, dim=0), torch.special.ndtri(levels)
            X = _to_scores(X, knots, scores)
        unit = 2.0 ** min(math.frexp(float(X.abs().max()))[1], 1000)  # no digit depends on it; squares may overflow
        mean = unit * (X / unit).mean(0)
        centred = (X - mean) / unit
        values, vectors = torch.linalg.eigh(centred.mT @ centred / len(X))
        kept = values > max(_RANK_TOLERANCE * float(values.max()), 1e-300)
        root = (
            vectors[:, kept] * values[kept].rsqrt() / unit
        ).contiguous()  # as a file gives it back, to the last digit
        # Rows that are all alike are at 0 in one direction: a stage needs a column.
        return cls(mean, root if root.shape[1] else torch.zeros_like(X[:1]).mT, knots, scores)

    def __call__(self, X: Tensor) -> Tensor:
        """``(m, d) -> (m, r)``; differentiable."""
        if self.knots is not None and self.scores is not None:
            X = _to_scores(X, self.knots, self.scores)
        whitened: Tensor = (X - self.mean) @ self.root
        return whitened

    def state(self) -> dict[str, Any]:
        """What the constructor needs."""
        return vars(self).copy()


def _to_scores(X: Tensor, knots: Tensor, scores: Tensor) -> Tensor:
    """Linear interpolation of (knots, scores) in every column, constant beyond."""
    columns = knots.mT.contiguous()
    place = torch.searchsorted(columns, X.detach().mT.contiguous()).clamp(1, max(1, len(knots) - 1)).mT  # (n, d)
    if len(knots) == 1:
        return X * 0.0
    low, high = knots.gather(0, place - 1), knots.gather(0, place)
    width = high - low
    share = torch.where(width > 0.0, (X - low) / torch.where(width > 0.0, width, 1.0), 0.5).clamp(0.0, 1.0)
    return scores[place - 1] + share * (scores[place] - scores[place - 1])
