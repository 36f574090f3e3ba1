"""Clusters of images of points under a kernel: runs of k-means whose means are never written down.

A mean is a weighted sum of images, so the squared distance from an image to it needs kernel values only:
``k(x, x) - 2 sum_j w_j k(x, x_j) / s + sum_jl w_j w_l k(x_j, x_l) / s^2`` over the members j, l of the cluster, s their
weight. One product of K with the memberships gives all distances; restarts are further columns of the same product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.operators.solvers import System

__all__ = ["Means", "Runs", "members", "round_off"]

_FEW = 1 / 3  # of the rows: when fewer change clusters, their part of the product is cheaper than the whole


@dataclass(frozen=True)
class Means:
    """What is found, of the best run.

    Attributes:
        center_labels: ``(n,)``: the members whose images the means are of.
        labels: ``(n,)``: the nearest mean of each row; equal to ``center_labels`` where it has come to rest.
        norms: ``(k,)``: squared lengths of the means; infinite for a cluster without members.
        inertia: weighted sum of squared distances to the nearest mean.
    """

    center_labels: Tensor
    labels: Tensor
    norms: Tensor
    inertia: float


class Runs:
    """Several runs from different starts, and the product of the kernel matrix with their memberships.

    Args:
        system: the kernel matrix; products are in float32 where its points are, what is found in float64.
        starts: labels ``(R, n)``.
        weights: of the rows, ``(n,)``, >= 0.
        k: clusters.

    Memory: ``4 n R k`` numbers.
    """

    def __init__(self, system: System, starts: Tensor, weights: Tensor, k: int) -> None:
        self.system, self.weights, self.k = system, weights, k
        self.dtype = torch.float32 if system.has_single and system.A.dtype != torch.float64 else torch.float64
        self.diagonal = system.diagonal()
        self.labels = starts.clone()
        self.M = members(starts, weights, k)  # (n, R k)
        self.S = system.product(self.M, dtype=self.dtype)  # K @ M

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, runs and clusters."""
        R, n = self.labels.shape
        return n, R, self.k

    def distances(self) -> Tensor:
        """Squared distances of all rows from all means, ``(n, R, k)``; infinite from a cluster without members.

        A row that is its cluster's only member is at a distance of round-off, of either sign.
        """
        return _distances(self.diagonal, self.M, self.S)[0].view(self.shape)

    def inertias(self) -> Tensor:
        """Weighted sums of squared distances of the members from their means, ``(R,)``."""
        mass = self.M.sum(0)
        explained = (self.M * self.S).sum(0) / torch.where(mass > 0, mass, 1.0)
        return self.weights @ self.diagonal - explained.view(-1, self.k).sum(1)

    def relabel(self, labels: Tensor) -> None:
        """Other labels ``(R, n)``: the part of the product that changes, or all of it where most rows do."""
        changed = (labels != self.labels).any(0).nonzero().squeeze(1)
        self.labels = labels
        if len(changed) < _FEW * len(self.weights):
            before = self.M[changed]
            self.M[changed] = members(labels[:, changed], self.weights[changed], self.k)
            if len(changed):
                self.S += self._columns(changed, self.M[changed] - before)
        else:
            self.M = members(labels, self.weights, self.k)
            self.S = self.system.product(self.M, dtype=self.dtype)

    def best(self) -> Means:
        """The run with the smallest inertia, computed again in float64."""
        centers = self.labels[int(self.inertias().argmin())]
        M = members(centers[None], self.weights, self.k)
        distances, norms = _distances(self.diagonal, M, self.system.product(M))
        nearest, labels = distances.min(1)
        return Means(centers, labels, norms, float(self.weights @ nearest.clamp(min=0.0)))

    def _columns(self, rows: Tensor, V: Tensor) -> Tensor:
        """K[:, rows] @ V in float64."""
        operator = self.system.operator(self.dtype)
        part = operator[:, rows]
        product = part @ V.to(operator.dtype)
        return torch.as_tensor(product).to(torch.float64)


def members(labels: Tensor, weights: Tensor, k: int) -> Tensor:
    """Weights of the rows in each cluster, ``(n, R k)``, for labels ``(R, n)``."""
    R, n = labels.shape
    columns = labels.mT + k * torch.arange(R, device=labels.device)  # (n, R)
    result = weights.new_zeros(n, R * k)
    return result.scatter_(1, columns, weights[:, None].expand(n, R))


def round_off(diagonal: Tensor, dtype: torch.dtype) -> float:
    """Squared distances up to here are round-off of kernel values."""
    return float(diagonal.abs().max()) * (1e-12 if dtype == torch.float64 else 1e-5)


def _distances(diagonal: Tensor, M: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances ``(n, c)`` of all rows from all means, and the means' squared lengths ``(c,)``."""
    mass = M.sum(0)
    has_members = mass > 0
    norms = torch.where(has_members, (M * S).sum(0) / mass.square(), torch.inf)
    return diagonal[:, None] - 2.0 * S / torch.where(has_members, mass, 1.0) + norms, norms
