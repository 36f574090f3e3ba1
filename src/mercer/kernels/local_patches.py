"""Kernels of overlapping patches: means of a kernel over equal, or over all, pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.kernels.algebra import Composite
from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import is_count
from mercer.kernels.sets import MeanOfPairs
from mercer.operators.maps import Expression
from mercer.operators.statistics import Columns, TileStatistic

__all__ = ["LocalPatches"]


@dataclass(frozen=True)
class PatchPairs:
    """A tile function: the mean of a kernel over equal, or over all, pairs of patches."""

    pairs: MeanOfPairs
    share: bool

    @property
    def flops_per_pair(self) -> float:
        """Of plain torch, as for sets."""
        return self.pairs.flops_per_pair if self.share else self.pairs.flops_per_pair / self.pairs.room

    @property
    def bytes_per_pair(self) -> float:
        """A few temporaries a pair of patches."""
        return self.pairs.bytes_per_pair if self.share else self.pairs.bytes_per_pair / self.pairs.room**2

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, room * width), (q, room * width) -> (p, q)``."""
        P, Q = (Z.unflatten(-1, (self.pairs.room, self.pairs.width)) for Z in (X, Y))
        if self.share:
            K = self.pairs._all_pairs(P.flatten(0, 1), Q.flatten(0, 1), theta)
            return K.reshape(len(X), self.pairs.room, len(Y), self.pairs.room).mean((1, 3))
        total: Any = 0.0
        for i in range(self.pairs.room):
            total = self.pairs._all_pairs(P[:, i], Q[:, i], theta) * (1.0 / self.pairs.room) + total
        result: Tensor = total
        return result

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, room * width) -> (p,)``, a point at a time."""
        return torch.cat([self(X[i : i + 1], X[i : i + 1], *theta)[0] for i in range(len(X))] or [X.new_empty(0)])


class LocalPatches(Composite):
    r"""Local or convolutional kernel: the mean of a kernel over overlapping patches of one layer.

    .. math:: k(x, y) = \frac{1}{P} \sum_i \kappa(x_i, y_i) \quad \text{or} \quad
        \frac{1}{P^2} \sum_{i, j} \kappa(x_i, y_j) \text{ (share)}

    Args:
        base: of patches.
        size: neighbouring columns in a patch.
        stride: columns between patches.
        share: compare all pairs of patches, so that a shift changes nothing (with ``boundary="wrap"``).
        boundary: "valid" keeps patches inside, "wrap" joins the ends.

    Raises:
        TypeError: no kernel.
        ValueError: sizes below 1, an unknown boundary, white noise inside.
        ShapeError: at binding, points shorter than a patch.

    Cost: the base kernel, in plain torch, for each patch, or with ``share`` for each pair of patches.
    Source: Favero, Cagnetta & Wyart, Locality defeats the curse of dimensionality (NeurIPS 2021), eq. 7 and 8.

    >>> from mercer.kernels import RBF
    >>> LocalPatches(RBF(), size=1, share=True)(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).to_dense()
    tensor([[0.8033, 0.8033],
            [0.8033, 0.8033]])
    """

    in_grammar = True
    inner: ClassVar[tuple[str, ...]] = ("base",)

    def __init__(self, base: Kernel, size: int, stride: int = 1, share: bool = False, boundary: str = "valid") -> None:
        self.base, self.size, self.stride, self.share, self.boundary = base, size, stride, share, boundary
        self.check()

    def check(self) -> None:
        """Raise ValueError or TypeError for an argument outside its domain."""
        super().check()
        for argument in ("size", "stride"):
            if not is_count(getattr(self, argument)):
                raise ValueError(f"LocalPatches({argument}={getattr(self, argument)!r}): it is a whole number >= 1.")
        if self.boundary not in ("valid", "wrap"):
            raise ValueError(f"LocalPatches(boundary={self.boundary!r}): the boundary is 'valid' or 'wrap'.")

    def resolve(self, names: Sequence[str]) -> Kernel:
        """The inner kernel sees patches, which have no names."""
        return self

    def trace(self, binder: Binder) -> list[Expression]:
        """The tile function's values."""
        d = binder.width
        if d < self.size:
            raise ShapeError(f"{self!r}: points of {d} columns hold no patch of {self.size}. Take a smaller size.")
        last = d if self.boundary == "wrap" else d - self.size + 1
        places = [[(i + j) % d for j in range(self.size)] for i in range(0, last, self.stride)]
        columns = tuple(binder.all_columns[j] for patch in places for j in patch)
        points = [Z[..., list(columns)].unflatten(-1, (-1, self.size)).flatten(-3, -2) for Z in (binder.X, binder.Y)]
        inside = Binder(points[0], points[1])
        spec = inside.spec(self.base.trace(inside), repr(self.base))
        if spec.has_delta:
            raise ValueError(f"{self!r}: white noise inside a patch has no meaning. Add it outside.")
        slots = tuple(binder.slot(t, e) for t, e in zip(inside.theta, inside.event_dims, strict=True))
        function = PatchPairs(MeanOfPairs(spec, len(places), self.size), self.share)
        return [binder.statistic(TileStatistic(Columns(columns), function=function, slots=slots))]
