"""The kernel of any network on two blocks of points, by plain torch: convolutions, pools, any activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mercer.kernels.neural.covariances import Covariances, activated, flattened, normed, start
from mercer.kernels.neural.in_place import kernel_in_place
from mercer.kernels.neural.layers import AvgPool, Conv, Flatten, GlobalAvgPool, LayerNorm, Residual, Unit, Weighted
from mercer.kernels.neural.shapes import has_pool, normal_after_pool, positions_after
from mercer.kernels.neural.windows import diagonal, mean_of_windows, weighted
from mercer.operators.watchers import is_recorded

BLOCK_BYTES = 1 << 26  # of the diagonal's temporaries
BYTES_OF_A_PASS = 12.0  # two float32 read and one written
BYTES_IN_PLACE = 6.0  # without pools, where memory is used again and half of it is still in cache
PASSES = {"weights": 4.0, "window": 6.0}


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
                K = mean_of_windows(K, (axis,), layer.size, layer.step)
            return K

        covariance = pool(state.covariance)
        tangent = None if state.tangent is None else pool(state.tangent)
        axes = 0 if isinstance(layer, GlobalAvgPool) else k
        if self.own:
            p = q = diagonal(covariance, axes)
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
            after = replace(after.mapped(lambda K: diagonal(K, axes)), full=False)
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
    def traffic_per_pair(self) -> float:
        """Elementwise passes wait for memory, not for arithmetic."""
        return (BYTES_OF_A_PASS if self.full else BYTES_IN_PLACE) * self.passes_per_pair

    @property
    def flops_per_pair(self) -> float:
        """Of matrix products: none."""
        return 0.0

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
                total += layer.dual.passes * numbers
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
        if not self.full and not is_recorded(X, Y, *theta):
            return kernel_in_place(self.layers, X, Y, (theta[0], theta[1]), tangent=self.tangent)
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
