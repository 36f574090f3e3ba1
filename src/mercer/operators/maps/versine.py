r"""The op ``versine``: how alike a layer of random ReLU units finds two points, from the versine of their angle.

With the angle t and v = 1 - cos(t), the op of order 0 is (pi - t) / pi: the share of the units that are on for both
points. The op of order 1 is v - (sin t - t cos t) / pi, which is 1 minus the correlation of what the units give; it
keeps its digits near v = 0, where that correlation is 1. The derivative of order 1 by v is order 0.
Source: Cho & Saul, Kernel methods for deep learning (NIPS 2009), eq. 4 to 6, written in v.
"""

from __future__ import annotations

import math

from torch import Tensor

from mercer.operators.maps.composite import composite
from mercer.operators.maps.expression import Expression, clamp, make


def versine(v: Tensor, *, value: int) -> Tensor:
    """The function of order ``value`` (0 or 1) at versines ``v``, which round-off may have pushed out of [0, 2]."""
    return composite(v, _in_simple_ops, _slope, (value,))[0]


def both_versines(v: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`versine` of orders 1 and 0, whose angle is computed once."""
    one, zero = composite(v, _in_simple_ops, _slope, (1, 0))
    return one, zero


def versine_rule(node: Expression, position: int) -> Expression:
    """The derivative rule of the op ``versine``."""
    return _slope(node.args[0], node.value)


def versine_expand(node: Expression, v: Expression) -> Expression:
    """The op in terms of simpler ones."""
    return _in_simple_ops(v, node.value)


def cosine_of_versine(v: Tensor, *, value: None = None) -> Tensor:
    """1 - v for versines; where round-off has pushed v out of [0, 2], as if it were at the border, but with a slope."""
    return 1.0 - v


def cosine_expand(node: Expression, v: Expression) -> Expression:
    """The op in terms of simpler ones."""
    return 1.0 - clamp(v, 0.0, 2.0)


def _slope(v: Expression, order: int) -> Expression:
    if order == 1:
        return make("versine", v, value=0)
    v = clamp(v, 0.0, 2.0)  # a coincident pair pulls in no direction
    return make("reciprocal_or_zero", make("sqrt", v * (2.0 - v))) * (-1.0 / math.pi)


def _in_simple_ops(v: Expression, order: int) -> Expression:
    v = clamp(v, 0.0, 2.0)
    # sqrt(2) times the sine and cosine of half the angle; an arc sine would disagree with them near pi, by the root of
    # round-off.
    sine, cosine = make("sqrt", v), make("sqrt", 2.0 - v)
    half_angle = make("circle_angle", sine, cosine, value=math.sqrt(2.0))
    if order == 0:
        return 1.0 - half_angle * (2.0 / math.pi)
    return v - sine * cosine * (1.0 / math.pi) + half_angle * (1.0 - v) * (2.0 / math.pi)
