"""The kernels of infinite networks as ordinary kernels: that of any list of layers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.kernels.base import NOT_NEGATIVE, POSITIVE, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.duals import apply
from mercer.kernels.neural.layers import Unit, Weighted
from mercer.kernels.neural.quick import apart, by_angle, by_correlations
from mercer.kernels.neural.recursion import (
    Direction,
    Moments,
    Sigma,
    Signal,
    Size,
    finished,
    relative,
    through,
)
from mercer.kernels.neural.shapes import every, needs_positions, positions_after, require_closed_form
from mercer.kernels.neural.tile import NetworkTile
from mercer.kernels.parameters import Domain, Value, is_count
from mercer.operators.kernel_operator import KernelOperator
from mercer.operators.maps import Expression, constant, make
from mercer.operators.planning import format_seconds
from mercer.operators.statistics import Angle, Columns, SquaredDistance, TileStatistic

KINDS = ("ntk", "nngp")
LONG = 3600.0  # predicted seconds of a matrix above which a warning says so before anything is computed


class LayeredKernel(Kernel):
    """What kernels of networks have in common: a list of layers, and two hyperparameters."""

    domains: ClassVar[dict[str, Domain]] = {"sigma_w": POSITIVE, "sigma_b": NOT_NEGATIVE}
    sigma_w: Value
    sigma_b: Value

    @property
    def _layers(self) -> list[Any]:
        raise NotImplementedError

    @property
    def _tangent(self) -> bool:
        raise NotImplementedError

    def trace(self, binder: Binder) -> list[Expression]:
        """The recursion over the layers as a map; a tile function where positions or other functions come in."""
        layers = self._layers
        if not binder.width:
            raise ShapeError(f"{type(self).__name__}: X has no columns. Give (n, d) with d >= 1.")
        if needs_positions(layers) or not all(unit.dual.in_maps for unit in every(layers) if isinstance(unit, Unit)):
            return self._tile(binder, (binder.width,))
        sigmas = tuple(self._sigma(binder, name) for name in ("sigma_w", "sigma_b"))
        network = tuple(constant(s) if isinstance(s, float) else binder.scalar(binder.theta[s]) for s in sigmas)
        columns = binder.all_columns
        first = layers[0]
        if isinstance(first, Weighted):
            own: tuple[Sigma, ...] = tuple(
                theirs if mine is None else float(mine)
                for mine, theirs in zip((first.sigma_w, first.sigma_b), sigmas, strict=True)
            )
            signal = Signal(columns, own[0], own[1])
        else:
            signal = Signal(columns, 1.0, 0.0)
        given = signal.columns, signal.sigma_w, signal.sigma_b
        distance = binder.statistic(SquaredDistance(Direction(*given)))
        versine = distance * 0.5
        size, other = binder.row_value(Size(*given))
        tangent = None
        if self._tangent:
            tangent = apply("cosine_of_versine", versine) if isinstance(first, Weighted) else constant(0.0)
        # Without a bias, or on a line, opposite points are common, and their angle needs digits near pi as well.
        opposite = signal.sigma_b == 0.0 and isinstance(signal.sigma_b, float)
        angle = None
        if self._tangent and isinstance(first, Weighted) and (opposite or len(columns) == 1):
            angle = binder.statistic(Angle(Direction(*given)))
        rest = layers[1:] if isinstance(first, Weighted) else layers
        moments = Moments(versine, tangent, size, other)
        state = through(rest, moments, (network[0], network[1]), angle=angle)
        quick, bounds = None, None
        if angle is not None:
            value = by_angle(relative(state), distance, angle)
            quick = None if value is None else state.size * state.other * value
        elif isinstance(first, Weighted) and len(columns) > 1:
            quick, bounds = by_correlations(rest, moments, (network[0], network[1])), apart(distance)
        exact = finished(state)
        return [exact if quick is None else make("shortcut", exact, quick, value=bounds)]

    def _sigma(self, binder: Binder, name: str) -> Sigma:
        """The slot of a hyperparameter; the number 0.0 where there is no bias."""
        value = self.hyperparameter(name)
        off = value.dim() == 0 and not value.requires_grad and float(value) == 0.0
        return 0.0 if off else binder.slot(value, 0)

    def _tile(self, binder: Binder, shape: tuple[int, ...]) -> list[Expression]:
        layers = self._layers
        positions_after(layers, shape[1:])
        function = NetworkTile(tuple(layers), shape, self._tangent)
        slots = tuple(binder.slot(self.hyperparameter(name), 0) for name in ("sigma_w", "sigma_b"))
        return [binder.statistic(TileStatistic(Columns(binder.columns), function=function, slots=slots))]


class NetworkKernel(LayeredKernel):
    r"""The kernel of an infinitely wide network of any layers; what ``InfiniteNetwork(...).ntk`` and ``.nngp`` are.

    Args:
        layers: of :mod:`mercer.kernels.neural.layers`, in order.
        kind: "ntk", the kernel of training by gradient descent, or "nngp", that of the prior.
        shape: of one input without the points, channels first: ``(channels, height, width)`` or ``(channels, length)``;
            None for vectors, and where X is given as images.
        sigma_w: ``()``, > 0; of the weights, relative to 1 / sqrt(fan in).
        sigma_b: ``()``, >= 0; of the biases; at 0 it stays 0 when other hyperparameters are learnt.

    Raises:
        TypeError: something that is no layer.
        ValueError: layers without a closed form in this order, an unknown kind.
        ShapeError: at binding, inputs that do not have ``shape``, or layers that do not fit it.

    Cost: of vectors, one fused pass; a pair costs the GEMM and about 25 elementwise operations a layer of ReLU, fewer
    in float32 as in :class:`NTK`. Others are tiles, with a cost known before: ``K.plan``. A warning says so where a
    matrix would take more than an hour.
    Source: Jacot et al., Neural Tangent Kernel (NeurIPS 2018); Arora et al. 2019 for convolutions.

    >>> import torch
    >>> from mercer.kernels.neural.layers import Dense, Erf
    >>> NetworkKernel([Dense(), Erf(), Dense()], kind="nngp")(torch.eye(2)).to_dense()
    tensor([[0.3470, 0.0163],
            [0.0163, 0.3470]])
    """

    def __init__(
        self,
        layers: Sequence[Any],
        kind: str = "ntk",
        shape: Sequence[int] | None = None,
        sigma_w: Value = 1.0,
        sigma_b: Value = 0.1,
    ) -> None:
        self.layers, self.kind, self.shape, self.sigma_w, self.sigma_b = layers, kind, shape, sigma_w, sigma_b
        self.check()

    def check(self) -> None:
        """Raise ValueError or TypeError for an argument outside its domain."""
        super().check()
        if not isinstance(self.layers, list | tuple) or not self.layers:
            raise TypeError(f"A network of layers={self.layers!r}: give layers, such as [Dense(), ReLU(), Dense()].")
        require_closed_form(self.layers)
        if self.kind not in KINDS:
            raise ValueError(f"NetworkKernel(kind={self.kind!r}): the kind is one of {', '.join(KINDS)}.")
        if self.shape is None:
            return
        sizes = list(self.shape) if isinstance(self.shape, list | tuple) else []
        if len(sizes) < 2 or not all(map(is_count, sizes)):
            raise ValueError(
                f"NetworkKernel(shape={self.shape!r}): the shape is (channels, height, width) or (channels, length)."
            )
        positions_after(self.layers, tuple(sizes[1:]))

    @property
    def _layers(self) -> list[Any]:
        return list(self.layers)

    @property
    def _tangent(self) -> bool:
        return self.kind == "ntk"

    def __call__(self, X: Any, Y: Any = None, *, plan: str | None = None) -> KernelOperator:
        """The kernel matrix k(X, Y) as a lazy operator; nothing is computed.

        Args:
            X: ``(n, d)``, or ``(n, channels, *positions)``; rows of ``shape``, channels first, flattened or not.
            Y: the same; None means X.
            plan: force an algorithm (:attr:`mercer.operators.Plan.name`).

        Raises:
            ShapeError: X or Y has another shape than the network.
        """
        kernel, images = self, []
        if needs_positions(self.layers) or self.shape is not None:
            for name, Z in (("X", X), ("Y", Y)):
                if Z is not None and not hasattr(Z, "columns"):
                    Z = as_tensor(Z)
                    kernel = kernel._shaped(name, Z)
                    Z = Z.flatten(1) if tuple(Z.shape[1:]) == tuple(kernel.shape or ()) else Z
                images.append(Z)
            X, Y = images
        operator = super(NetworkKernel, kernel).__call__(X, Y, plan=plan)
        seconds = operator.plan.seconds if needs_positions(self.layers) and plan is None else 0.0
        if seconds > LONG:
            warnings.warn(
                f"k(X, Y) of {operator.shape[-2]} x {operator.shape[-1]} inputs of shape {kernel.shape} will take "
                f"about {format_seconds(seconds)} here. Fewer positions (AvgPool, strides) or points make it cheaper; "
                f"Flatten() in place of a pool costs the square root.",
                UserWarning,
                stacklevel=2,
            )
        return operator

    def _shaped(self, name: str, Z: Tensor) -> NetworkKernel:
        """The kernel with the shape of these inputs, which has to agree with its own."""
        if self.shape is None:
            if Z.dim() < 3:
                raise ShapeError(
                    f"k(X, Y): the network has convolutions or pools, but {name} has shape {tuple(Z.shape)}. Give "
                    f"images (n, channels, height, width), or the network shape=(channels, height, width)."
                )
            return NetworkKernel(self.layers, self.kind, tuple(Z.shape[1:]), self.sigma_w, self.sigma_b)
        expected = tuple(self.shape)
        size = 1
        for n in expected:
            size *= n
        if tuple(Z.shape[1:]) != expected and Z.shape[-1] != size:
            raise ShapeError(
                f"k(X, Y): {name} has shape {tuple(Z.shape)}, but the network sees inputs of shape {expected}. Give "
                f"(n, {', '.join(map(str, expected))}) or (n, {size}), or change the network's shape."
            )
        return self

    def trace(self, binder: Binder) -> list[Expression]:
        """A map of vectors, a tile function of images."""
        if self.shape is None:
            return super().trace(binder)
        shape = tuple(self.shape)
        size = 1
        for n in shape:
            size *= n
        if binder.width != size:
            raise ShapeError(
                f"{type(self).__name__}: points have {binder.width} columns, but the network sees inputs of shape "
                f"{shape}, which are {size} numbers."
            )
        return self._tile(binder, shape)
