"""The kernel of infinitely wide deep convolutional networks whose patches do not overlap."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.hierarchy import Hierarchy, Patches, UnitPatches
from mercer.kernels.neural.activations import as_unit
from mercer.kernels.neural.layers import Conv, Dense, Flatten
from mercer.kernels.neural.network import InfiniteNetwork
from mercer.kernels.parameters import is_count
from mercer.operators.kernel_operator import KernelOperator
from mercer.operators.maps import Expression
from mercer.operators.statistics import TileStatistic

KINDS = ("ntk", "nngp")


class HierarchicalConv(Kernel):
    r"""Kernel of an infinitely wide deep convolutional network whose patches do not overlap.

    A point is cut into patches of ``filters[0]`` neighbours, scaled to norm 1; each next layer looks at ``filters[l]``
    neighbouring nodes, and the readout averages over what is left. With S = T = <x_j, y_j> of the patches at first,
    layer by layer, for the ReLU functions k0 and k1 of the cosine,

    .. math:: S \leftarrow \text{mean over children of } k_1(S), \quad
        T \leftarrow \text{mean over children of } k_0(S)\, T + \text{the new } S

    so that k(x, x) = 1 (NNGP) or the number of layers + 1 (NTK). Eigenfunctions come in families, one a layer: those
    of family l look at one meta-patch of layer l only. With ``normalize=False`` patches keep their norms: the same
    network on the points as they are. ReLU's k0 and k1 are then of the cosine of two nodes, and k1 is multiplied by the
    roots of their variances.

    Args:
        filters: neighbours along each axis that a node of each layer sees; the number of layers is theirs.
        kind: "ntk" or "nngp".
        ndim: axes of a point, 1 (signals) or 2 (images).
        channels: numbers a position; points are rows of channels times positions, channels first.
        shape: positions along each axis; None takes all there are on one axis, and a square on two.
        activation: a name or a layer of :mod:`mercer.kernels.neural.layers`, normalised to variance 1.
        zero_patches: "raise", or "unit", which takes the constant vector of norm 1 for a patch of zeros; without
            ``normalize`` such a patch is as good as another.
        power: of the values, a whole number >= 1.
        normalize: whether patches are scaled to norm 1, which the theory and the spectra are about.

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
        normalize: bool = True,
    ) -> None:
        self.filters, self.kind, self.ndim, self.channels, self.shape = filters, kind, ndim, channels, shape
        self.activation, self.zero_patches, self.power = activation, zero_patches, power
        self.normalize = normalize
        self.check()

    def check(self) -> None:
        """Raise ValueError or TypeError for an argument outside its domain."""
        super().check()
        name = type(self).__name__
        if isinstance(self.filters, np.ndarray):
            self.filters = tuple(self.filters.tolist())
        if not isinstance(self.filters, list | tuple) or not self.filters or not all(map(is_count, self.filters)):
            raise ValueError(
                f"{name}(filters={self.filters!r}): give one whole number >= 1 a layer, such as (2, 2, 2)."
            )
        if self.kind not in KINDS:
            raise ValueError(f"{name}(kind={self.kind!r}): the kind is one of {', '.join(KINDS)}.")
        if not is_count(self.ndim) or self.ndim > 2:
            raise ValueError(f"{name}(ndim={self.ndim!r}): points have 1 axis (signals) or 2 (images).")
        if self.zero_patches not in ("raise", "unit"):
            raise ValueError(f"{name}(zero_patches={self.zero_patches!r}): it is 'raise' or 'unit'.")
        if self.shape is not None and (len(self.shape) != self.ndim or not all(map(is_count, self.shape))):
            raise ValueError(f"{name}(shape={self.shape!r}): give {self.ndim} numbers of positions, as ndim says.")
        if not isinstance(self.normalize, bool):
            raise ValueError(f"{name}(normalize={self.normalize!r}): it is True or False.")
        for argument in ("channels", "power"):
            if not is_count(getattr(self, argument)):
                raise ValueError(f"{name}({argument}={getattr(self, argument)!r}): it is a whole number >= 1.")
        as_unit(self.activation)

    @property
    def smoothness(self) -> float:
        """nu: k falls like distance ** (2 nu) between near points; 1/2 for the NTK, 3/2 for the NNGP kernel of ReLU."""
        return 0.5 if self.kind == "ntk" else 1.5

    @property
    def effective_dimensions(self) -> tuple[int, ...]:
        """Of the meta-patches of each layer, for patches of norm 1: (patch size - 1) times the patches in it."""
        sizes = [s**self.ndim for s in self.filters]
        return tuple((sizes[0] * self.channels - 1) * math.prod(sizes[1 : i + 1]) for i in range(len(sizes)))

    def sector_of(self, degrees: Sequence[int]) -> int | None:
        """The lowest layer with a meta-patch that holds all patches of a degree > 0, patches in the tree's order.

        0 for the constant; None where no meta-patch does: the eigenvalue is 0.

        Raises:
            ValueError: degrees that are no whole numbers.

        >>> kernel = HierarchicalConv((2, 2))
        >>> [kernel.sector_of(k) for k in ([0, 0, 0, 0], [3, 0, 0, 0], [1, 2, 0, 0], [0, 1, 1, 0])]
        [0, 1, 2, None]
        """
        whole = isinstance(degrees, Sequence | np.ndarray) and all(isinstance(degree, Integral) for degree in degrees)
        if not whole:
            raise ValueError(f"{type(self).__name__}.sector_of({degrees!r}): give a whole number a patch, its degree.")
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
        """The kernel matrix, of rows ``(n, d)``, or of ``(n, channels, *positions)``, which tell their own shape.

        Raises:
            ShapeError: arrays of neither kind, or of other channels or positions than the kernel's.
        """
        kernel, rows = self, []
        for Z in (X, Y):
            if Z is not None and not hasattr(Z, "columns"):
                Z = as_tensor(Z)
                if Z.dim() > 2:
                    kernel = kernel.of_images(Z.shape[1:])
                    Z = Z.flatten(1)
            rows.append(Z)
        return super(HierarchicalConv, kernel).__call__(*rows, plan=plan)

    def of_images(self, shape: Sequence[int]) -> HierarchicalConv:
        """The same kernel of points that are arrays ``(channels, *positions)``, when they come as rows.

        Raises:
            ShapeError: the kernel has other axes, channels or positions.

        >>> HierarchicalConv((2, 2), ndim=2).of_images((1, 4, 8)).shape
        (4, 8)
        """
        channels, *positions = (int(n) for n in shape)
        fits = len(positions) == self.ndim and channels == self.channels
        if not fits or (self.shape is not None and tuple(self.shape) != tuple(positions)):
            raise ShapeError(
                f"{self!r}: points are arrays of shape {tuple(shape)}, but the kernel's have channels={self.channels}, "
                f"ndim={self.ndim}, shape={self.shape}. Change these, or give (n, channels, *positions) or rows (n, d)."
            )
        kernel = copy.copy(self)
        kernel.shape = tuple(positions)
        return kernel

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
        tree = Hierarchy(children, sizes[0] * self.channels, dual, self.kind == "ntk", self.power, self.normalize)
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

    def n_patches(self, d: int) -> int:
        """How many patches points with ``d`` columns are cut into.

        Raises:
            ShapeError: the filters do not divide the positions of ``d`` columns.

        >>> HierarchicalConv((2, 2)).n_patches(16)
        8
        """
        tree, _ = self.hierarchy(d)
        return tree.n_patches

    def finite(self, width: int, d: int, *, random_state: Any = None) -> torch.nn.Module:
        """A network with ``width`` channels a layer, drawn at random, whose tangent kernel tends to this one.

        Of kind "nngp" this kernel is that of the outputs: their mean product over many draws.

        Args:
            width: of every layer but the last.
            d: columns of the points; the module takes rows, or ``(n, channels, *positions)``, with patches of norm 1 if
                the kernel is to ``normalize``.
            random_state: int, generator or None.

        Raises:
            ShapeError: the filters do not divide the positions of ``d`` columns.
            ValueError: a ``power``, which no network has.
        """
        return self.network(d).finite(width, random_state=random_state)

    def network(self, d: int) -> InfiniteNetwork:
        """The network of which this is the kernel (with ``normalize``, on points whose patches have norm 1).

        It has kernels of both kinds, ``.ntk`` and ``.nngp``; its ``.finite(width)`` draws one.

        Raises:
            ShapeError: the filters do not divide the positions of ``d`` columns.
            ValueError: a ``power``, which no network has.

        >>> HierarchicalConv((2, 2)).network(4).finite(16, random_state=0)(torch.ones(3, 1, 4)).shape
        torch.Size([3, 1])
        """
        self.hierarchy(d)
        if self.power != 1:
            raise ValueError(f"{self!r}: the power {self.power} of a kernel is that of no network. Set power=1.")
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
        if not self.normalize:
            return [binder.statistic(TileStatistic(Patches(columns), function=tree))]
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
