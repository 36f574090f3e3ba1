"""Leave-one-out errors of one ridge model in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer.learn.dual import inverse_diagonal
from mercer.learn.inputs import take
from mercer.learn.primal import PrimalPath
from mercer.learn.ridge import feature_rows, primal_features
from mercer.learn.similarity import Similarity

__all__ = ["leave_one_out"]


def leave_one_out(
    similarity: Similarity | None,
    points: Any,
    Y: Tensor,
    dual: Tensor,
    *,
    alpha: float,
    weights: Tensor | None,
) -> Tensor:
    """For every row, y minus the prediction of a model made without it, ``(n, t)``.

    Args:
        similarity: the kernel; None when ``points`` is the kernel matrix itself.
        points: ``(n, d)``, tensor or sparse, or ``(n, n)``.
        Y: targets ``(n, t)``.
        dual: coefficients ``(n, t)`` of the fitted model.

    Source: Rasmussen & Williams (2006), eq. 5.12: ``c_i / G_ii`` with ``G = (K + alpha / s)^-1``.
    """
    features = None if similarity is None else primal_features(similarity, points)
    if features is not None:
        return PrimalPath(feature_rows(features, points), Y, weights).leave_one_out([alpha])[0]
    if weights is None:
        K = points if similarity is None else similarity.matrix(points)
        return dual / inverse_diagonal(K, alpha=alpha, weights=None)[:, None]
    kept, unseen = (weights > 0).nonzero().squeeze(-1), (weights == 0).nonzero().squeeze(-1)
    errors = torch.empty_like(Y)
    K = points[kept][:, kept] if similarity is None else similarity.matrix(take(points, kept))
    errors[kept] = dual[kept] / inverse_diagonal(K, alpha=alpha, weights=weights[kept])[:, None]
    if len(unseen):
        # The model never saw these rows: its errors there are already those of a model made without them.
        if similarity is None:
            errors[unseen] = Y[unseen] - points[unseen].to(torch.float64) @ dual
        else:
            errors[unseen] = Y[unseen] - similarity.times(take(points, unseen), points, dual)
    return errors
