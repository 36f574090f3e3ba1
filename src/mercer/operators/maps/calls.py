"""Which calls of torch evaluate expressions, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from mercer.operators.maps.expression import LEAVES, Expression, constant, leaves, postorder, substitute
from mercer.operators.maps.lowering import lower
from mercer.operators.maps.operations import OPERATIONS
from mercer.operators.maps.shortcut import quick_forms

__all__ = ["Call", "calls_of", "count_calls", "in_order"]


class Call(NamedTuple):
    """One torch call and the nodes it makes unnecessary."""

    function: Callable[..., Any]
    args: tuple[Expression, ...]
    attributes: tuple[Any, ...] = ()
    keywords: dict[str, float] = {}  # noqa: RUF012 - never changed
    absorbed: tuple[Expression, ...] = ()


def _call(node: Expression, uses: Counter[Expression]) -> Call:
    """The call of a node, with what serves nobody else in it.

    ``x + 2 y``, ``x + y z``, ``x + 2 y z`` are one call each, with a number in place of x too, and so is
    ``x (1 + 2 y)``, which is ``x + 2 x y``.
    """
    if node.op == "mul":
        for x, other in (node.args, node.args[::-1]):
            slope = _one_plus(other, uses)
            if slope is not None and not x.is_constant:
                y, factor, absorbed = slope
                return Call(torch.addcmul, (x, x, y), keywords={"value": factor}, absorbed=absorbed)
    if node.op in ("add", "sub"):
        x, y = node.args
        if node.op == "add" and (not _is_product(y, uses) or (_is_product(x, uses) and x.args[1].is_constant)):
            x, y = y, x  # of two products that with a number, which costs nothing inside
        if _is_product(y, uses):
            first, second = y.args
            sign = 1.0 if node.op == "add" else -1.0
            if not second.is_constant:
                return Call(torch.addcmul, (x, first, second), keywords={"value": sign}, absorbed=(y,))
            if _is_product(first, uses) and not first.args[1].is_constant:
                value = {"value": sign * second.number}
                return Call(torch.addcmul, (x, *first.args), keywords=value, absorbed=(y, first))
            into = OPERATIONS[node.op].into
            assert into is not None
            return Call(into, (x, first), keywords={"alpha": second.number}, absorbed=(y,))
    into = OPERATIONS[node.op].into
    assert into is not None, node.op
    return Call(into, node.args, () if node.value is None else (node.value,))


def _is_product(x: Expression, uses: Counter[Expression]) -> bool:
    return x.op == "mul" and uses[x] == 1 and not x.args[0].is_constant


def _one_plus(x: Expression, uses: Counter[Expression]) -> tuple[Expression, float, tuple[Expression, ...]] | None:
    """y, c and what is absorbed of ``1 + c y``, where it serves nobody else."""
    if x.op not in ("add", "sub") or uses[x] != 1:
        return None
    number, y = x.args
    if x.op == "add" and y.is_constant:
        number, y = y, number
    if not number.is_constant or number.number != 1.0:
        return None
    sign = 1.0 if x.op == "add" else -1.0
    if y.op == "mul" and uses[y] == 1 and y.args[1].is_constant:
        return y.args[0], sign * y.args[1].number, (x, y)
    return y, sign, (x,)


def calls_of(roots: tuple[Expression, ...]) -> dict[Expression, Call]:
    """The calls that give the roots, by node; nodes that others take in have none."""
    order = [n for n in postorder(roots) if n.op not in ("constant", "row", "column")]
    uses = Counter(arg for node in order for arg in node.args)
    uses.update(roots)
    calls: dict[Expression, Call] = {}
    absorbed: set[Expression] = set()
    for node in reversed(order):  # what uses a node comes first, and says whether it is still needed
        if node.op not in LEAVES and node not in absorbed:
            calls[node] = _call(node, uses)
            absorbed.update(calls[node].absorbed)
    return {node: calls[node] for node in order if node in calls}


@lru_cache(maxsize=256)
def count_calls(root: Expression, *, polynomials: bool) -> Mapping[str, int]:
    """How often each op is called on a tile, by its name; multiples of a statistic are its panels' work.

    Args:
        root: an expression.
        polynomials: whether arc functions are polynomials and shortcuts are taken, as in float32 on a CPU.
    """
    if polynomials:
        ((root,), _) = quick_forms((root,))
    numbers = {theta: constant(0.7) for theta in leaves([root], "theta")}  # any will do
    roots = lower(substitute((root,), numbers), lambda s: s, prefer_exp2=False, prefer_polynomials=polynomials)
    return Counter(
        node.op
        for node in calls_of(roots)
        if leaves([node], "statistic")
        and not (node.op == "mul" and node.args[0].op == "statistic" and node.args[1].is_constant)
    )


def in_order(calls: Mapping[Expression, Call]) -> list[Expression]:
    """The nodes, each after what it needs, so that few values are alive at a time.

    From the last one back, each time the one that needs the fewest values that nothing later needs; or the one that is
    the furthest from the statistics, where that takes fewer buffers.
    """
    needs = {node: {a for a in call.args if a in calls or a.op == "statistic"} for node, call in calls.items()}
    level: dict[Expression, int] = {}
    for node in calls:  # arguments come first
        level[node] = 1 + max((level.get(a, 0) for a in needs[node]), default=0)
    found = [_backwards(needs, level, by_level=by_level) for by_level in (False, True)]
    return min(found, key=lambda each: each[1])[0]


def _backwards(
    needs: Mapping[Expression, set[Expression]], level: Mapping[Expression, int], *, by_level: bool
) -> tuple[list[Expression], int]:
    """An order, and the most values that are alive in it."""
    needed_by = Counter(a for args in needs.values() for a in args)
    ready = [node for node in needs if not needed_by[node]]
    alive: set[Expression] = set()
    most, order = 0, []

    def cost(node: Expression) -> tuple[int, int]:
        new = len(needs[node] - alive) - (node in alive)
        return (int(new > 0), -level[node]) if by_level else (new, 0)

    while ready:
        best = min(reversed(ready), key=cost)
        ready.remove(best)
        order.append(best)
        alive.discard(best)
        alive |= needs[best]
        most = max(most, len(alive))
        for a in needs[best]:
            needed_by[a] -= 1
            if not needed_by[a] and a in needs:
                ready.append(a)
    return order[::-1], most
