r"""The op ``arc_cosine``: how alike two points are to a layer of random step, ramp or squared-ramp units.

With the angle t of the points and c = cos(t), the op of order n is J_n / pi: (pi - t) / pi, then
(sin t + (pi - t) c) / pi, then (3 c sin t + (pi - t) (1 + 2 c^2)) / pi. Its argument is h = 1 - c, half the squared
distance of the points' directions: a cosine near 1 has lost half of the digits of the angle, which the slopes need.
The derivative by h is -n^2 times the op of order n - 1. Source: Cho & Saul, Kernel methods for deep learning
(NIPS 2009), eq. 4 to 6.
"""

from __future__ import annotations

import math

from torch import Tensor

from mercer.operators.maps.composite import composite
from mercer.operators.maps.expression import Expression, clamp, make


def arc_cosine(h: Tensor, *, value: int) -> Tensor:
    """The function of order ``value`` (0, 1 or 2) at ``h = 1 - cos t``; round-off may have pushed it out of [0, 2]."""
    return composite(h, _in_simple_ops, _slope, (value,))[0]


def arc_cosine_rule(node: Expression, position: int) -> Expression:
    """The derivative rule of the op ``arc_cosine``."""
    return _slope(node.args[0], node.value)


def arc_cosine_expand(node: Expression, h: Expression) -> Expression:
    """The op in terms of simpler ones."""
    return _in_simple_ops(h, node.value)


def _slope(h: Expression, order: int) -> Expression:
    if order > 0:
        return make("arc_cosine", h, value=order - 1) * float(-order * order)
    return make("reciprocal_or_zero", _sine(clamp(h, 0.0, 2.0))) * (-1.0 / math.pi)


def _in_simple_ops(h: Expression, order: int) -> Expression:
    h = clamp(h, 0.0, 2.0)
    # The sine and cosine of half the angle; an arc sine would disagree with them near pi, by the root of round-off.
    half_sine, half_cosine = make("sqrt", h * 0.5), make("sqrt", 1.0 - h * 0.5)
    rest = 1.0 - make("circle_angle", half_sine, half_cosine, value=1.0) * (2.0 / math.pi)
    if order == 0:
        return rest
    c, sine = 1.0 - h, half_sine * half_cosine * (2.0 / math.pi)
    return sine + rest * c if order == 1 else 3.0 * (sine * c) + rest * (1.0 + 2.0 * (c * c))


def _sine(h: Expression) -> Expression:
    return make("sqrt", h * (2.0 - h))
