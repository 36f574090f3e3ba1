r"""Quick forms of the kernels of ReLU networks, for tiles in float32: half of the calls of the recursion, or fewer.

Without biases such a kernel is ``|x| |y|`` times a function of the angle alone, analytic from 0 to pi: a polynomial of
degree 10 to 14, at any depth up to 10. With biases the recursion runs on
correlations, where the arc functions are one call each. A correlation near 1 has lost the digits of the angle: pairs
that are nearly parallel or opposite at the first layer stay with versines (:mod:`mercer.operators.maps.shortcut`), and
so do deep networks, which bring all points together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from mercer.kernels.duals import Ramp, apply, inverse, root
from mercer.kernels.neural.layers import Flatten, LayerNorm, Unit, Weighted
from mercer.kernels.neural.recursion import Moments, own_sigmas
from mercer.operators.maps import Bounds, Expression, clamp, constant, evaluate, leaves
from mercer.operators.statistics import LARGEST_COSINE

__all__ = ["apart", "by_angle", "by_correlations"]

LEAST_DEGREE, MOST_DEGREE = 6, 24
# By a polynomial, of the largest value: the round-off of float32. Half of it would take two calls more at depth 3.
LEFT_OUT = 6e-8
NODES, CHECKS = 96, 1000
# Deeper networks with biases bring all points together. Of the norm of an NTK in 16 columns, at sigma_b = 0.1, versines
# leave 2.2e-7 at any depth; correlations leave 1.9e-7 with 2 activations, 2.5e-7 with 5 and 1.4e-6 with 19.
MOST_ACTIVATIONS = 3


def apart(distance: Expression) -> Bounds:
    """Where the correlation of two directions has the digits of their angle, from the statistic of their distance."""
    return Bounds(int(distance.number), 2.0 - 2.0 * LARGEST_COSINE, 2.0 + 2.0 * LARGEST_COSINE)


def by_angle(value: Expression, distance: Expression, angle: Expression) -> Expression | None:
    """``value`` as a polynomial in the angle of two directions; None where it depends on more, or is none.

    Args:
        value: of the squared distance and the angle of two directions.
        distance, angle: the leaves of these.
    """
    if not set(leaves([value])) <= {distance, angle}:
        return None
    coefficients = _coefficients(value, distance, angle)
    if coefficients is None:
        return None
    u = angle * (2.0 / math.pi) - 1.0
    total = constant(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * u + c
    return total


@lru_cache(maxsize=64)
def _coefficients(value: Expression, distance: Expression, angle: Expression) -> tuple[float, ...] | None:
    """In powers of 2 angle / pi - 1, lowest first: the shortest series in Chebyshev polynomials that float32 needs."""

    def exact(theta: np.ndarray) -> np.ndarray:
        half = torch.from_numpy(theta / 2.0)
        (found,) = evaluate([value], {distance: 4.0 * half.sin().square(), angle: 2.0 * half})
        return found.numpy()

    # Chebyshev's points: the least error of an interpolant, and no end of the interval, where slopes are 0 / 0
    nodes, checks = (0.5 * math.pi * (1.0 + np.cos(math.pi * (np.arange(k) + 0.5) / k)) for k in (NODES, CHECKS))
    expected = exact(checks)
    largest = np.abs(expected).max()
    for degree in range(LEAST_DEGREE, MOST_DEGREE + 1):
        series = np.polynomial.Chebyshev.fit(nodes, exact(nodes), degree, domain=[0.0, math.pi])
        if np.abs(series(checks) - expected).max() <= LEFT_OUT * largest:
            powers = np.polynomial.chebyshev.cheb2poly(series.coef)
            # Horner's round-off is that of the sum of the sizes
            return tuple(map(float, powers)) if np.abs(powers).sum() <= 8.0 * largest else None
    return None


def by_correlations(layers: Sequence[Any], state: Moments, sigmas: tuple[Expression, Expression]) -> Expression | None:
    r"""The kernel of alternating layers of ramps and of weights; None for other layers.

    With the correlation -r of two points, u = acos(r) = pi - angle and e = sqrt(1 - r^2), the correlation behind ReLU
    is (e - r u) / pi and the factor of the tangent u / pi. All is kept with the sign of r, which spares calls.

    Args:
        layers: those behind the first with weights.
        state: in front of them.
        sigmas: the network's own.
    """
    rest = [layer for layer in layers if not isinstance(layer, Flatten)]
    if sum(isinstance(layer, Unit) for layer in rest) > MOST_ACTIVATIONS:
        return None
    size, other = state.size, state.other
    r = state.versine - 1.0
    n = None if state.tangent is None else r  # minus the tangent
    first = True
    while rest:
        unit, *rest = rest
        if not isinstance(unit, Unit) or not isinstance(unit.dual, Ramp) or unit.dual.below == unit.dual.above:
            return None
        bow, turned, gain = _bent(unit.dual, r if first else clamp(r, -1.0, 1.0), n)
        first = False
        size, other = (root(unit.dual.variance(s * s)) for s in (size, other))
        if not rest:
            return size * other * (bow if turned is None else turned * -1.0) * gain
        layer, *rest = rest
        if not isinstance(layer, Weighted):
            return None
        sigma_w, sigma_b = own_sigmas(layer, sigmas)
        if not rest:
            return sigma_b * sigma_b + size * other * (bow if turned is None else bow - turned) * (
                sigma_w * sigma_w * gain
            )
        before = size, other
        size, other = (root(s * s * (sigma_w * sigma_w) + sigma_b * sigma_b) for s in before)
        a, c = (s * sigma_w * inverse(new) for s, new in zip(before, (size, other), strict=True))
        b, d = (sigma_b * inverse(new) for new in (size, other))
        r = b * d * -1.0 - a * c * bow * gain
        n = None if turned is None else r + a * c * turned * gain
        while rest and isinstance(rest[0], LayerNorm):
            size, other = (s * inverse(root(s * s + rest[0].eps)) for s in (size, other))
            rest = rest[1:]
    return None if first else size * other * (r if n is None else n) * -1.0


def _bent(dual: Ramp, r: Expression, n: Expression | None) -> tuple[Expression, Expression | None, float]:
    """The correlation and minus the tangent behind an activation, both in units of a number, and that."""
    linear, bent = dual.shares()
    gain = bent / math.pi
    u, e = apply("acos", r), apply("sqrt", 1.0 - r * r)
    bow = e - r * u
    if linear:
        bow, u = bow - r * (linear / gain), u + linear / gain
    return bow, None if n is None else n * u, gain
