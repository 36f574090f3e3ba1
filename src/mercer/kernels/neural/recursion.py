r"""The kernel of a fully connected network as a map: the recursion over its layers, written once a product.

It runs on the versine ``w = 1 - S / sqrt(p q)`` of the NNGP kernel S with its variances p, q, and on the NTK T in units
of them, ``t = T / sqrt(p q)``. A layer with weights has ``(a, b) = (sigma_w sqrt(p), sigma_b) / sqrt(p')`` and gives

.. math:: w' = \tfrac12 (a - \bar a)^2 + \tfrac12 (b - \bar b)^2 + a \bar a w, \quad t' = a \bar a t + 1 - w'

All terms are positive, so nearly equal points keep their digits through any depth; ``1 - S / sqrt(p q)`` loses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mercer.kernels.duals import Ramp, apply, inverse, root
from mercer.kernels.neural.layers import Flatten, LayerNorm, Residual, Unit, Weighted
from mercer.operators.maps import Expression, constant, reciprocal_or_zero, safe_sqrt

Sigma = int | float  # the theta slot of a hyperparameter (int), or a number (float)


@dataclass(frozen=True)
class Signal:
    """Points as the first layer with weights sees them: ``[sigma_w x / sqrt(d), sigma_b]``."""

    columns: tuple[int, ...]
    sigma_w: Sigma
    sigma_b: Sigma

    def lift(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        """``(*batch, n, d + 1)``, without the last column where the bias is the number 0."""
        weight, bias = (
            theta[s].to(X.dtype)[..., None, None] if isinstance(s, int) else X.new_tensor(s)
            for s in (self.sigma_w, self.sigma_b)
        )
        points = X[..., list(self.columns)] * (weight * len(self.columns) ** -0.5)
        if self.sigma_b == 0.0 and isinstance(self.sigma_b, float):
            return torch.cat([points], -1)
        return torch.cat([points, bias.expand(*points.shape[:-1], 1)], -1)


@dataclass(frozen=True)
class Direction(Signal):
    """The signal divided by its norm; a zero vector stays one."""

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor:
        points = self.lift(X, theta)
        return points * reciprocal_or_zero(safe_sqrt(points.square().sum(-1, keepdim=True)))


@dataclass(frozen=True)
class Size(Signal):
    """The norm of the signal: the root of the first layer's variance."""

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        return safe_sqrt(self.lift(X, theta).square().sum(-1))


@dataclass(frozen=True)
class Moments:
    """What is known of two points between two layers.

    ``size`` and ``other`` are the roots of the variances of x and y; ``angle`` is that of x and y where it is known to
    all digits also near pi; ``tangent`` is None where the NTK is not wanted.
    """

    versine: Expression
    tangent: Expression | None
    size: Expression
    other: Expression
    angle: Expression | None = None


def weighted(state: Moments, sigma_w: Expression, sigma_b: Expression) -> Moments:
    """Through a layer with weights."""
    if sigma_b.is_constant and sigma_b.number == 0.0:
        w, tangent = state.versine, state.tangent
        size, other = (side * sigma_w for side in (state.size, state.other))
    else:
        size, other = (root(s * s * (sigma_w * sigma_w) + sigma_b * sigma_b) for s in (state.size, state.other))
        a, c = state.size * sigma_w * inverse(size), state.other * sigma_w * inverse(other)
        both = a * c
        w = _turn(a, sigma_b * inverse(size), c, sigma_b * inverse(other)) + both * state.versine
        tangent = None if state.tangent is None else both * state.tangent
    return Moments(w, None if tangent is None else tangent + apply("cosine_of_versine", w), size, other)


def _turn(a: Expression, b: Expression, c: Expression, d: Expression) -> Expression:
    """The versine of the angle between the directions (a, b) and (c, d), of norm 1.

    A sine of the half angle from products would save two passes over a tile, but round-off in one of two equal products
    leaves a point at an angle to itself, whose slope is infinite.
    """
    return (a - c) * (a - c) * 0.5 + (b - d) * (b - d) * 0.5


def activated(state: Moments, unit: Unit) -> Moments:
    """Through an activation."""
    dual, w = unit.dual, state.versine
    p, q = state.size * state.size, state.other * state.other
    tangent = state.tangent
    if tangent is not None:
        if state.angle is not None and isinstance(dual, Ramp):
            slope = dual.relative_slope_of_angle(state.angle)
        else:
            slope = dual.relative_slope(w, p, q)
        tangent = tangent * slope
    return Moments(dual.lapse(w, p, q), tangent, root(dual.variance(p)), root(dual.variance(q)))


def summed(one: Moments, two: Moments) -> Moments:
    """The sum of two independent networks."""
    size = root(one.size * one.size + two.size * two.size)
    other = root(one.other * one.other + two.other * two.other)
    a, c = one.size * inverse(size), one.other * inverse(other)
    b, d = two.size * inverse(size), two.other * inverse(other)
    w = _turn(a, b, c, d) + (a * c) * one.versine + (b * d) * two.versine
    if one.tangent is None or two.tangent is None:
        return Moments(w, None, size, other)
    return Moments(w, (a * c) * one.tangent + (b * d) * two.tangent, size, other)


def through(
    layers: Sequence[Any], state: Moments, sigmas: tuple[Expression, Expression], *, angle: Expression | None = None
) -> Moments:
    """Through a list of layers; ``angle`` is what to know beside the versine at the first of them."""
    state = replace(state, angle=angle)
    for layer in layers:
        if isinstance(layer, Weighted):
            state = weighted(state, *own_sigmas(layer, sigmas))
        elif isinstance(layer, Unit):
            state = activated(state, layer)
        elif isinstance(layer, LayerNorm):
            size, other = (s * inverse(root(s * s + layer.eps)) for s in (state.size, state.other))
            state = replace(state, size=size, other=other)
        elif isinstance(layer, Residual):
            state = summed(through(layer.layers, state, sigmas), through(layer.shortcut, state, sigmas))
        else:
            assert isinstance(layer, Flatten), layer
    return state


def own_sigmas(layer: Weighted, sigmas: tuple[Expression, Expression]) -> tuple[Expression, Expression]:
    """The numbers of a layer where it has its own, else the network's."""
    own = (layer.sigma_w, layer.sigma_b)
    weight, bias = (theirs if mine is None else constant(mine) for mine, theirs in zip(own, sigmas, strict=True))
    return weight, bias


def finished(state: Moments) -> Expression:
    """The kernel: the NTK where it was followed, else the NNGP kernel."""
    return state.size * state.other * relative(state)


def relative(state: Moments) -> Expression:
    """The kernel in units of its standard deviations."""
    return 1.0 - state.versine if state.tangent is None else state.tangent
