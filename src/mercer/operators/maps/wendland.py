"""The op ``wendland``: functions of compact support, polynomials in the distance up to 1 and zero beyond."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer.operators.maps.expression import Expression, clamp, constant, evaluate, leaf, make


def wendland_polynomial(exponent: int, smoothness: int) -> tuple[int, tuple[float, ...]]:
    """The power of (1 - r) and the coefficients, highest power of r first, of what multiplies it; the value at 0 is 1.

    Source: Rasmussen & Williams (2006), eq. 4.21, with ``exponent`` for j.
    """
    j = float(exponent)
    coefficients = {
        0: (1.0,),
        1: (j + 1.0, 1.0),
        2: ((j * j + 4.0 * j + 3.0) / 3.0, j + 2.0, 1.0),
        3: ((j**3 + 9.0 * j * j + 23.0 * j + 15.0) / 15.0, (6.0 * j * j + 36.0 * j + 45.0) / 15.0, j + 3.0, 1.0),
    }[smoothness]
    return exponent + smoothness, coefficients


class _Wendland(torch.autograd.Function):
    """Autograd by the recursion of :func:`wendland_slope`; each derivative lowers the smoothness by one."""

    generate_vmap_rule = True

    @staticmethod
    def forward(s: Tensor, value: tuple[int, int]) -> Tensor:
        power, (first, *rest) = wendland_polynomial(*value)
        r = s.clamp(0.0, 1.0).sqrt()
        total = torch.full_like(r, first)
        for coefficient in rest:
            total = total * r + coefficient
        return total * (1.0 - r) ** power

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, tuple[int, int]], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.value = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (s,) = ctx.saved_tensors
        slot = leaf("statistic", 0)
        (slope,) = evaluate([wendland_slope(slot, *ctx.value)], {slot: s})
        return grad * slope, None


def wendland(s: Tensor, *, value: tuple[int, int]) -> Tensor:
    """Wendland's function at squared distance ``s`` (in support radii); ``value`` is (exponent, smoothness)."""
    result: Tensor = _Wendland.apply(s, value)  # type: ignore[no-untyped-call]
    return result


def wendland_slope(s: Expression, exponent: int, smoothness: int) -> Expression:
    """Its derivative by s: a multiple of the function of the same exponent that is one step less smooth."""
    if smoothness > 0:
        j, k = exponent, smoothness
        return make("wendland", s, value=(j, k - 1)) * (-0.5 * (j + 2 * k - 1) * (j + 2 * k) / (2 * k - 1))
    inside = make("wendland", s, value=(exponent - 1, 0)) if exponent > 1 else make("step", 1.0 - s)
    return inside * make("reciprocal_or_zero", make("sqrt", s)) * (-0.5 * exponent)


def wendland_rule(node: Expression, position: int) -> Expression:
    """The derivative rule of the op ``wendland``."""
    return wendland_slope(node.args[0], *node.value)


def wendland_expand(node: Expression, s: Expression) -> Expression:
    """The op in terms of simpler ones."""
    power, coefficients = wendland_polynomial(*node.value)
    r = make("sqrt", clamp(s, max=1.0))
    total = constant(coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * r + coefficient
    return (1.0 - r) ** float(power) * total
