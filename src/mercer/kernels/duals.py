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
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from mercer.operators.maps import OPERATIONS, Expression, both_versines, make

Value = TypeVar("Value", Expression, Tensor)


def apply(op: str, *args: Value, value: float | None = None) -> Value:
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
    passes = 100.0  # elementwise passes of fresh memory that lapse and slope take together, as measured

    def variance(self, p: Value) -> Value:
        """E[phi(u)^2] for u of variance p."""
        raise NotImplementedError

    def covariance(self, w: Value, p: Value, q: Value) -> Value:
        """E, from the versine of the two."""
        raise NotImplementedError

    def slope(self, w: Value, p: Value, q: Value) -> Value:
        """D."""
        raise NotImplementedError

    def gap(self, w: Value, p: Value, q: Value) -> Value:
        """Half of the mean of (phi(u) - phi(v))^2, which is (E(p) + E(q)) / 2 - E, as a sum without cancellation.

        Equal points leave 0 and not round-off, whose root would be the angle that the next layer sees: 3e-4 in float32.
        """
        raise NotImplementedError

    def lapse(self, w: Value, p: Value, q: Value) -> Value:
        """1 - E / sqrt(E(p) E(q)); where one of those is 0, 0."""
        one, two = root(self.variance(p)), root(self.variance(q))
        return (self.gap(w, p, q) - (one - two) * (one - two) * 0.5) * (inverse(one) * inverse(two))

    def relative_slope(self, w: Value, p: Value, q: Value) -> Value:
        """D sqrt(p q) / sqrt(E(p) E(q)): the factor of an NTK that is measured in units of its variances."""
        return self.slope(w, p, q) * (self._gain(p) * self._gain(q))

    def lapse_and_slope(self, w: Value, p: Value, q: Value) -> tuple[Value, Value]:
        """Both, with what they have in common computed once."""
        return self.lapse(w, p, q), self.slope(w, p, q)

    def _gain(self, p: Value) -> Value:
        return root(p) * inverse(root(self.variance(p)))


@dataclass(frozen=True)
class Ramp(Dual):
    """phi(z) = below * min(z, 0) + above * max(z, 0): ReLU is (0, 1), the absolute value (-1, 1)."""

    below: float = 0.0
    above: float = 1.0
    homogeneous = True
    passes = 42.0

    def variance(self, p: Value) -> Value:
        return p * (0.5 * (self.below**2 + self.above**2))

    def lapse(self, w: Value, p: Value, q: Value) -> Value:
        linear, bent = self.shares()
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
        linear, bent = self.shares()
        return both * bent + linear if linear else both

    def slope(self, w: Value, p: Value, q: Value) -> Value:
        return self.relative_slope(w, p, q) * (0.5 * (self.below**2 + self.above**2))

    def lapse_and_slope(self, w: Value, p: Value, q: Value) -> tuple[Value, Value]:
        if isinstance(w, Expression):  # equal parts of expressions are one
            return super().lapse_and_slope(w, p, q)
        one, zero = both_versines(w)
        linear, bent = self.shares()
        folded = one * bent + w * linear if linear else one
        return folded, self._relative(zero) * (0.5 * (self.below**2 + self.above**2))

    def shares(self) -> tuple[float, float]:
        """The parts of the variance that pass unbent, and bent: 2 a b and (b - a)^2 of a^2 + b^2."""
        a, b = self.below, self.above
        return 2.0 * a * b / (a * a + b * b), (b - a) ** 2 / (a * a + b * b)


@dataclass(frozen=True)
class ErrorFunction(Dual):
    """phi(z) = erf(z)."""

    def variance(self, p: Value) -> Value:
        return apply("atan2", p * 2.0, root(p * 4.0 + 1.0)) * (2.0 / math.pi)

    def covariance(self, w: Value, p: Value, q: Value) -> Value:
        return apply("circle_angle", *_saturated(w, p * 2.0, q * 2.0), value=1.0) * (2.0 / math.pi)

    def gap(self, w: Value, p: Value, q: Value) -> Value:
        return _angles(w, p * 2.0, q * 2.0).below * (2.0 / math.pi)

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
        return s * 0.25 + (folded + s * apply("circle_angle", c, h, value=1.0)) * (0.5 / math.pi)

    def gap(self, w: Value, p: Value, q: Value) -> Value:
        # E = s / 4 + (s alpha + 1 / z + k z) / (2 pi) with z = sqrt((1 + p) (1 + q) - s^2) and k = 1 - a - b; of each
        # term the mean of both variances' minus its own, in squares and products of differences.
        angles = _angles(w, p, q)
        a, b, x, y = inverse(p + 1.0), inverse(q + 1.0), root(p * 2.0 + 1.0), root(q * 2.0 + 1.0)
        size, between = root(p) * root(q), root(p) - root(q)
        apart = between * between * 0.5 + size * w  # (p + q) / 2 - s
        wider = size * size * (w * (2.0 - w))  # p q - s^2
        z, steps = root(p + q + 1.0 + wider), (x - y) * (x - y)
        beyond = (steps * 0.25 + wider) * inverse(z + (x + y) * 0.5)  # z - (x + y) / 2
        inverses = ((x + y) * beyond + steps * 0.5) * inverse(x * y * z) * 0.5
        roots = (b - a) * (x - y) * 0.5 - (1.0 - a - b) * beyond
        arcs = size * (1.0 - w) * angles.below + (p - q) * angles.half_difference * 0.5
        return apart * (angles.mean * (0.5 / math.pi) + 0.25) + (arcs + inverses + roots) * (0.5 / math.pi)

    def slope(self, w: Value, p: Value, q: Value) -> Value:
        c, h = _saturated(w, p, q)
        a, b = inverse(p + 1.0), inverse(q + 1.0)
        ratio = c * inverse(h)
        parts = ratio * (a * b * (1.0 + ratio * ratio) + (a + b))
        angles = _angles(w, p, q)  # of which gap needs the same
        return (parts + (angles.mean - angles.below)) * (0.5 / math.pi) + 0.25


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

    def gap(self, w: Value, p: Value, q: Value) -> Value:
        b2, (_, far) = self.frequency**2, self._waves(w, p, q)
        lost = apply("expm1", self._apart(p, q, w) * -b2) * -1.0  # 1 - exp(b^2 s - b^2 (p + q) / 2)
        between = apply("exp", p * -b2) - apply("exp", q * -b2)
        return (lost - (between * between * 0.5 - far * lost) * math.cos(2.0 * self.phase)) * (0.5 * self.amplitude**2)

    def _waves(self, w: Value, p: Value, q: Value) -> tuple[Value, Value]:
        """exp(+- b^2 s - b^2 (p + q) / 2)."""
        apart, b2 = self._apart(p, q, w), self.frequency**2
        return apply("exp", apart * -b2), apply("exp", (p + q - apart) * -b2)

    @staticmethod
    def _apart(p: Value, q: Value, w: Value) -> Value:
        """(p + q) / 2 - s."""
        between = root(p) - root(q)
        return between * between * 0.5 + root(p) * root(q) * w


def _saturated(w: Value, p: Value, q: Value) -> tuple[Value, Value]:
    """c = s / sqrt((1 + p) (1 + q)) and sqrt(1 - c^2), at any scale of p and q and without cancellation."""
    a, b = inverse(p + 1.0), inverse(q + 1.0)
    both = root(p * a) * root(q * b)
    height = (a + b - a * b) + (both * both) * (w * (2.0 - w))
    return both * (1.0 - w), root(height)


class _Angles(NamedTuple, Generic[Value]):
    """Of ``_angles``."""

    mean: Value
    half_difference: Value
    below: Value


def _angles(w: Value, p: Value, q: Value) -> _Angles[Value]:
    """alpha_p = asin(p / (1 + p)) and alpha_q: their mean m, half their difference d; and m - asin(c), for the c of
    :func:`_saturated`, without cancellation.

    ``sin^2 m - c^2 = sin^2 d + sin(alpha_p) sin(alpha_q) w (2 - w)`` has positive terms; divided by ``sin m + c`` it is
    the difference of the sines, and that over the sum of the cosines the tangent of half the angle. Where c < 0 nothing
    cancels in the difference itself.
    """
    one, two = (apply("atan2", side, root(side * 2.0 + 1.0)) for side in (p, q))
    (s, t), (u, v) = ((apply("sin", angle * 0.5), apply("cos", angle * 0.5)) for angle in (one, two))
    sine, cosine, turned = s * v + t * u, t * v - s * u, s * v - t * u
    c, h = _saturated(w, p, q)
    near: Value = torch.clamp(w, max=1.0)  # type: ignore[call-overload]
    right: Value = torch.clamp(c, min=0.0)  # type: ignore[call-overload]
    both = root(p * inverse(p + 1.0)) * root(q * inverse(q + 1.0))
    rise = (turned * turned + both * both * (near * (2.0 - near))) * inverse(sine + right) + (right - c)
    below = apply("atan2", rise, cosine + h) * 2.0
    return _Angles((one + two) * 0.5, (one - two) * 0.5, below)
