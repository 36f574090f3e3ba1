"""Lloyd's algorithm on the images of points under a kernel: clusters whose means are never written down.

A mean is a weighted sum of images, so the squared distance from an image to it needs kernel values only:
``k(x, x) - 2 sum_j w_j k(x, x_j) / s + sum_jl w_j w_l k(x_j, x_l) / s^2`` over the members j, l of the cluster, s their
weight. One product of K with the memberships gives all distances; restarts are further columns of the same product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.operators.solvers import System
from mercer.progress import Progress, track

__all__ = ["Means", "lloyd", "members", "seed"]

_FEW = 1 / 3  # of the rows: when fewer change clusters, their part of the product is cheaper than the whole


@dataclass(frozen=True)
class Means:
    """What :func:`lloyd` gives, of the best restart.

    Attributes:
        center_labels: ``(n,)``: the members whose images the means are of.
        labels: ``(n,)``: the nearest mean of each row; equal to ``center_labels`` where it has come to rest.
        norms: ``(k,)``: squared lengths of the means; infinite for a cluster without members.
        inertia: weighted sum of squared distances to the nearest mean.
        n_iter: rounds.
    """

    center_labels: Tensor
    labels: Tensor
    norms: Tensor
    inertia: float
    n_iter: int


def members(labels: Tensor, weights: Tensor, k: int) -> Tensor:
    """Weights of the rows in each cluster, ``(n, R k)``, for labels ``(R, n)``."""
    R, n = labels.shape
    columns = labels.mT + k * torch.arange(R, device=labels.device)  # (n, R)
    result = weights.new_zeros(n, R * k)
    return result.scatter_(1, columns, weights[:, None].expand(n, R))


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
    floor = _floor(diagonal, torch.float64)
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


@torch.no_grad()
def lloyd(system: System, starts: Tensor, weights: Tensor, k: int, *, max_iter: int, tol: float) -> Means:
    """The best of several runs of Lloyd's algorithm, all at once.

    Args:
        system: the kernel matrix; products are in float32 where its points are, the result in float64.
        starts: labels ``(R, n)``.
        weights: of the rows, ``(n,)``, >= 0.
        k: clusters.
        max_iter: rounds.
        tol: a run ends when its inertia falls by no more than this share of itself, or no label changes.

    Cost: a round is one product with ``R k`` columns, or the part of it where labels have changed if they are few.
    Memory ``3 n R k`` numbers.
    """
    dtype = torch.float32 if system.has_single and system.A.dtype != torch.float64 else torch.float64
    diagonal, (R, n) = system.diagonal(), starts.shape
    centers = starts.clone()
    M = members(centers, weights, k)
    S = system.product(M, dtype=dtype)
    inertias = torch.full((R,), torch.inf, dtype=torch.float64, device=S.device)
    running = torch.ones(R, dtype=torch.bool, device=S.device)
    floor = _floor(diagonal, dtype)
    progress: Progress[int] = track(None, description="kernel k-means")
    n_iter = 0
    with progress:
        for n_iter in range(1, max_iter + 1):
            distances, _ = _distances(diagonal, M, S)
            distances = distances.view(n, R, k)
            nearest, labels = distances.min(2)
            nearest, labels = nearest.clamp(min=0.0), labels.mT.contiguous()
            found = weights @ nearest  # (R,)
            progress.advance(note=f"inertia {float(found.min()):.6g}")
            for r in range(R):
                if running[r]:
                    _fill_empty(labels[r], nearest[:, r], weights, k, floor)
            labels[~running] = centers[~running]
            is_same = (labels == centers).all(1)
            running &= ~(is_same | (inertias - found <= tol * found))
            inertias = torch.minimum(inertias, found)
            if not bool(running.any()) or n_iter == max_iter:
                break
            labels[~running] = centers[~running]
            changed = (labels != centers).any(0).nonzero().squeeze(1)
            centers = labels
            if len(changed) < _FEW * n:
                before = M[changed]
                M[changed] = members(centers[:, changed], weights[changed], k)
                S += _columns(system, changed, dtype, M[changed] - before)
            else:
                M = members(centers, weights, k)
                S = system.product(M, dtype=dtype)
    best = int(inertias.argmin())
    M = members(centers[best : best + 1], weights, k)
    distances, norms = _distances(diagonal, M, system.product(M))
    nearest, labels = distances.min(1)
    return Means(centers[best], labels, norms, float(weights @ nearest.clamp(min=0.0)), n_iter)


def _distances(diagonal: Tensor, M: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances ``(n, c)`` of all rows from all means, and the means' squared lengths ``(c,)``.

    A row that is its cluster's only member is at a distance of round-off, of either sign.
    """
    mass = M.sum(0)
    has_members = mass > 0
    norms = torch.where(has_members, (M * S).sum(0) / mass.square(), torch.inf)
    return diagonal[:, None] - 2.0 * S / torch.where(has_members, mass, 1.0) + norms, norms


def _columns(system: System, rows: Tensor, dtype: torch.dtype, V: Tensor) -> Tensor:
    """K[:, rows] @ V in float64."""
    operator = system.operator(dtype)
    part = operator[:, rows]
    product = part @ V.to(operator.dtype)
    return torch.as_tensor(product).to(torch.float64)


def _floor(diagonal: Tensor, dtype: torch.dtype) -> float:
    """Squared distances up to here are round-off of kernel values."""
    return float(diagonal.abs().max()) * (1e-12 if dtype == torch.float64 else 1e-5)


def _fill_empty(labels: Tensor, nearest: Tensor, weights: Tensor, k: int, floor: float) -> None:
    """Give each cluster without members the row that lies farthest from its mean, if any lies off it; in place."""
    counts = torch.bincount(labels[weights > 0], minlength=k)
    for c in (counts == 0).nonzero().squeeze(1).tolist():
        movable = (weights > 0) & (counts[labels] > 1) & (nearest > floor)
        if not bool(movable.any()):
            return
        row = int(torch.where(movable, weights * nearest, -1.0).argmax())
        counts[labels[row]] -= 1
        labels[row] = c
        counts[c] = 1
