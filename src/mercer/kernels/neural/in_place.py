"""The kernel of a network without pools on two blocks of points, in a few buffers: what counts here is memory traffic.

Without pools a pair of images has one number a position, and an activation some twenty elementwise passes over them.
So the variances of both sides are taken through all layers first, and what comes of pairs is done for as many pairs at
a time as fit into the cache, positions first, in buffers that are used again: fresh memory costs more than a pass.
Windows are small matrices along one axis of positions after the other. The numbers are those of
:mod:`mercer.kernels.neural.covariances`, which autograd can follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.kernels.duals import Dual, Ramp, inverse, root
from mercer.kernels.neural.layers import Conv, Flatten, LayerNorm, Residual, Unit, Weighted
from mercer.kernels.neural.shapes import pads

__all__ = ["kernel_in_place"]

NUMBERS = 1 << 16  # of a buffer: a call of torch takes as long as 15 000 of them, and eight buffers are 2 MB in float32
COLUMNS = 64  # pairs in a row of a block
ON_GPU = 1 << 24
DEGREE = 9  # of the polynomial for angles in float32, whose error is 1.3e-8

Step = Callable[["Pairs", int, int], None]


class Buffers:
    """Memory of one size, used again and again."""

    def __init__(self, like: Tensor, size: int) -> None:
        self.like, self.size = like, size
        self.free: list[Tensor] = []
        self.whole: dict[int, Tensor] = {}

    def take(self, shape: Sequence[int]) -> Tensor:
        """A tensor with anything in it."""
        if not self.free:
            self.free.append(self.like.new_empty(self.size))
            self.whole[self.free[-1].data_ptr()] = self.free[-1]
        return self.free.pop()[: math.prod(shape)].view(*shape)

    def give(self, *tensors: Tensor | None) -> None:
        """Take back what is not needed any more."""
        self.free += [self.whole[K.data_ptr()] for K in tensors if K is not None]


@dataclass
class Pairs:
    """A block of pairs: ``half`` is Q, ``tangent`` the NTK, or None where it is zero or not wanted; both are
    ``(*positions, n, m)``."""

    half: Tensor
    tangent: Tensor | None
    buffers: Buffers


@dataclass
class Sides:
    """One number a position and point, such as a variance, of the block's rows and of its columns."""

    left: Sequence[Tensor]
    right: Sequence[Tensor]

    def at(self, i: int, j: int) -> tuple[Tensor, Tensor]:
        """Those of a block, ``(*positions, n, 1)`` and ``(*positions, 1, m)``."""
        return self.left[i], self.right[j]


def kernel_in_place(
    layers: Sequence[Any], X: Tensor, Y: Tensor, sigmas: tuple[Tensor, Tensor], *, tangent: bool
) -> Tensor:
    """The NTK, or without ``tangent`` the NNGP kernel, of inputs ``(n, c, *positions)`` and ``(m, c, *positions)``.

    Layers end in a vector, or in positions that count as flattened. Nothing is recorded for autograd.
    """
    found = X.new_empty(len(X), len(Y))
    if not found.numel():
        return found
    with torch.no_grad():
        n_positions = math.prod(X.shape[2:])
        is_cpu = X.device.type == "cpu"  # a GPU has no such cache, but wants much to do at a time
        columns = min(len(Y), COLUMNS if is_cpu else 16 * COLUMNS)
        most = NUMBERS * torch.get_num_threads() if is_cpu else ON_GPU
        rows = min(len(X), max(1, most // (n_positions * columns)))
        buffers = Buffers(X, rows * columns * n_positions)
        x, y = X.movedim(0, -1).unsqueeze(-1).contiguous(), Y.movedim(0, -1).unsqueeze(-2).contiguous()
        plan = _Plan(sigmas, tangent, rows, columns)
        p, q = plan.through([*layers, Flatten()], x.square().mean(0), y.square().mean(0))
        for i, (left, into) in enumerate(zip(x.split(rows, -2), found.split(rows), strict=True)):
            for j, (right, out) in enumerate(zip(y.split(columns, -1), into.split(columns, 1), strict=True)):
                pairs = _start(left, right, buffers)
                for step in plan.steps:
                    step(pairs, i, j)
                if not tangent:
                    a, b = plan.sides(p * 0.5, q * 0.5).at(i, j)
                    torch.sub(a, pairs.half, out=out).add_(b)
                elif pairs.tangent is None:
                    out.zero_()
                else:
                    out.copy_(pairs.tangent)
                buffers.give(pairs.half, pairs.tangent)
    return found


def _start(x: Tensor, y: Tensor, buffers: Buffers) -> Pairs:
    """Half of the mean over the channels of the squared differences."""
    shape = (*x.shape[1:-1], y.shape[-1])
    Q, gap = buffers.take(shape), buffers.take(shape)
    Q.zero_()
    for left, right in zip(x, y, strict=True):
        torch.sub(left, right, out=gap)
        Q.addcmul_(gap, gap, value=0.5 / len(x))
    buffers.give(gap)
    return Pairs(Q, None, buffers)


class _Plan:
    """What each layer does with a block of pairs, in order; found by taking the variances through the layers."""

    def __init__(self, sigmas: tuple[Tensor, Tensor], tangent: bool, rows: int, columns: int) -> None:
        self.sigmas, self.tangent, self.rows, self.columns = sigmas, tangent, rows, columns
        self.steps: list[Step] = []

    def sides(self, left: Tensor, right: Tensor) -> Sides:
        """Cut into blocks."""
        return Sides(left.split(self.rows, -2), right.split(self.columns, -1))

    def through(self, layers: Sequence[Any], p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the steps of layers, and gives the variances after them."""
        for layer in layers:
            if isinstance(layer, Weighted):
                p, q = self.weighted(layer, p, q)
            elif isinstance(layer, Unit | LayerNorm):
                p, q = self.bent(layer, p, q)
            elif isinstance(layer, Flatten):
                self.steps.append(_flatten)
                p, q = (v.flatten(0, -3).mean(0) if v.dim() > 2 else v for v in (p, q))
            else:
                assert isinstance(layer, Residual)
                p, q = self.residual(layer, p, q)
        return p, q

    def weighted(self, layer: Weighted, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """A dense layer or a convolution."""
        weight, bias = (
            theirs.to(p.dtype) if own is None else p.new_tensor(own)
            for own, theirs in zip((layer.sigma_w, layer.sigma_b), self.sigmas, strict=True)
        )
        square, tables = weight * weight, []
        if isinstance(layer, Conv):
            tables = [_windows(n, layer.size, layer.stride, layer.padding).to(p) for n in p.shape[:-2]]
            tables[0] = tables[0] * square
        p, q = (_along(v, tables) if tables else v * square for v in (p, q))
        p, q = p + bias * bias, q + bias * bias
        halves = self.sides(p * 0.5, q * 0.5) if self.tangent else None

        def through(K: Tensor, buffers: Buffers) -> Tensor:
            return _along(K, tables, buffers) if tables else K.mul_(square)

        def step(pairs: Pairs, i: int, j: int) -> None:
            pairs.half = through(pairs.half, pairs.buffers)
            if halves is None:
                return
            left, right = halves.at(i, j)
            if pairs.tangent is None:
                pairs.tangent = pairs.buffers.take(pairs.half.shape)
                torch.sub(left, pairs.half, out=pairs.tangent).add_(right)
            else:
                pairs.tangent = through(pairs.tangent, pairs.buffers).sub_(pairs.half).add_(left).add_(right)

        self.steps.append(step)
        return p, q

    def bent(self, layer: Unit | LayerNorm, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """An activation, or the division by the root of the variance."""
        a, b = root(p), root(q)
        before, inverses = self.sides(a, b), self.sides(inverse(a), inverse(b))
        if isinstance(layer, LayerNorm):
            scales = self.sides(inverse(root(p + layer.eps)), inverse(root(q + layer.eps)))
            p, q = (v * inverse(v + layer.eps) for v in (p, q))
            after = self.sides(root(p), root(q))
            self.steps.append(
                lambda pairs, i, j: _normed(pairs, *(s.at(i, j) for s in (before, inverses, scales, after)))
            )
            return p, q
        dual, given = layer.dual, self.sides(p, q)
        if isinstance(dual, Ramp):
            half = 0.5 * (dual.below**2 + dual.above**2)
            outer = self.sides(a * (2.0 * half), b)
            inverses = self.sides(inverse(a) * 0.5, inverse(b))
            self.steps.append(lambda pairs, i, j: _ramp(pairs, dual, *(s.at(i, j) for s in (before, inverses, outer))))
            return p * half, q * half
        p, q = dual.variance(p), dual.variance(q)
        after = self.sides(root(p), root(q))
        self.steps.append(
            lambda pairs, i, j: _unit(pairs, dual, *(s.at(i, j) for s in (before, inverses, given, after)))
        )
        return p, q

    def residual(self, layer: Residual, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Both parts on their own, then their sum."""
        branch, shortcut = (_Plan(self.sigmas, self.tangent, self.rows, self.columns) for _ in range(2))
        (p, q), (r, s) = branch.through(layer.layers, p, q), shortcut.through(layer.shortcut, p, q)

        def step(pairs: Pairs, i: int, j: int) -> None:
            other = Pairs(_copy(pairs.half, pairs.buffers), None, pairs.buffers)
            other.tangent = None if pairs.tangent is None else _copy(pairs.tangent, pairs.buffers)
            for inner in branch.steps:
                inner(pairs, i, j)
            for inner in shortcut.steps:
                inner(other, i, j)
            pairs.half.add_(other.half)
            if pairs.tangent is not None and other.tangent is not None:
                pairs.tangent.add_(other.tangent)
            elif pairs.tangent is None:
                pairs.tangent, other.tangent = other.tangent, None
            pairs.buffers.give(other.half, other.tangent)

        self.steps.append(step)
        return p + r, q + s


def _copy(K: Tensor, buffers: Buffers) -> Tensor:
    return buffers.take(K.shape).copy_(K)


def _flatten(pairs: Pairs, i: int, j: int) -> None:
    """The mean over positions, each with itself."""
    if pairs.half.dim() == 2:
        return
    for name in ("half", "tangent"):
        K = getattr(pairs, name)
        if K is not None:
            mean = pairs.buffers.take(K.shape[-2:])
            setattr(pairs, name, torch.mean(K.flatten(0, -3), 0, out=mean))
            pairs.buffers.give(K)


def _along(K: Tensor, tables: Sequence[Tensor], buffers: Buffers | None = None) -> Tensor:
    """A matrix along each axis of positions."""
    for axis, table in enumerate(tables):
        shape = K.shape
        rows = K.reshape(math.prod(shape[:axis]), shape[axis], -1)
        after = (*shape[:axis], len(table), *shape[axis + 1 :])
        each = table.expand(len(rows), -1, -1)
        if buffers is None:
            K = torch.bmm(each, rows).view(after)
            continue
        found = buffers.take(after)
        torch.bmm(each, rows, out=found.view(len(rows), len(table), -1))
        buffers.give(K)
        K = found
    return K


@lru_cache(maxsize=256)
def _windows(n: int, size: int, stride: int, padding: str) -> Tensor:
    """The means over windows of n positions, as a matrix ``(windows, n)`` in float64."""
    low, high = pads(n, size, stride, padding)
    count = (n + low + high - size) // stride + 1
    table = torch.zeros(count, n, dtype=torch.float64)
    for window in range(count):
        for place in range(window * stride - low, window * stride - low + size):
            if padding == "circular" or 0 <= place < n:
                table[window, place % n] += 1.0 / size
    return table


Side = tuple[Tensor, Tensor]


def _ramp(pairs: Pairs, dual: Ramp, roots: Side, inverses: Side, outer: Side) -> None:
    """Through a rectifier, by the half of the angle: of w = (1 - cos(2 h)) / 2 its sine and cosine are roots."""
    half, (_, bent) = 0.5 * (dual.below**2 + dual.above**2), dual.shares()
    shape, buffers = pairs.half.shape, pairs.buffers
    apart, sine, cosine, angle = (buffers.take(shape) for _ in range(4))
    torch.sub(*roots, out=apart)
    w = pairs.half.addcmul_(apart, apart, value=-0.5).mul_(inverses[0]).mul_(inverses[1]).clamp_(0.0, 1.0)
    one, *coefficients = _constants(w.dtype, w.device)
    torch.sub(one, w, out=cosine).sqrt_()
    torch.sqrt(w, out=sine)
    if coefficients:
        first, second, *others = coefficients
        torch.addcmul(second, first, cosine, out=angle)
        for coefficient in others:
            torch.addcmul(coefficient, angle, cosine, out=angle)
        angle.mul_(sine)
    else:
        torch.atan2(sine, cosine, out=angle)
    if pairs.tangent is not None:
        pairs.tangent.addcmul_(pairs.tangent, angle, value=-2.0 * bent / math.pi).mul_(half)
    # 1 - E / sqrt(E(p) E(q)) is twice w - bent / pi (sin h cos h - h cos 2 h)
    cosine.mul_(sine).sub_(angle).addcmul_(w, angle, value=2.0)
    w.sub_(cosine, alpha=bent / math.pi).mul_(outer[0]).mul_(outer[1]).addcmul_(apart, apart, value=0.5 * half)
    buffers.give(apart, sine, cosine, angle)


@lru_cache(maxsize=16)
def _constants(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """1; and in float32 the coefficients of acos(c) / sqrt(1 - c^2) in powers of c on [0, 1], highest first: the
    interpolant in Chebyshev's points. Times the sine it is the angle, with the digits of both."""
    values = [1.0]
    if dtype == torch.float32:
        c = 0.5 + 0.5 * np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
        fitted = np.polynomial.Polynomial.fit(c, np.arccos(c) / np.sqrt(1.0 - c * c), DEGREE)
        values += fitted.convert().coef[::-1].tolist()
    return tuple(torch.tensor(values, dtype=dtype, device=device))


def _unit(pairs: Pairs, dual: Dual, roots: Side, inverses: Side, variances: Side, after: Side) -> None:
    """Through any other activation."""
    w = _versine(pairs, roots, inverses)
    if pairs.tangent is None:
        _store(pairs, dual.lapse(w, *variances), after)
    else:
        lapse, slope = dual.lapse_and_slope(w, *variances)
        pairs.tangent.mul_(slope)
        _store(pairs, lapse, after)


def _normed(pairs: Pairs, roots: Side, inverses: Side, scales: Side, after: Side) -> None:
    """Each position's variance becomes 1."""
    if pairs.tangent is not None:
        pairs.tangent.mul_(scales[0]).mul_(scales[1])
    _store(pairs, _versine(pairs, roots, inverses), after)


def _versine(pairs: Pairs, roots: Side, inverses: Side) -> Tensor:
    """1 - S / sqrt(p q), in the place of Q."""
    apart = roots[0] - roots[1]
    return pairs.half.addcmul_(apart, apart, value=-0.5).clamp_(min=0.0).mul_(inverses[0]).mul_(inverses[1])


def _store(pairs: Pairs, w: Tensor, roots: Side) -> None:
    """Q of a versine and the roots of its variances, in place."""
    apart = roots[0] - roots[1]
    torch.mul(w, roots[0], out=pairs.half).mul_(roots[1]).addcmul_(apart, apart, value=0.5)
