r"""Dual activations: what a layer of infinitely many random units does to a covariance.

For an activation phi and (u, v) ~ N(0, [[p, s], [s, q]]) the duals are E = E[phi(u) phi(v)] and
D = E[phi'(u) phi'(v)] = dE/ds. Covariances come as two variances p, q and the *versine* ``w = 1 - s / sqrt(p q)``,
which keeps the digits of nearly equal points that a correlation near 1 has lost; they go out as the *lapse*
``1 - E / sqrt(E(p) E(q))``, the versine of the next layer. Everything is written in the op set of kernel maps: it works
on expressions and on tensors alike.

Source: Cho & Saul 2009 (ReLU), Williams 1997 (erf), Louart et al. 2018 (sin), Tsuchida et al. 2021 (GELU).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mercer.operators.maps import OPERATIONS, Expression, make

Value = TypeVar("Value", Expression, Tensor)


def apply(op: str, *args: Value, value: int | None = None) -> Value:
    """An op of the set, on expressions or on tensors (with the guarded derivatives that maps have)."""
    if isinstance(args[0], Expression):
        return make(op, *args, value=value)
    return OPERATIONS[op].compute(*args, value=value)


def root(x: Value) -> Value:
    """Square root; 0, with derivative 0, for x <= 0."""
    return apply("sqrt", x)


def inverse(x: Value) -> Value:
    """1 / x, and 0 at 0."""
    return apply("reciprocal_or_zero", x)


class Dual:
    """How one activation acts on covariances. Hashable, and picklable where its function is."""

    homogeneous = False  # whether phi(c z) = c phi(z) for c > 0
    in_maps = True  # whether its formulas are of the op set of kernel maps

    def variance(self, p: Value) -> Value:
        """E[phi(u)^2] for u of variance p."""
        raise NotImplementedError

    def covariance(self, w: Value, p: Value, q: Value) -> Value:
        """E, from the versine of the two."""
        raise NotImplementedError

    def slope(self, w: Value, p: Value, q: Value) -> Value:
        """D."""
        raise NotImplementedError

    def lapse(self, w: Value, p: Value, q: Value) -> Value:
        """1 - E / sqrt(E(p) E(q)); where one of those is 0, 1."""
        size = inverse(root(self.variance(p))) * inverse(root(self.variance(q)))
        return 1.0 - self.covariance(w, p, q) * size

    def relative_slope(self, w: Value, p: Value, q: Value) -> Value:
        """D sqrt(p q) / sqrt(E(p) E(q)): the factor of an NTK that is measured in units of its variances."""
        return self.slope(w, p, q) * (self._gain(p) * self._gain(q))

    def _gain(self, p: Value) -> Value:
        return root(p) * inverse(root(self.variance(p)))


@dataclass(frozen=True)
class Ramp(Dual):
    """phi(z) = below * min(z, 0) + above * max(z, 0): ReLU is (0, 1), the absolute value (-1, 1)."""

    below: float = 0.0
    above: float = 1.0
    homogeneous = True

    def variance(self, p: Value) -> Value:
        return p * (0.5 * (self.below**2 + self.above**2))

    def lapse(self, w: Value, p: Value, q: Value) -> Value:
        linear, bent = self._shares()
        folded = apply("versine", w, value=1)
        return folded * bent + w * linear if linear else folded

    def covariance(self, w: Value, p: Value, q: Value) -> Value:
        return (1.0 - self.lapse(w, p, q)) * root(self.variance(p)) * root(self.variance(q))

    def relative_slope(self, w: Value, p: Value, q: Value) -> Value:
        return self._relative(apply("versine", w, value=0))

    def relative_slope_of_angle(self, angle: Value) -> Value:
        """The same where the angle is known, also near pi, where the versine has lost its digits."""
        return self._relative(1.0 - angle * (1.0 / math.pi))

    def _relative(self, both: Value) -> Value:
        linear, bent = self._shares()
        return both * bent + linear if linear else both

    def slope(self, w: Value, p: Value, q: Value) -> Value:
        return self.relative_slope(w, p, q) * (0.5 * (self.below**2 + self.above**2))

    def _shares(self) -> tuple[float, float]:
        """The parts of the variance that pass unbent, and bent: 2 a b and (b - a)^2 of a^2 + b^2."""
        a, b = self.below, self.above
        return 2.0 * a * b / (a * a + b * b), (b - a) ** 2 / (a * a + b * b)


@dataclass(frozen=True)
class ErrorFunction(Dual):
    """phi(z) = erf(z)."""

    def variance(self, p: Value) -> Value:
        return apply("atan2", p * 2.0, root(p * 4.0 + 1.0)) * (2.0 / math.pi)

    def covariance(self, w: Value, p: Value, q: Value) -> Value:
        return apply("atan2", *_saturated(w, p * 2.0, q * 2.0)) * (2.0 / math.pi)

    def slope(self, w: Value, p: Value, q: Value) -> Value:
        _, height = _saturated(w, p * 2.0, q * 2.0)
        return root(inverse(p * 2.0 + 1.0)) * root(inverse(q * 2.0 + 1.0)) * inverse(height) * (4.0 / math.pi)


@dataclass(frozen=True)
class GaussianErrorUnit(Dual):
    """phi(z) = z (1 + erf(z / sqrt(2))) / 2."""

    def variance(self, p: Value) -> Value:
        return self.covariance(p * 0.0, p, p)

    def covariance(self, w: Value, p: Value, q: Value) -> Value:
        c, h = _saturated(w, p, q)
        a, b = inverse(p + 1.0), inverse(q + 1.0)
        size = root(p) * root(q)
        folded = c * c * inverse(h) * (root(a) * root(b)) + size * (root(p * a) * root(q * b)) * h
        s = size * (1.0 - w)
        return s * 0.25 + (folded + s * apply("atan2", c, h)) * (0.5 / math.pi)

    def slope(self, w: Value, p: Value, q: Value) -> Value:
        c, h = _saturated(w, p, q)
        a, b = inverse(p + 1.0), inverse(q + 1.0)
        ratio = c * inverse(h)
        parts = ratio * (a * b * (1.0 + ratio * ratio) + (a + b))
        return (parts + apply("atan2", c, h)) * (0.5 / math.pi) + 0.25


@dataclass(frozen=True)
class Wave(Dual):
    """phi(z) = amplitude sin(frequency z + phase)."""

    amplitude: float = 1.0
    frequency: float = 1.0
    phase: float = 0.0

    def variance(self, p: Value) -> Value:
        doubled = apply("exp", p * (-2.0 * self.frequency**2)) * math.cos(2.0 * self.phase)
        return (1.0 - doubled) * (0.5 * self.amplitude**2)

    def covariance(self, w: Value, p: Value, q: Value) -> Value:
        near, far = self._waves(w, p, q)
        return (near - far * math.cos(2.0 * self.phase)) * (0.5 * self.amplitude**2)

    def slope(self, w: Value, p: Value, q: Value) -> Value:
        near, far = self._waves(w, p, q)
        factor = 0.5 * self.amplitude**2 * self.frequency**2
        return (near + far * math.cos(2.0 * self.phase)) * factor

    def _waves(self, w: Value, p: Value, q: Value) -> tuple[Value, Value]:
        """exp(+- b^2 s - b^2 (p + q) / 2)."""
        gap = root(p) - root(q)
        apart = gap * gap * 0.5 + root(p) * root(q) * w  # (p + q) / 2 - s
        b2 = self.frequency**2
        return apply("exp", apart * -b2), apply("exp", (p + q - apart) * -b2)


@dataclass(frozen=True)
class Powers(Dual):
    """phi(z) = c_0 + c_1 z + c_2 z^2 + ...; exact moments."""

    coefficients: tuple[float, ...]

    def variance(self, p: Value) -> Value:
        return self._sum([a * a for a in self._hermite(self.coefficients, p)], None, p)

    def covariance(self, w: Value, p: Value, q: Value) -> Value:
        return self._series(self.coefficients, w, p, q)

    def slope(self, w: Value, p: Value, q: Value) -> Value:
        return self._series(_derivative(self.coefficients), w, p, q)

    def _series(self, coefficients: tuple[float, ...], w: Value, p: Value, q: Value) -> Value:
        pairs = zip(self._hermite(coefficients, p), self._hermite(coefficients, q), strict=True)
        return self._sum([a * b for a, b in pairs], 1.0 - w, p)

    @staticmethod
    def _sum(terms: Sequence[Value], rho: Value | None, like: Value) -> Value:
        """sum_k terms_k rho^k, by Horner; rho = 1 where it is None."""
        total = terms[-1]
        for term in reversed(terms[:-1]):
            total = term + (total if rho is None else total * rho)
        return total

    @staticmethod
    def _hermite(coefficients: tuple[float, ...], p: Value) -> list[Value]:
        """Coefficients of phi(sqrt(p) g) in normalised Hermite polynomials of a standard normal g."""
        side = root(p)
        found = []
        for k in range(len(coefficients)):
            total = side * 0.0
            power = total + 1.0
            for j, c in enumerate(coefficients):
                weight = _moment(j, k) * c
                if weight != 0.0:
                    total = total + power * weight
                power = power * side
            found.append(total)
        return found


class Quadrature(Dual):
    """Any function, by its coefficients in normalised Hermite polynomials: exact for polynomials below ``order``.

    Args:
        function: elementwise, on float64 tensors.
        derivative: of it; None takes autograd's.
        order: terms of the series. For a kink, as of ReLU, the error falls like order^(-3/2) in E and
            order^(-1/2) in D.
    """

    in_maps = False

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        derivative: Callable[[Tensor], Tensor] | None = None,
        order: int = 48,
    ) -> None:
        self.function, self.derivative, self.order = function, derivative, order

    def variance(self, p: Tensor) -> Tensor:  # type: ignore[override]
        nodes, weights, _ = _rule(self.order)
        z = p.double().clamp(min=0.0).sqrt().unsqueeze(-1) * torch.from_numpy(nodes).to(p.device)
        return (self.function(z).square() * torch.from_numpy(weights).to(p.device)).sum(-1).to(p.dtype)

    def covariance(self, w: Tensor, p: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        return self._series(self.function, w, p, q)

    def slope(self, w: Tensor, p: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        return self._series(self.derivative or self._autograd, w, p, q)

    def _autograd(self, z: Tensor) -> Tensor:
        wanted = z.requires_grad
        with torch.enable_grad():
            z = z if wanted else z.detach().requires_grad_()
            (grad,) = torch.autograd.grad(self.function(z).sum(), z, create_graph=wanted)
        return grad

    def _series(self, function: Callable[[Tensor], Tensor], w: Tensor, p: Tensor, q: Tensor) -> Tensor:
        a, b = self._coefficients(function, p), self._coefficients(function, q)
        rho = (1.0 - w).double()
        total = a[..., -1] * b[..., -1]
        for k in range(self.order - 2, -1, -1):
            total = a[..., k] * b[..., k] + total * rho
        return total.to(w.dtype)

    def _coefficients(self, function: Callable[[Tensor], Tensor], p: Tensor) -> Tensor:
        nodes, weights, polynomials = _rule(self.order)
        z = p.double().clamp(min=0.0).sqrt().unsqueeze(-1) * torch.from_numpy(nodes).to(p.device)
        return function(z) @ torch.from_numpy(weights[:, None] * polynomials).to(p.device)


def _saturated(w: Value, p: Value, q: Value) -> tuple[Value, Value]:
    """c = s / sqrt((1 + p) (1 + q)) and sqrt(1 - c^2), at any scale of p and q and without cancellation."""
    a, b = inverse(p + 1.0), inverse(q + 1.0)
    both = root(p * a) * root(q * b)
    height = (a + b - a * b) + (both * both) * (w * (2.0 - w))
    return both * (1.0 - w), root(height)


def _derivative(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    found = tuple(j * c for j, c in enumerate(coefficients))[1:]
    return found or (0.0,)


@lru_cache(maxsize=1024)
def _moment(j: int, k: int) -> float:
    """E[g^j h_k(g)] with normalised h_k: j! / (2^i i! sqrt(k!)), i = (j - k) / 2."""
    if j < k or (j - k) % 2:
        return 0.0
    i = (j - k) // 2
    return math.factorial(j) / (2.0**i * math.factorial(i) * math.sqrt(math.factorial(k)))


@lru_cache(maxsize=16)
def _rule(order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Hermite nodes and weights of a standard normal, and the normalised polynomials there ``(nodes, order)``."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(2 * order)
    polynomials = np.ones((len(nodes), order))
    if order > 1:
        polynomials[:, 1] = nodes
    for k in range(2, order):
        polynomials[:, k] = (nodes * polynomials[:, k - 1] - math.sqrt(k - 1) * polynomials[:, k - 2]) / math.sqrt(k)
    return nodes, weights / weights.sum(), polynomials
