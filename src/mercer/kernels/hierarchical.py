"""Kernels of patches: infinitely wide convolutional networks without overlap, and sums over overlapping patches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.kernels.algebra import Composite
from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.duals import Dual
from mercer.kernels.neural.activations import as_unit
from mercer.kernels.neural.layers import Conv, Dense, Flatten
from mercer.kernels.neural.network import InfiniteNetwork
from mercer.kernels.sets import MeanOfPairs
from mercer.operators.kernel_operator import KernelOperator
from mercer.operators.maps import Expression, reciprocal_or_zero, safe_sqrt
from mercer.operators.statistics import Columns, TileStatistic

KINDS = ("ntk", "nngp")


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
    """

    children: tuple[int, ...]
    width: int
    dual: Dual
    tangent: bool
    power: int = 1

    @property
    def n_patches(self) -> int:
        """Patches of a point."""
        return math.prod(self.children)

    @property
    def flops_per_pair(self) -> float:
        """Elementwise passes, as measured: three a column, and those of each patch's activation and the ones above."""
        return 180.0 * self.n_patches * (3.0 * self.width + (110.0 if self.tangent else 60.0))

    @property
    def bytes_per_pair(self) -> float:
        """A pair of numbers a layer and a few temporaries."""
        return 8.0 * (2.0 * len(self.children) + 8.0)

    def of_versines(self, versine: Callable[[int], Tensor]) -> Tensor:
        """The kernel from the versines of the patches, which may be of any shapes that broadcast."""
        w, tangent = self._node(len(self.children), 0, versine)
        value = 1.0 - w if tangent is None else tangent
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
            total = self.dual.lapse(w, one, one) * (1.0 / count) + total
            if tangent is not None:
                slopes = self.dual.relative_slope(w, one, one) * tangent * (1.0 / count) + slopes
        return total, (slopes + (1.0 - total)) if self.tangent else None

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), (q, d) -> (p, q)``."""

        def versine(patch: int) -> Tensor:
            total: Any = 0.0
            for k in range(patch * self.width, (patch + 1) * self.width):
                total = (X[:, k, None] - Y[:, k]).square() * 0.5 + total
            result: Tensor = total
            return result

        return self.of_versines(versine)

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d) -> (p,)``: the same number for all points, as patches have norm 1."""
        return self.of_versines(lambda patch: X[:, 0] * 0.0)


class HierarchicalConv(Kernel):
    r"""Kernel of an infinitely wide deep convolutional network whose patches do not overlap.

    A point is cut into patches of ``filters[0]`` neighbours, scaled to norm 1; each next layer looks at ``filters[l]``
    neighbouring nodes, and the readout averages over what is left. With S = T = <x_j, y_j> of the patches at first,
    layer by layer, for the ReLU functions k0 and k1 of the cosine,

    .. math:: S \leftarrow \text{mean over children of } k_1(S), \quad
        T \leftarrow \text{mean over children of } k_0(S)\, T + \text{the new } S

    so that k(x, x) = 1 (NNGP) or the number of layers + 1 (NTK). Eigenfunctions come in families, one a layer: those
    of family l look at one meta-patch of layer l only.

    Args:
        filters: neighbours along each axis that a node of each layer sees; the number of layers is theirs.
        kind: "ntk" or "nngp".
        ndim: axes of a point, 1 (signals) or 2 (images).
        channels: numbers a position; points are rows of channels times positions, channels first.
        shape: positions along each axis; None takes all there are on one axis, and a square on two.
        activation: a name or a layer of :mod:`mercer.kernels.neural.layers`, normalised to variance 1.
        zero_patches: "raise", or "unit", which takes the constant vector of norm 1 for a patch of zeros.
        power: of the values, a whole number >= 1.

    Raises:
        ValueError: unknown kinds, no filters; at binding, a patch of zeros (unless ``zero_patches="unit"``).
        ShapeError: at binding, positions that the filters do not divide.

    Cost: a tile; a pair costs about 45 elementwise operations a patch and 3 a column. Memory of a tile is that of two
    numbers a layer and pair, not one a patch.
    Source: Cagnetta, Favero & Wyart, What can be learnt with wide convolutional neural networks? (2023).

    >>> HierarchicalConv((2, 2))(torch.eye(4) + 0.1).diagonal()
    tensor([3., 3., 3., 3.])
    """

    def __init__(
        self,
        filters: Sequence[int] = (2, 2, 2),
        kind: str = "ntk",
        ndim: int = 1,
        channels: int = 1,
        shape: Sequence[int] | None = None,
        activation: Any = "relu",
        zero_patches: str = "raise",
        power: int = 1,
    ) -> None:
        self.filters, self.kind, self.ndim, self.channels, self.shape = filters, kind, ndim, channels, shape
        self.activation, self.zero_patches, self.power = activation, zero_patches, power
        self.check()

    def check(self) -> None:
        """Raise ValueError or TypeError for an argument outside its domain."""
        super().check()
        name = type(self).__name__
        if not isinstance(self.filters, list | tuple) or not self.filters or not all(map(_is_count, self.filters)):
            raise ValueError(
                f"{name}(filters={self.filters!r}): give one whole number >= 1 a layer, such as (2, 2, 2)."
            )
        if self.kind not in KINDS:
            raise ValueError(f"{name}(kind={self.kind!r}): the kind is one of {', '.join(KINDS)}.")
        if self.ndim not in (1, 2):
            raise ValueError(f"{name}(ndim={self.ndim!r}): points have 1 axis (signals) or 2 (images).")
        if self.zero_patches not in ("raise", "unit"):
            raise ValueError(f"{name}(zero_patches={self.zero_patches!r}): it is 'raise' or 'unit'.")
        if self.shape is not None and (len(self.shape) != self.ndim or not all(map(_is_count, self.shape))):
            raise ValueError(f"{name}(shape={self.shape!r}): give {self.ndim} numbers of positions, as ndim says.")
        for argument in ("channels", "power"):
            if not _is_count(getattr(self, argument)):
                raise ValueError(f"{name}({argument}={getattr(self, argument)!r}): it is a whole number >= 1.")
        as_unit(self.activation)

    @property
    def smoothness(self) -> float:
        """nu: k falls like distance ** (2 nu) between near points; 1/2 for the NTK, 3/2 for the NNGP kernel of ReLU."""
        return 0.5 if self.kind == "ntk" else 1.5

    @property
    def effective_dimensions(self) -> tuple[int, ...]:
        """Of the meta-patches of each layer: (patch size - 1) times the patches in it."""
        sizes = [s**self.ndim for s in self.filters]
        return tuple((sizes[0] * self.channels - 1) * math.prod(sizes[1 : i + 1]) for i in range(len(sizes)))

    def sector_of(self, degrees: Sequence[int]) -> int | None:
        """The lowest layer with a meta-patch that holds all patches of a degree > 0, patches in the tree's order.

        0 for the constant; None where no meta-patch does: the eigenvalue is 0.

        >>> kernel = HierarchicalConv((2, 2))
        >>> [kernel.sector_of(k) for k in ([0, 0, 0, 0], [3, 0, 0, 0], [1, 2, 0, 0], [0, 1, 1, 0])]
        [0, 1, 2, None]
        """
        active = [i for i, degree in enumerate(degrees) if degree]
        if not active:
            return 0
        span = 1
        for layer, size in enumerate((1, *(s**self.ndim for s in self.filters[1:])), 1):
            span *= size
            if len({i // span for i in active}) == 1:
                return layer
        return None

    def __call__(self, X: Any, Y: Any = None, *, plan: str | None = None) -> KernelOperator:
        """The kernel matrix, of rows ``(n, d)``, or of ``(n, channels, *positions)``."""
        images = []
        for Z in (X, Y):
            if Z is not None and not hasattr(Z, "columns"):
                Z = as_tensor(Z)
                if Z.dim() == self.ndim + 2 and Z.shape[1] == self.channels:
                    Z = Z.flatten(1)
            images.append(Z)
        return super().__call__(*images, plan=plan)

    def hierarchy(self, d: int) -> tuple[Hierarchy, tuple[int, ...]]:
        """The tree of patches of points with ``d`` columns, and the columns in its order.

        Raises:
            ShapeError: the filters do not divide the positions.
        """
        positions = self._positions(d)
        block = math.prod(self.filters)
        if any(n % block for n in positions):
            raise ShapeError(
                f"{self!r}: {' x '.join(map(str, positions))} positions do not divide into blocks of {block} = "
                f"{' x '.join(map(str, self.filters))}. Change the filters, or crop or pad the points."
            )
        # positions by the digits of their coordinates: the block, then the node in it of each layer, then in the patch
        digits = (*[n // block for n in positions[:1]], *reversed(self.filters))
        grid = np.arange(d).reshape(self.channels, *positions)
        split: list[int] = [self.channels]
        for n in positions:
            split += [n // block, *digits[1:]]
        k, a = len(digits), len(positions)
        order = [1 + axis * k + digit for digit in range(k - 1) for axis in range(a)]
        order += [0, *(1 + axis * k + k - 1 for axis in range(a))]
        columns = grid.reshape(split).transpose(order).reshape(-1)
        sizes = [s**self.ndim for s in self.filters]
        top = math.prod(n // block for n in positions)
        children = (*sizes[1:], top)
        dual = as_unit(self.activation).dual
        tree = Hierarchy(children, sizes[0] * self.channels, dual, self.kind == "ntk", self.power)
        return tree, tuple(columns.tolist())

    def _positions(self, d: int) -> tuple[int, ...]:
        if self.shape is not None:
            positions = tuple(self.shape)
        elif self.ndim == 1:
            positions = (d // self.channels,)
        else:
            side = math.isqrt(d // self.channels)
            positions = (side, side)
        if math.prod(positions) * self.channels != d:
            raise ShapeError(
                f"{self!r}: points have {d} columns, which are not {self.channels} channels of {positions} positions. "
                f"Give shape=(...) and channels=."
            )
        return positions

    def network(self, d: int) -> InfiniteNetwork:
        """The network of which this is the kernel on points whose patches have norm 1; ``.finite(width)`` draws one.

        Raises:
            ShapeError: the filters do not divide the positions of ``d`` columns.

        >>> HierarchicalConv((2, 2)).network(4).finite(16, random_state=0)(torch.ones(3, 1, 4)).shape
        torch.Size([3, 1])
        """
        self.hierarchy(d)
        unit = as_unit(self.activation)
        gain = float(unit.dual.variance(torch.ones((), dtype=torch.float64))) ** -0.5
        first, *others = self.filters
        patch = math.sqrt(first**self.ndim * self.channels)
        layers: list[Any] = [Conv(first, first, "valid", sigma_w=patch), unit]
        for size in others:
            layers += [Conv(size, size, "valid", sigma_w=gain), unit]
        layers += [Flatten(), Dense(sigma_w=gain)]
        return InfiniteNetwork(*layers, sigma_b=0.0, shape=(self.channels, *self._positions(d)))

    def trace(self, binder: Binder) -> list[Expression]:
        """The tile function's values."""
        tree, order = self.hierarchy(binder.width)
        columns = tuple(binder.all_columns[c] for c in order)
        for name, Z in (("X", binder.X), ("Y", binder.Y)):
            if self.zero_patches == "raise":
                self._require_patches(name, Z, columns, tree.width)
        return [binder.statistic(TileStatistic(UnitPatches(columns, tree.width), function=tree))]

    def _require_patches(self, name: str, Z: Tensor, columns: tuple[int, ...], width: int) -> None:
        if torch._C._functorch.maybe_current_level() is not None:
            return
        patches = Z.detach()[..., list(columns)].unflatten(-1, (-1, width))
        zero = (patches == 0.0).all(-1).nonzero()
        if len(zero):
            raise ValueError(
                f"{name} has {len(zero)} patches of zeros (first: row {int(zero[0][-2])}, patch {int(zero[0][-1])}), "
                f"which have no direction. Add a constant to the data, or set zero_patches='unit'."
            )


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
            if not _is_count(getattr(self, argument)):
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


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
