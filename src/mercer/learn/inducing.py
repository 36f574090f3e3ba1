"""Where the inducing points of a sparse Gaussian process start."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from mercer.arguments import check_whole
from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.kernels import Kernel
from mercer.operators import pivoted_cholesky

__all__ = ["choose_inducing"]

_ROWS = 20_000  # k-means++ looks at no more: it needs rows times points distances


def choose_inducing(kernel: Kernel, X: Tensor, n_inducing: int, how: Any, rng: np.random.RandomState) -> Tensor:
    """Inducing points in float64, ``(M, d)``, a copy.

    Args:
        kernel: of the process.
        X: ``(n, d)``.
        n_inducing: how many; from n on all distinct rows.
        how: "kmeans++" (rows far from each other, in units of the columns' deviation), "pivoted_cholesky" (rows that
            the kernel tells apart), or the points themselves.

    Raises:
        ValueError: another name, or fewer than one.
        ShapeError: points of another width than X.
    """
    if not isinstance(how, str):
        points = as_tensor(how, dtype=torch.float64, device=X.device).clone()
        if points.dim() != 2 or points.shape[1] != X.shape[1]:
            raise ShapeError(f"inducing must be (M, {X.shape[1]}) points, not {tuple(points.shape)}.")
        return points
    check_whole("n_inducing", n_inducing)
    if how not in ("kmeans++", "pivoted_cholesky"):
        raise ValueError(f"inducing must be 'kmeans++', 'pivoted_cholesky' or an array of points, not {how!r}.")
    rows = X.to(torch.float64)
    if n_inducing >= len(rows):
        result: Tensor = torch.unique(rows, dim=0)
        return result
    if len(rows) > _ROWS:
        rows = rows[torch.from_numpy(rng.choice(len(rows), _ROWS, replace=False)).to(rows.device)]
    if how == "pivoted_cholesky":
        found = pivoted_cholesky(kernel(rows), int(n_inducing), random_state=int(rng.randint(2**31 - 1)))
        return rows[found.pivots].clone()
    width = rows.std(0, correction=0)
    scaled = rows / torch.where(width > 0, width, 1.0)
    _, chosen = kmeans_plusplus(scaled.cpu().numpy(), int(n_inducing), random_state=rng)
    other: Tensor = torch.unique(rows[torch.from_numpy(chosen).long().to(rows.device)], dim=0)
    return other
