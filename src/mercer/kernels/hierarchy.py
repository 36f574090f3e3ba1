"""The tree of patches of a deep convolutional network without overlap, as a tile function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mercer.kernels.duals import Dual
from mercer.kernels.neural.covariances import Covariances, through_dual
from mercer.operators.maps import reciprocal_or_zero, safe_sqrt

__all__ = ["Hierarchy", "Patches", "UnitPatches"]

_WITH_NORMS = 2.0  # times the passes of an activation where patches keep their norms, as measured


@dataclass(frozen=True)
class Patches:
    """Points as their patches one after the other, as they are."""

    columns: tuple[int, ...]

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor:
        return X[..., list(self.columns)]


@dataclass(frozen=True)
class UnitPatches:
    """Points as their patches one after the other, each ``width`` columns and of norm 1; a zero patch is a constant."""

    columns: tuple[int, ...]
    width: int

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor:
        patches = X[..., list(self.columns)].unflatten(-1, (-1, self.width))
        norm = safe_sqrt(patches.square().sum(-1, keepdim=True))
        unit = patches * reciprocal_or_zero(norm) + (norm == 0.0).to(X.dtype) * self.width**-0.5
        rows: Tensor = unit.flatten(-2)
        return rows


@dataclass(frozen=True)
class Hierarchy:
    """A tile function: depth first through the tree of patches, so that one pair of blocks a layer is in memory.

    Args:
        children: how many nodes each layer's node averages, from the lowest layer to the readout.
        width: columns of a patch.
        dual: of the activation.
        tangent: whether the NTK is wanted.
        power: of the values.
        unit: whether patches have norm 1. Otherwise each node has variances of both points too, and the state of a pair
            is that of :mod:`mercer.kernels.neural.covariances`.
    """

    children: tuple[int, ...]
    width: int
    dual: Dual
    tangent: bool
    power: int = 1
    unit: bool = True

    @property
    def n_patches(self) -> int:
        """Patches of a point."""
        return math.prod(self.children)

    @property
    def flops_per_pair(self) -> float:
        """Elementwise passes, as measured: three a column, and those of each patch's activation and the ones above."""
        activation = (80.0 if self.tangent else 60.0) * (1.0 if self.unit else _WITH_NORMS)
        return 180.0 * self.n_patches * (3.0 * self.width + activation)

    @property
    def bytes_per_pair(self) -> float:
        """A pair of numbers a layer and a few temporaries."""
        return 8.0 * (2.0 * len(self.children) + 8.0)

    def of_versines(self, versine: Callable[[int], Tensor]) -> Tensor:
        """The kernel from the versines of the patches, which may be of any shapes that broadcast."""
        w, tangent = self._node(len(self.children), 0, versine)
        return self._raised(1.0 - w if tangent is None else tangent)

    def _raised(self, value: Tensor) -> Tensor:
        return value if self.power == 1 else value**self.power

    def _node(self, level: int, first: int, versine: Callable[[int], Tensor]) -> tuple[Tensor, Tensor | None]:
        """Versine and NTK of one node, whose patches begin with number ``first``."""
        if level == 0:
            w = versine(first)
            return w, 1.0 - w if self.tangent else None
        count, step = self.children[level - 1], math.prod(self.children[: level - 1])
        total: Any = 0.0
        slopes: Any = 0.0
        for child in range(count):
            w, tangent = self._node(level - 1, first + child * step, versine)
            one = torch.ones((), dtype=w.dtype, device=w.device)
            if tangent is None:
                total = self.dual.lapse(w, one, one) * (1.0 / count) + total
            else:
                lapse, slope = self.dual.lapse_and_slope(w, one, one)
                total = lapse * (1.0 / count) + total
                slopes = slope * (tangent * (1.0 / (count * self.dual.variance(one)))) + slopes
        return total, (slopes + (1.0 - total)) if self.tangent else None

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), (q, d) -> (p, q)``."""
        if not self.unit:
            return self._of_norms(X[:, None], Y)

        def versine(patch: int) -> Tensor:
            total: Any = 0.0
            for k in range(patch * self.width, (patch + 1) * self.width):
                total = (X[:, k, None] - Y[:, k]).square() * 0.5 + total
            result: Tensor = total
            return result

        return self.of_versines(versine)

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d) -> (p,)``: the same number for all points where patches have norm 1."""
        if not self.unit:
            return self._of_norms(X, X)
        return self.of_versines(lambda patch: X[:, 0] * 0.0)

    def _of_norms(self, X: Tensor, Y: Tensor) -> Tensor:
        """The kernel of patches of any norms; rows ``(..., d)`` that broadcast."""
        top = self._normed_node(len(self.children), 0, X, Y)
        return self._raised(top.covariance if top.tangent is None else top.tangent)

    def _normed_node(self, level: int, first: int, X: Tensor, Y: Tensor) -> Covariances:
        if level == 0:
            columns = range(first * self.width, (first + 1) * self.width)
            halves: Any = 0.0
            p: Any = 0.0
            q: Any = 0.0
            for k in columns:
                halves = (X[..., k] - Y[..., k]).square() * 0.5 + halves
                p, q = X[..., k].square() + p, Y[..., k].square() + q
            return _seen(Covariances(halves, None, p, q, 0, False), self.tangent)
        count, step = self.children[level - 1], math.prod(self.children[: level - 1])
        share = 1.0 / (count * float(self.dual.variance(torch.ones((), dtype=torch.float64))))
        total: Any = [0.0] * 4
        for child in range(count):
            below = self._normed_node(level - 1, first + child * step, X, Y)
            found = through_dual(below, self.dual)
            parts = (found.half, 0.0 if found.tangent is None else found.tangent, found.p, found.q)
            total = [part * share + so_far for part, so_far in zip(parts, total, strict=True)]
        half, tangent, p, q = total
        return _seen(Covariances(half, tangent if self.tangent else None, p, q, 0, False), self.tangent)


def _seen(state: Covariances, tangent: bool) -> Covariances:
    """With the weights above: the NTK is what came through those below and the new covariance."""
    if not tangent:
        return state
    below = 0.0 if state.tangent is None else state.tangent
    return replace(state, tangent=state.covariance + below)
