r"""Covariances of many pairs of positions through one layer after the other, by plain torch.

The NNGP kernel S of positions i, j is kept as ``Q = (p_i + q_j) / 2 - S_ij``, half a squared distance. Q is linear
under layers with weights and exactly 0 for equal patches, of which images are full (borders, background); from S, the
versine ``(Q - (sqrt(p) - sqrt(q))^2 / 2) / sqrt(p q)`` would be round-off there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mercer.kernels.duals import Dual, inverse, root
from mercer.kernels.neural.layers import Unit

__all__ = ["Covariances", "activated", "flattened", "normed", "start", "through_dual"]


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
    return through_dual(state, unit.dual)


def through_dual(state: Covariances, dual: Dual) -> Covariances:
    """Through the activation of which this is the dual."""
    w = _versine(state)
    p, q = state.sides
    after = replace(state, p=dual.variance(state.p), q=dual.variance(state.q))
    if state.tangent is None:
        return _of_versine(after, dual.lapse(w, p, q))
    lapse, slope = dual.lapse_and_slope(w, p, q)
    return _of_versine(replace(after, tangent=state.tangent * slope), lapse)


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


def flattened(state: Covariances) -> Covariances:
    """The mean over positions, each with itself."""
    k = state.n_axes
    if not k:
        return state
    own = list(range(-k, 0))
    return replace(state.mapped(lambda K: K.mean(own)), p=state.p.mean(own), q=state.q.mean(own), n_axes=0, full=False)
