r"""The kernel of any network on two blocks of points, by plain torch: convolutions, pools, any activation.

The NNGP kernel S of positions i, j is kept as ``Q = (p_i + q_j) / 2 - S_ij``, half a squared distance. Q is linear
under layers with weights and exactly 0 for equal patches, of which images are full (borders, background); from S, the
versine ``(Q - (sqrt(p) - sqrt(q))^2 / 2) / sqrt(p q)`` would be round-off there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from mercer.kernels.duals import inverse, root
from mercer.kernels.neural.layers import AvgPool, Conv, Flatten, GlobalAvgPool, LayerNorm, Residual, Unit, Weighted
from mercer.kernels.neural.shapes import has_pool, normal_after_pool, pads, positions_after

BLOCK_BYTES = 1 << 26  # of the diagonal's temporaries
FLOPS_OF_A_PASS = 180.0  # of the planner's, for one elementwise pass of fresh memory; as measured, see NetworkTile
PASSES = {"activation": 42.0, "weights": 4.0, "window": 6.0}


@dataclass(frozen=True)
class Covariances:
    """Of one batch of pairs: ``half`` is Q, ``tangent`` the NTK or None, ``p`` and ``q`` the variances.

    ``half`` is ``(pairs..., *positions)``, or ``(pairs..., *positions, *positions)`` with all pairs of them (``full``);
    ``p`` and ``q`` broadcast against its pairs: ``(n, 1, *positions)`` and ``(m, *positions)``.
    """

    half: Tensor
    tangent: Tensor | None
    p: Tensor
    q: Tensor
    n_axes: int
    full: bool

    @property
    def sides(self) -> tuple[Tensor, Tensor]:
        """The variances, shaped to broadcast against ``half``."""
        if not self.full:
            return self.p, self.q
        k = self.n_axes
        p = self.p.reshape(*self.p.shape, *[1] * k)
        q = self.q.reshape(*self.q.shape[: self.q.dim() - k], *[1] * k, *self.q.shape[self.q.dim() - k :])
        return p, q

    @property
    def covariance(self) -> Tensor:
        """S."""
        p, q = self.sides
        return (p + q) * 0.5 - self.half

    def axes(self) -> list[tuple[int, ...]]:
        """For each axis of the positions, where it is in ``half``, counted from the end; twice where ``full``."""
        k = self.n_axes
        return [(i - 2 * k, i - k) if self.full else (i - k,) for i in range(k)]

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Covariances:
        """The same function of Q and T."""
        return replace(self, half=function(self.half), tangent=None if self.tangent is None else function(self.tangent))


def start(X: Tensor, Y: Tensor, *, tangent: bool, full: bool, own: bool) -> Covariances:
    """Of inputs ``(n, c, *positions)`` and ``(m, c, *positions)``; ``own`` pairs each point with itself only."""
    k, channels = X.dim() - 2, X.shape[1]
    half: Any = 0.0
    for c in range(channels):
        x, y = X[:, c] if own else X[:, None, c], Y[:, c]
        if full:
            x = x.reshape(*x.shape, *[1] * k)
            y = y.reshape(len(y), *[1] * k, *y.shape[1:])
        half = half + (x - y).square() * (0.5 / channels)
    p, q = (Z.square().sum(1) / channels for Z in (X, Y))
    zero = torch.zeros_like(half) if tangent else None
    return Covariances(half, zero, p if own else p.unsqueeze(1), q, k, full)


def activated(state: Covariances, unit: Unit) -> Covariances:
    """Through an activation."""
    dual, w = unit.dual, _versine(state)
    p, q = state.sides
    tangent = None if state.tangent is None else state.tangent * dual.slope(w, p, q)
    after = replace(state, p=dual.variance(state.p), q=dual.variance(state.q), tangent=tangent)
    return _of_versine(after, dual.lapse(w, p, q))


def normed(state: Covariances, eps: float) -> Covariances:
    """Each position's variance becomes 1."""
    left, right = state.sides
    w = _versine(state)
    scale = inverse(root(left + eps)) * inverse(root(right + eps))
    p, q = (v * inverse(v + eps) for v in (state.p, state.q))
    tangent = None if state.tangent is None else state.tangent * scale
    return replace(_of_versine(replace(state, p=p, q=q), w), tangent=tangent)


def _versine(state: Covariances) -> Tensor:
    """1 - S / sqrt(p q)."""
    a, b = map(root, state.sides)
    return (state.half - (a - b).square() * 0.5).clamp(min=0.0) * inverse(a * b)


def _of_versine(state: Covariances, w: Tensor) -> Covariances:
    """The state with Q of a versine and its variances."""
    a, b = map(root, state.sides)
    return replace(state, half=(a - b).square() * 0.5 + a * b * w)


def weighted(state: Covariances, layer: Weighted, sigmas: tuple[Tensor, Tensor]) -> Covariances:
    """Through a dense layer or a convolution."""
    mine = (layer.sigma_w, layer.sigma_b)
    weight, bias = (
        theirs.to(state.half.dtype) if own is None else state.half.new_tensor(own)
        for own, theirs in zip(mine, sigmas, strict=True)
    )
    if isinstance(layer, Conv):
        state = _windows(_padded(state, layer), layer)
    square, shift = weight * weight, bias * bias
    state = replace(state, half=state.half * square, p=state.p * square + shift, q=state.q * square + shift)
    if state.tangent is None:
        return state
    return replace(state, tangent=state.tangent * square + state.covariance)


def flattened(state: Covariances) -> Covariances:
    """The mean over positions, each with itself."""
    k = state.n_axes
    if not k:
        return state
    own = list(range(-k, 0))
    return replace(state.mapped(lambda K: K.mean(own)), p=state.p.mean(own), q=state.q.mean(own), n_axes=0, full=False)


@dataclass
class Pass:
    """One pass through the layers.

    Args:
        sigmas: those of the network.
        own: whether each point is paired with itself only; then variances after pools are read off and noted.
        variances: pairs of variances after each pool, in order, where they are needed; consumed, or (``own``) filled.
    """

    sigmas: tuple[Tensor, Tensor]
    own: bool
    variances: list[Tensor | tuple[Tensor, Tensor]]
    needed: bool

    def through(self, layers: Sequence[Any], state: Covariances, *, later: bool = False) -> Covariances:
        """``later``: whether a pool comes after these layers."""
        for i, layer in enumerate(layers):
            if isinstance(layer, Weighted):
                state = weighted(state, layer, self.sigmas)
            elif isinstance(layer, Unit):
                state = activated(state, layer)
            elif isinstance(layer, LayerNorm):
                state = normed(state, layer.eps)
            elif isinstance(layer, Flatten):
                state = flattened(state)
            elif isinstance(layer, Residual):
                after = later or has_pool(layers[i + 1 :])
                branch, shortcut = (self.through(part, state, later=after) for part in (layer.layers, layer.shortcut))
                tangent = None
                if branch.tangent is not None and shortcut.tangent is not None:
                    tangent = branch.tangent + shortcut.tangent
                half, p, q = branch.half + shortcut.half, branch.p + shortcut.p, branch.q + shortcut.q
                state = replace(branch, half=half, tangent=tangent, p=p, q=q)
            else:
                state = self.pooled(state, layer, later=later or has_pool(layers[i + 1 :]))
        return state

    def pooled(self, state: Covariances, layer: AvgPool | GlobalAvgPool, *, later: bool) -> Covariances:
        """The mean over windows of positions, of each side by itself."""
        assert state.full
        k = state.n_axes

        def pool(K: Tensor) -> Tensor:
            if isinstance(layer, GlobalAvgPool):
                return K.mean(list(range(-2 * k, 0)))
            for axis in range(-2 * k, 0):
                K = _mean_of_windows(K, (axis,), layer.size, layer.step)
            return K

        covariance = pool(state.covariance)
        tangent = None if state.tangent is None else pool(state.tangent)
        axes = 0 if isinstance(layer, GlobalAvgPool) else k
        if self.own:
            p = q = _diagonal(covariance, axes)
            self.variances.append(p)
        elif self.needed:
            p, q = self.variances.pop(0)
            p = p.unsqueeze(1)
        else:  # nobody asks for variances any more: with 0 for them, Q is -S
            shape = covariance.shape[2 : 2 + axes]
            p, q = covariance.new_zeros(len(covariance), 1, *shape), covariance.new_zeros(covariance.shape[1], *shape)
        after = Covariances(covariance, tangent, p, q, axes, axes > 0)
        left, right = after.sides
        after = replace(after, half=(left + right) * 0.5 - covariance)
        if axes and not later:
            after = replace(after.mapped(lambda K: _diagonal(K, axes)), full=False)
        return after


@dataclass(frozen=True)
class NetworkTile:
    """A tile function: the kernel of a network on inputs of ``shape``, channels first.

    ``layers`` end in a vector or in positions, over which the kernel is then the mean, as if flattened.
    """

    layers: tuple[Any, ...]
    shape: tuple[int, ...]
    tangent: bool

    @property
    def full(self) -> bool:
        """Whether all pairs of positions matter."""
        return has_pool(self.layers)

    @property
    def passes_per_pair(self) -> float:
        """Elementwise passes times the numbers that each goes over, for one pair of points."""
        return self._count(self.layers, self.shape[1:], self.full)

    @property
    def flops_per_pair(self) -> float:
        """From the passes, as measured."""
        return FLOPS_OF_A_PASS * self.passes_per_pair

    @property
    def bytes_per_pair(self) -> float:
        """Some twelve temporaries a pair of positions."""
        n = 1.0
        for extent in self.shape[1:]:
            n *= extent
        return 96.0 * (n * n if self.full else n)

    def _count(self, layers: Sequence[Any], positions: tuple[int, ...], full: bool) -> float:
        total, kinds = 0.0, 2.0 if self.tangent else 1.0
        for i, layer in enumerate(layers):
            before, positions = positions, positions_after([layer], positions)
            numbers = _numbers(positions, full)
            if isinstance(layer, Weighted):
                total += PASSES["weights"] * kinds * numbers
                if isinstance(layer, Conv):
                    total += PASSES["window"] * layer.size * len(before) * kinds * _numbers(before, full)
            elif isinstance(layer, Unit):
                total += PASSES["activation"] * numbers
            elif isinstance(layer, Residual):
                total += sum(self._count(part, before, full) for part in (layer.layers, layer.shortcut))
            else:
                total += 6.0 * kinds * _numbers(before, full)
                if isinstance(layer, AvgPool):
                    full = has_pool(layers[i + 1 :])
        return total

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), (q, d), sigma_w, sigma_b -> (p, q)``."""
        X, Y = (Z.reshape(len(Z), *self.shape) for Z in (X, Y))
        noted: list[Any] = []
        needed = self.full and normal_after_pool(self.layers)
        if needed:
            noted = list(zip(*(self._variances(Z, theta) for Z in (X, Y)), strict=True))
        return self._value(X, Y, theta, own=False, noted=noted, needed=needed)

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), sigma_w, sigma_b -> (p,)``, a few points at a time."""
        step = max(1, int(BLOCK_BYTES / self.bytes_per_pair))
        X = X.reshape(len(X), *self.shape)
        parts = [self._value(x, x, theta, own=True, noted=[], needed=True) for x in torch.split(X, step) if len(x)]
        return torch.cat(parts) if parts else X.new_empty(0)

    def _value(
        self, X: Tensor, Y: Tensor, theta: tuple[Tensor, ...], *, own: bool, noted: list[Any], needed: bool
    ) -> Tensor:
        state = start(X, Y, tangent=self.tangent, full=self.full, own=own)
        sigmas = (theta[0], theta[1])
        state = flattened(Pass(sigmas, own, noted, needed).through(self.layers, state))
        return state.covariance if state.tangent is None else state.tangent

    def _variances(self, X: Tensor, theta: tuple[Tensor, ...]) -> list[Any]:
        """Of each point, after each pool."""
        noted: list[Any] = []
        state = start(X, X, tangent=False, full=True, own=True)
        Pass((theta[0], theta[1]), True, noted, True).through(self.layers, state)
        return noted


def _numbers(positions: tuple[int, ...], full: bool) -> float:
    total = 1.0
    for n in positions:
        total *= n
    return total * total if full else total


def _diagonal(K: Tensor, axes: int) -> Tensor:
    """The entries of a position with itself: the last ``2 axes`` axes become ``axes``."""
    for left in range(axes, 0, -1):
        # the first of the left axes and its partner; what is found goes to the end, in order
        K = K.diagonal(dim1=-left - axes, dim2=-axes) if left else K
    return K


def _padded(state: Covariances, layer: Conv) -> Covariances:
    """With what a convolution sees beyond the borders: zeros, or the other end."""
    k = state.n_axes
    around = [pads(n, layer.size, layer.stride, layer.padding) for n in state.q.shape[state.q.dim() - k :]]
    if not any(low or high for low, high in around):
        return state
    if layer.padding == "circular":

        def wrap(K: Tensor, axes: list[tuple[int, ...]]) -> Tensor:
            for group, (low, high) in zip(axes, around, strict=True):
                for axis in group:
                    places = torch.arange(-low, K.shape[axis] + high, device=K.device) % K.shape[axis]
                    K = K.index_select(axis, places)
            return K

        own: list[tuple[int, ...]] = [(i - k,) for i in range(k)]
        moved = state.mapped(lambda K: wrap(K, state.axes()))
        return replace(moved, p=wrap(state.p, own), q=wrap(state.q, own))
    widths = [n for pair in reversed(around) for n in pair]
    p, q = (pad(v, widths) for v in (state.p, state.q))
    both = state.mapped(lambda K: pad(K, widths * 2 if state.full else widths))
    after = replace(both, p=p, q=q)
    if not state.full:
        return after
    # Where one position is inside and the other beyond, S is 0 and Q half of a variance.
    inside = pad(torch.ones(state.q.shape[state.q.dim() - k :], dtype=q.dtype, device=q.device), widths)
    left, right = after.sides
    beyond = 1.0 - inside.reshape(*inside.shape, *[1] * k) * inside
    return replace(after, half=after.half + (left + right) * 0.5 * beyond)


def _windows(state: Covariances, layer: Conv) -> Covariances:
    """The mean over the windows of a convolution; both positions of a pair move together."""
    k = state.n_axes

    def windows(K: Tensor, axes: list[tuple[int, ...]]) -> Tensor:
        for group in axes:
            K = _mean_of_windows(K, group, layer.size, layer.stride)
        return K

    own: list[tuple[int, ...]] = [(i - k,) for i in range(k)]
    moved = state.mapped(lambda K: windows(K, state.axes()))
    return replace(moved, p=windows(state.p, own), q=windows(state.q, own))


def _mean_of_windows(K: Tensor, group: tuple[int, ...], size: int, stride: int) -> Tensor:
    """The mean over ``size`` positions, ``stride`` apart, along axes that move together."""
    if size == 1 and stride == 1:
        return K
    count = (K.shape[group[0]] - size) // stride + 1
    total: Any = 0.0
    for first in range(size):
        part = K
        for axis in group:
            part = part.narrow(axis, first, stride * (count - 1) + 1)
            if stride > 1:
                part = part.index_select(axis, torch.arange(0, part.shape[axis], stride, device=K.device))
        total = part + total
    mean: Tensor = total * (1.0 / size)
    return mean
