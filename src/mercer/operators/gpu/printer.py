"""Expressions as Triton source.

Row values are columns of a tile, ``(BM, 1)``, and column values rows, ``(1, BN)``: Triton broadcasts, so what depends
on one side only costs one side only. What depends on hyperparameters only is one number, computed by torch in float64
and handed over, so no kernel is compiled again when a hyperparameter changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mercer.operators.maps import (
    LEAVES,
    Expression,
    constant,
    evaluate,
    leaf,
    leaves,
    lower,
    postorder,
    rebuild,
    substitute,
)

# The ops of OPERATIONS that remain after lowering; {0} and {1} are arguments.
FORMS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "pow": "fn.power({0}, {1})",
    "exp2": "tl.exp2({0})",
    "log": "tl.log({0})",
    "log1p": "fn.log1p({0})",
    "expm1": "fn.expm1({0})",
    "sqrt": "fn.root({0})",
    "rsqrt": "fn.reciprocal_root({0})",
    "reciprocal_or_zero": "fn.reciprocal_or_zero({0})",
    "sin": "tl.sin({0})",
    "cos": "tl.cos({0})",
    "erf": "tl.erf({0})",
    "asin": "fn.asin({0})",
    "acos": "fn.acos({0})",
    "atan2": "fn.atan2({0}, {1})",
    "circle_angle": "fn.atan2({0}, {1})",
    "maximum": "tl.maximum({0}, {1})",
    "step": "fn.step({0})",
}
SYMBOLS = {"statistic": "s", "row": "a", "column": "b", "theta": "p"}
SIDES = {"statistic": frozenset("ij"), "row": frozenset("i"), "column": frozenset("j")}


def unprintable(roots: tuple[Expression, ...]) -> str | None:
    """The first op that has no Triton form (the Bessel function), or None."""
    for node in postorder(lower(roots, lambda s: s, prefer_exp2=True)):
        if node.op not in FORMS and node.op not in LEAVES and node.op != "clamp":
            return node.op
    return None


@dataclass(frozen=True)
class Printed:
    """Expressions ready for a kernel.

    Attributes:
        lines: statements that compute them from ``s<g>``, ``a<g>``, ``b<g>`` and ``p<k>``.
        results: an expression of shape ``(BM, BN)`` in the kernel's language for each root.
        numbers: what ``p<k>`` stand for: expressions in hyperparameters only.
        roots: the expressions that were printed, with the leaves ``theta`` k for ``p<k>``.
    """

    lines: list[str]
    results: list[str]
    numbers: tuple[Expression, ...]
    roots: tuple[Expression, ...]

    def values(self, theta: Mapping[int, Tensor]) -> list[Tensor]:
        """The numbers, each ``(batch,)`` and float64, from hyperparameters ``(batch,)``."""
        found = evaluate(self.numbers, {leaf("theta", i): t.to(torch.float64) for i, t in theta.items()})
        like = next(iter(theta.values()), None)
        return [f if like is None else f.expand(like.shape) for f in found]

    def slots(self, kind: str) -> list[int]:
        """The slots of the leaves of one kind that the lines use."""
        return [int(node.number) for node in leaves(self.roots, kind)]


@lru_cache(maxsize=256)
def print_triton(roots: tuple[Expression, ...], dtype: str) -> Printed:
    """Source for a few expressions over the leaves of a Spec, which share their parts.

    Args:
        roots: kernels or derivatives; ``delta`` is taken as 0.
        dtype: of the tiles, ``"tl.float32"`` or ``"tl.float64"``.
    """
    lowered = lower(substitute(roots, {leaf("delta"): constant(0.0)}), lambda s: s, prefer_exp2=True)
    lowered, numbers = _take_out_numbers(_gather_factors(lowered))
    names: dict[Expression, str] = {}
    lines: list[str] = []
    sides: dict[Expression, frozenset[str]] = {}
    for node in postorder(lowered):
        sides[node] = frozenset().union(SIDES.get(node.op, frozenset()), *(sides[a] for a in node.args))
        if node.is_constant:
            names[node] = repr(node.number) if abs(node.number) < float("inf") else f'float("{node.number}")'
        elif node.op in LEAVES:
            names[node] = f"{SYMBOLS[node.op]}{int(node.number)}"
        else:
            names[node] = f"e{len(lines)}"
            lines.append(f"{names[node]} = {_form(node, names, dtype)}")
    results = [_whole(names[root], root, sides[root], dtype) for root in lowered]
    return Printed(lines, results, numbers, lowered)


def _form(node: Expression, names: dict[Expression, str], dtype: str) -> str:
    args = [names[a] for a in node.args]
    if node.op == "clamp":
        text = args[0]
        for function, limit in zip(("maximum", "minimum"), node.value, strict=True):
            if abs(limit) < float("inf"):
                # a bare number would become float32
                number = repr(limit) if dtype == "tl.float32" else f"tl.full((), {limit!r}, {dtype})"
                text = f"tl.{function}({text}, {number})"
        return text
    if node.op == "pow" and node.args[1].is_constant and node.args[1].number.is_integer():
        p = int(node.args[1].number)  # beyond 16; smaller ones are products by now
        text = " * ".join([args[0]] * abs(p))
        return text if p > 0 else f"1.0 / ({text})"
    # a negative number needs no brackets but after another sign
    return FORMS[node.op].format(*(f"({a})" if a.startswith("-") else a for a in args))


def _whole(name: str, root: Expression, sides: frozenset[str], dtype: str) -> str:
    """The value of a root on every pair of a tile."""
    if root.is_constant:
        return f"tl.full((BM, BN), {name}, {dtype})"
    return name if sides == frozenset("ij") else f"tl.broadcast_to({name}, (BM, BN))"


def _is_number(node: Expression) -> bool:
    """Whether a node depends on hyperparameters only."""
    return all(n.is_constant or n.op == "theta" for n in postorder([node]) if n.op in LEAVES)


def _gather_factors(roots: tuple[Expression, ...]) -> tuple[Expression, ...]:
    """Factors and divisors that are the same for all pairs meet in one: one multiplication a pair, no division."""

    def scaled(x: Expression, factor: Expression) -> Expression:
        if x.op == "mul" and _is_number(x.args[1]) and not _is_number(x.args[0]):
            x, factor = x.args[0], x.args[1] * factor
        return x if factor.is_constant and factor.number == 1.0 else Expression("mul", (x, factor))

    def rule(node: Expression, args: tuple[Expression, ...]) -> Expression:
        if node.op in LEAVES:
            return node
        if node.op in ("mul", "div"):
            x, y = args
            if node.op == "mul" and _is_number(x):
                x, y = y, x
            if _is_number(y) and not _is_number(x):
                return scaled(x, y if node.op == "mul" else 1.0 / y)
        return Expression(node.op, args, node.value)

    return rebuild(roots, rule)


def _take_out_numbers(roots: tuple[Expression, ...]) -> tuple[tuple[Expression, ...], tuple[Expression, ...]]:
    """The roots with the largest parts that are numbers replaced by leaves ``theta`` 0, 1, ...; and these parts."""
    numbers: dict[Expression, Expression] = {}
    new: dict[Expression, Expression] = {}

    def replaced(node: Expression) -> Expression:
        if not node.is_constant and _is_number(node):
            return numbers.setdefault(node, leaf("theta", len(numbers)))
        return new[node]

    for node in postorder(roots):
        if node.is_constant or not _is_number(node):
            args = tuple(replaced(a) for a in node.args)
            new[node] = Expression(node.op, args, node.value)
    return tuple(replaced(root) for root in roots), tuple(numbers)
