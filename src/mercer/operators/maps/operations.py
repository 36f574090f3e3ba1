"""The published op set of kernel maps: how each op is computed, differentiated and simplified.

One row an op. ``compute`` takes tensors (and the node's attribute ``value``) and is plain torch; ``derivative(node,
i)`` gives the partial derivative in argument ``i`` as an expression; ``simplify`` returns a simpler equal expression or
None.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mercer.operators.maps import special
from mercer.operators.maps.arc_cosine import arc_cosine, arc_cosine_expand, arc_cosine_rule
from mercer.operators.maps.circle_angle import circle_angle, circle_angle_into, circle_angle_rule
from mercer.operators.maps.expression import OPERATIONS, TORCH_NAMES, Expression, Operation, clamp, constant, make
from mercer.operators.maps.shortcut import shortcut, shortcut_expand, shortcut_rule
from mercer.operators.maps.versine import cosine_expand, cosine_of_versine, versine, versine_expand, versine_rule
from mercer.operators.maps.wendland import wendland, wendland_expand, wendland_rule

__all__ = ["OPERATIONS", "TORCH_NAMES"]

Compute = Callable[..., Tensor]


def _simplify_add(x: Expression, y: Expression) -> Expression | None:
    if x.is_constant:
        x, y = y, x
    return x if y.is_constant and y.number == 0.0 else None


def _simplify_sub(x: Expression, y: Expression) -> Expression | None:
    if y.is_constant:
        return x + (-y.number)
    return -y if x.is_constant and x.number == 0.0 else None


def _simplify_mul(x: Expression, y: Expression) -> Expression | None:
    if x.is_constant:
        x, y = y, x  # the number stands last: folding needs to look in one place only
    if y.is_constant:
        if y.number in (0.0, 1.0):
            return x if y.number else y
        if x.op == "mul" and x.args[1].is_constant:
            return x.args[0] * (x.args[1].number * y.number)
        return Expression("mul", (x, y))
    # numbers travel outwards, where they meet
    if x.op == "mul" and x.args[1].is_constant:
        return (x.args[0] * y) * x.args[1]
    if y.op == "mul" and y.args[1].is_constant:
        return (x * y.args[0]) * y.args[1]
    return None


def _simplify_div(x: Expression, y: Expression) -> Expression | None:
    if y.is_constant and y.number != 0.0:
        return x * (1.0 / y.number)
    return x if x.is_constant and x.number == 0.0 else None


def _simplify_pow(x: Expression, y: Expression) -> Expression | None:
    if not y.is_constant:
        return make("exp", y * make("log", x))
    p = y.number
    if p == 0.5:
        return make("sqrt", x)
    if not p.is_integer() or abs(p) > 16:
        return None
    if p < 0:
        return 1.0 / make("pow", x, -p)
    if p == 0.0:
        return constant(1.0)
    half = make("pow", x, p // 2) if p > 1 else None
    if half is None:
        return x
    square = half * half
    return square * x if p % 2 else square


def _simplify_maximum(x: Expression, y: Expression) -> Expression | None:
    if x.is_constant:
        x, y = y, x
    return clamp(x, min=y.number) if y.is_constant else None  # torch.maximum takes no numbers


def _power_rule(node: Expression, i: int) -> Expression:
    x, p = node.args
    if p.number < 1.0:  # as with square roots: a coincident pair pulls in no direction
        return p.number * make("pow", _call("reciprocal_or_zero", x), 1.0 - p.number)
    return p.number * make("pow", x, p.number - 1.0)


def _angle(x: Tensor, *, value: None = None) -> Tensor:
    beyond = x.abs() >= 1.0
    inside = torch.where(beyond, torch.zeros_like(x), x).acos()
    return torch.where(beyond, (1.0 - x.detach().sign()) * (math.pi / 2.0), inside)


def _unary(function: Callable[..., Tensor]) -> Compute:
    return lambda x, *, value=None: function(x)


def _binary(function: Callable[..., Tensor]) -> Compute:
    return lambda x, y, *, value=None: function(x, y)


def _call(name: str, *args: Expression | float) -> Expression:
    return make(name, *args)


OPERATIONS |= {
    "add": Operation(_binary(torch.add), lambda n, i: constant(1.0), torch.add, _simplify_add),
    "sub": Operation(_binary(torch.sub), lambda n, i: constant(1.0 - 2.0 * i), torch.sub, _simplify_sub),
    "mul": Operation(_binary(torch.mul), lambda n, i: n.args[1 - i], torch.mul, _simplify_mul),
    "div": Operation(
        _binary(torch.div),
        lambda n, i: 1.0 / n.args[1] if i == 0 else -(n / n.args[1]),
        torch.div,
        _simplify_div,
    ),
    "pow": Operation(_binary(special.safe_power), _power_rule, torch.pow, _simplify_pow),
    "exp": Operation(_unary(torch.exp), lambda n, i: n, torch.exp),
    "expm1": Operation(_unary(torch.expm1), lambda n, i: n + 1.0, torch.expm1),
    "exp2": Operation(_unary(torch.exp2), lambda n, i: n * math.log(2.0), torch.exp2),
    "log": Operation(_unary(torch.log), lambda n, i: 1.0 / n.args[0], torch.log),
    "log1p": Operation(_unary(torch.log1p), lambda n, i: 1.0 / (n.args[0] + 1.0), torch.log1p),
    "sqrt": Operation(_unary(special.safe_sqrt), lambda n, i: 0.5 * _call("reciprocal_or_zero", n), torch.sqrt),
    "rsqrt": Operation(_unary(torch.rsqrt), lambda n, i: -0.5 * (n * n * n), torch.rsqrt),
    "reciprocal_or_zero": Operation(
        _unary(special.reciprocal_or_zero), lambda n, i: -(n * n), special.reciprocal_or_zero
    ),
    "sin": Operation(_unary(torch.sin), lambda n, i: _call("cos", n.args[0]), torch.sin),
    "cos": Operation(_unary(torch.cos), lambda n, i: -_call("sin", n.args[0]), torch.cos),
    "erf": Operation(
        _unary(torch.erf),
        lambda n, i: (2.0 / math.sqrt(math.pi)) * _call("exp", -(n.args[0] * n.args[0])),
        torch.erf,
    ),
    "asin": Operation(_unary(torch.asin), lambda n, i: _call("rsqrt", 1.0 - n.args[0] * n.args[0]), torch.asin),
    "acos": Operation(_unary(torch.acos), lambda n, i: -_call("rsqrt", 1.0 - n.args[0] * n.args[0]), torch.acos),
    # acos for cosines that round-off pushes past 1: the angle, with derivative 0 at coincident and opposite points.
    "angle": Operation(
        _angle,
        lambda n, i: -_call("reciprocal_or_zero", _call("sqrt", 1.0 - n.args[0] * n.args[0])),
        None,
        None,
        lambda n, x: make("acos", clamp(x, -1.0, 1.0)),
    ),
    "atan2": Operation(
        _binary(torch.atan2),
        lambda n, i: (n.args[1] if i == 0 else -n.args[0]) / (n.args[0] * n.args[0] + n.args[1] * n.args[1]),
        torch.atan2,
    ),
    # The angle of a point on the right half of a circle about 0 whose radius is ``value``.
    "circle_angle": Operation(circle_angle, circle_angle_rule, circle_angle_into),
    "maximum": Operation(
        _binary(torch.maximum),
        lambda n, i: _call("step", n.args[i] - n.args[1 - i]),
        torch.maximum,
        _simplify_maximum,
    ),
    # 1 where the argument is positive, 1/2 at 0 (so that both sides of a maximum share a tie), else 0.
    "step": Operation(_unary(special.step), lambda n, i: constant(0.0), special.step),
    "clamp": Operation(
        lambda x, *, value: x.clamp(*value),
        lambda n, i: _call("step", n.args[0] - n.value[0]) * _call("step", n.value[1] - n.args[0]),
        lambda x, value, *, out: torch.clamp(x, *value, out=out),
    ),
    # Matern correlation of smoothness ``value`` as a function of s = r^2 (distance in lengthscales, squared).
    "matern": Operation(special.matern, special.matern_rule, special.matern_into, None, special.matern_expand),
    # Wendland's function of (exponent, smoothness) ``value``, of s = r^2 too.
    "wendland": Operation(wendland, wendland_rule, None, None, wendland_expand),
    # Arc-cosine function of order ``value``, of 1 minus the cosine of an angle.
    "arc_cosine": Operation(arc_cosine, arc_cosine_rule, None, None, arc_cosine_expand),
    # What ReLU units make of the versine of an angle, of order ``value``.
    "versine": Operation(versine, versine_rule, None, None, versine_expand),
    # 1 - v for a versine v; its slope is -1 also where round-off has pushed v out of [0, 2].
    "cosine_of_versine": Operation(cosine_of_versine, lambda n, i: constant(-1.0), None, None, cosine_expand),
    # The first argument, for which tiles may take the second.
    "shortcut": Operation(shortcut, shortcut_rule, None, None, shortcut_expand),
}

TORCH_NAMES |= {
    getattr(torch, name): name
    for name in (
        "exp",
        "log",
        "log1p",
        "expm1",
        "sqrt",
        "rsqrt",
        "sin",
        "cos",
        "erf",
        "asin",
        "acos",
        "atan2",
        "maximum",
        "clamp",
        "pow",
    )
}
TORCH_NAMES |= {torch.add: "add", torch.sub: "sub", torch.mul: "mul", torch.div: "div"}
