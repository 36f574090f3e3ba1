"""Two ways down for k-means in feature space: all rows to their nearest means (Lloyd), and moves of single rows."""

from __future__ import annotations

import torch
from torch import Tensor

from mercer.learn.feature_space_means import Runs, round_off
from mercer.progress import Progress, track

__all__ = ["hartigan", "lloyd"]


@torch.no_grad()
def lloyd(runs: Runs, *, max_iter: int, tol: float) -> int:
    """Lloyd's algorithm, in all runs at once; how many rounds it took.

    Args:
        runs: changed in place.
        max_iter: rounds.
        tol: a run ends when its inertia falls by no more than this share of itself, or no label changes.

    Cost: a round is one product with ``R k`` columns, or the part of it where labels have changed if they are few.
    """
    _, R, k = runs.shape
    weights, floor = runs.weights, round_off(runs.diagonal, runs.dtype)
    inertias = torch.full((R,), torch.inf, dtype=torch.float64, device=weights.device)
    running = torch.ones(R, dtype=torch.bool, device=weights.device)
    progress: Progress[int] = track(None, description="kernel k-means")
    n_iter = 0
    with progress:
        for n_iter in range(1, max_iter + 1):
            nearest, labels = runs.distances().min(2)
            nearest, labels = nearest.clamp(min=0.0), labels.mT.contiguous()
            found = weights @ nearest  # (R,)
            progress.advance(note=f"inertia {float(found.min()):.6g}")
            for r in range(R):
                if running[r]:
                    _fill_empty(labels[r], nearest[:, r], weights, k, floor)
            labels[~running] = runs.labels[~running]
            running &= ~((labels == runs.labels).all(1) | (inertias - found <= tol * found))
            inertias = torch.minimum(inertias, found)
            if not bool(running.any()) or n_iter == max_iter:
                break
            labels[~running] = runs.labels[~running]
            runs.relabel(labels)
    return n_iter


@torch.no_grad()
def hartigan(runs: Runs, *, max_iter: int, tol: float) -> int:
    r"""Moves of rows to other clusters that lower the inertia though the row may be nearest to its own mean.

    A row of weight w pulls its own mean along: leaving a cluster of weight a saves ``a w / (a - w)`` of its squared
    distance, joining one of weight b costs ``b w / (b + w)`` of that. Where clusters are small or images nearly
    orthogonal, Lloyd's algorithm rests at partitions that such moves improve by much, and every row is nearest to its
    mean where no move is left.

    The best moves of each run are made together, as many as do lower the inertia: half as many after a round that
    did not, twice as many after one that did.

    Args:
        runs: changed in place.
        max_iter: rounds.
        tol: a run ends when all its moves together promise no more than this share of its inertia.

    Cost: a round is the part of a product where labels change.
    Source: Hartigan, Clustering algorithms (1975), chapter 4; Telgarsky & Vattani, Hartigan's method (AISTATS 2010).
    """
    n, R, _ = runs.shape
    energy = float(runs.weights @ runs.diagonal.abs())
    least = energy * (1e-13 if runs.dtype == torch.float64 else 1e-7)  # below it a gain is round-off
    inertias, most = runs.inertias(), torch.full((R,), n, device=runs.labels.device)
    progress: Progress[int] = track(None, description="kernel k-means, single moves")
    n_iter = 0
    with progress:
        for n_iter in range(1, max_iter + 1):  # noqa: B007
            gains, targets = _gains(runs)  # (R, n)
            gains = torch.where(gains > least, gains, 0.0)
            resting = (gains.sum(1) <= tol * inertias.clamp(min=0.0)) | (most == 0)
            gains[resting] = 0.0
            if not bool((gains > 0).any()):
                break
            # Ranks of the gains of each run: the first so many rows move.
            ranks = gains.argsort(1, descending=True).argsort(1)
            moved = (gains > 0) & (ranks < most[:, None])
            before = runs.labels
            runs.relabel(torch.where(moved, targets, before))
            found = runs.inertias()
            worse = ~(found < inertias - least) & moved.any(1)
            if bool(worse.any()):
                runs.relabel(torch.where(worse[:, None], before, runs.labels))
            n_moved = moved.sum(1)
            most = torch.where(worse, n_moved // 2, torch.where(moved.any(1), 2 * n_moved, most))
            inertias = torch.where(worse, inertias, found)
            progress.advance(note=f"inertia {float(inertias.min()):.6g}")
    return n_iter


def _gains(runs: Runs) -> tuple[Tensor, Tensor]:
    """By how much the inertia falls if a row alone moves, and to which cluster is best, ``(R, n)`` each."""
    n, R, k = runs.shape
    distances, weights = runs.distances().clamp(min=0.0), runs.weights
    mass = runs.M.sum(0).view(R, k)
    own = runs.labels.mT[..., None]  # (n, R, 1)
    w = weights[:, None]
    # A cluster without members costs nothing: the row is its own mean there.
    costs = torch.where(mass > 0, distances * mass * w[..., None] / (mass + w[..., None]), 0.0)
    costs.scatter_(2, own, torch.inf)
    cheapest, targets = costs.min(2)  # (n, R)
    left = mass.expand(n, R, k).gather(2, own).squeeze(2) - w
    # The last row of a cluster stays; so does one whose cluster's other members weigh nothing.
    saved = torch.where(left > 1e-12 * w, distances.gather(2, own).squeeze(2) * (left + w) * w / left, 0.0)
    return (saved - cheapest).mT.contiguous(), targets.mT.contiguous()


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
