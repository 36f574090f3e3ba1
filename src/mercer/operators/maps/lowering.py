"""Maps in terms of simple ops: what tiles and fused kernels compute."""

from __future__ import annotations

import math
from collections.abc import Callable

from mercer.operators.maps.circle_angle import circle_angle_by_polynomial
from mercer.operators.maps.expression import LEAVES, OPERATIONS, Expression, clamp, make, rebuild, same_op

__all__ = ["lower"]

# Below -87 exp gives denormals in float32, 25 to 100 times slower; e^-80 = 1.8e-35 is as good as 0.
LOWEST_EXPONENT = -80.0


def lower(
    roots: tuple[Expression, ...],
    statistic: Callable[[Expression], Expression],
    *,
    prefer_exp2: bool,
    prefer_polynomials: bool = False,
) -> tuple[Expression, ...]:
    """Composite ops in terms of simple ones, exponents clamped.

    Args:
        roots: expressions.
        statistic: in terms of what panels write.
        prefer_exp2: whether exp is written as a power of 2.
        prefer_polynomials: whether arc functions are written as polynomials, to the digits of float32.
    """
    base = math.log2(math.e) if prefer_exp2 else 1.0

    def simple(node: Expression, args: tuple[Expression, ...]) -> Expression:
        if node.op == "exp":
            exponent = _scale(args[0], base)
            if _least(exponent) < LOWEST_EXPONENT * base * (1.0 + 1e-12):
                exponent = clamp(exponent, min=LOWEST_EXPONENT * base)
            return make("exp2" if prefer_exp2 else "exp", exponent)
        if node.op == "circle_angle" and prefer_polynomials:
            return circle_angle_by_polynomial(args[0], args[1], node.number)
        if node.op == "mul" and args[1].is_constant:
            return _scale(args[0], args[1].number)
        return same_op(node, args)

    def rule(node: Expression, args: tuple[Expression, ...]) -> Expression:
        if node.op == "statistic":
            return statistic(node)
        expand = None if node.op in LEAVES else OPERATIONS[node.op].expand
        return rebuild((expand(node, args[0]),), simple)[0] if expand else simple(node, args)

    return rebuild(roots, rule)


def _scale(x: Expression, factor: float) -> Expression:
    """``factor * x``, carried through a clamp to where it can fold into a panel."""
    if x.op != "clamp" or factor == 0.0:
        return x * factor
    low, high = sorted((x.value[0] * factor, x.value[1] * factor))
    return clamp(_scale(x.args[0], factor), low, high)


def _least(x: Expression) -> float:
    """A number that ``x`` cannot be below, as far as clamps say."""
    if x.is_constant:
        return x.number
    if x.op == "clamp":
        return float(x.value[0])
    if x.op == "mul" and x.args[1].is_constant:
        factor = x.args[1].number
        return factor * (_least(x.args[0]) if factor > 0 else _greatest(x.args[0]))
    return 0.0 if x.op in ("sqrt", "exp", "exp2") else -math.inf


def _greatest(x: Expression) -> float:
    """A number that ``x`` cannot be above, as far as clamps say."""
    if x.op == "clamp":
        return float(x.value[1])
    return math.sqrt(_greatest(x.args[0])) if x.op == "sqrt" else math.inf
