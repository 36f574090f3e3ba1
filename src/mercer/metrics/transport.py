"""The exact Wasserstein distance of two samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import linear_sum_assignment, linprog
from torch import Tensor

from mercer.config import require_memory
from mercer.errors import NotConverged
from mercer.metrics.samples import Samples, check_order, root

__all__ = ["coupling_of_quantiles", "wasserstein"]


def wasserstein(X: Any, Y: Any, *, p: float = 1, X_weights: Any = None, Y_weights: Any = None) -> Any:
    r"""The Wasserstein distance of order p, exact: what it costs to turn one sample into the other.

    .. math:: W_p = (\min_P \sum_{ij} P_{ij} \lVert x_i - y_j \rVert_2^p)^{1/p}, \quad
        P 1 = a, \; P^T 1 = b, \; P \ge 0

    One column is solved by sorting; more by an assignment where the samples have the same size and no weights, else by
    a linear program. Differentiable in the points of tensors, the plan P held fixed, which is exact wherever the plan
    is unique.

    Args:
        X, Y: ``(n, d)`` and ``(m, d)``; ``(n,)`` is one column. numpy, pandas or torch.
        p: the order, >= 1.
        X_weights, Y_weights: ``(n,)`` and ``(m,)``, >= 0; they are scaled to add up to 1.

    Returns:
        A float; a tensor ``()`` if X or Y is one.

    Raises:
        ShapeError: columns or weights that do not fit.
        ValueError: an order below 1, NaN, negative weights.
        MemoryBudgetError: the n x m costs do not fit.
        NotConverged: the linear program was not solved.

    Cost: one column ``(n + m) log(n + m)``; an assignment up to ``n^3`` (1 s at 2000 points); a linear program of n m
    variables, minutes beyond 500 x 500: use :func:`sinkhorn_divergence` or :func:`sliced_wasserstein` there.
    Source: Peyre & Cuturi, Computational optimal transport (2019), remarks 2.28 and 2.30, eq. 2.11.

    >>> wasserstein([0.0, 1.0, 3.0], [5.0, 6.0, 8.0])
    5.0
    """
    p = check_order(p)
    samples = Samples.of(X, Y)
    a, b = samples.weights(X_weights, Y_weights)
    left, right = samples.X, samples.Y
    if left.shape[1] == 1:
        left, order = left.flatten().sort()
        right, other = right.flatten().sort()
        i, j, mass = coupling_of_quantiles(a[order], b[other])
        distance = (left[i] - right[j]).abs()
    else:
        weighted = X_weights is not None or Y_weights is not None
        i, j, mass = _coupling(left.detach(), right.detach(), a, b, p, weighted=weighted)
        distance = root((left[i] - right[j]).square().sum(-1), 2.0)
    return samples.answer(root((mass * distance**p).sum(), p))


def coupling_of_quantiles(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The plan of sorted points in one column: positions in both samples, and the mass that goes between them."""
    ends = (a.cumsum(0), b.cumsum(0))
    levels = torch.cat(ends).sort().values.clamp(max=1.0)
    starts = torch.cat([levels.new_zeros(1), levels[:-1]])
    # The middle of each step lies inside of it, so round-off of its ends does not matter.
    middle = 0.5 * (starts + levels)
    i, j = (torch.searchsorted(end, middle).clamp(max=len(end) - 1) for end in ends)
    return i, j, levels - starts


def _coupling(X: Tensor, Y: Tensor, a: Tensor, b: Tensor, p: float, *, weighted: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The optimal plan in several columns, as :func:`coupling_of_quantiles` gives it."""
    n, m = len(X), len(Y)
    require_memory(
        48 * n * m,
        asked=f"wasserstein of {n} and {m} points in {X.shape[1]} columns",
        instead="Use sliced_wasserstein or sinkhorn_divergence, which store no costs.",
    )
    distance = torch.cdist(X, Y, compute_mode="donot_use_mm_for_euclid_dist").cpu().numpy()
    costs = distance**p
    if n == m and not weighted:
        rows, columns = linear_sum_assignment(costs)
        return torch.from_numpy(rows), torch.from_numpy(columns), a
    scale = float(costs.max()) or 1.0
    sums = sparse.vstack(
        [sparse.kron(sparse.eye(n), np.ones((1, m))), sparse.kron(np.ones((1, n)), sparse.eye(m))], format="csr"
    )
    # One of the n + m sums follows from the others; leaving it out spares the solver their round-off.
    totals = torch.cat([a, b]).cpu().numpy()
    found = linprog(costs.ravel() / scale, A_eq=sums[:-1], b_eq=totals[:-1], method="highs")
    if found.x is None:
        raise NotConverged(f"wasserstein: the linear program of {n} x {m} variables was not solved: {found.message}")
    used = np.flatnonzero(found.x > 0.0)
    return torch.from_numpy(used // m), torch.from_numpy(used % m), torch.from_numpy(found.x[used]).to(a.device)
