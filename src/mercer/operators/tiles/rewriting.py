"""What is taken out of a map before it runs on tiles: factors of statistics, and what depends on one side only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from mercer.operators.maps import LEAVES, Expression, leaf, make, postorder, rebuild, same_op
from mercer.operators.spec import Spec

__all__ = ["fold_scales", "hoist", "lower_statistic"]


def lower_statistic(spec: Spec, leaf: Expression, *, clamped: bool = True) -> Expression:
    """A statistic in terms of what its panels write; round-off may push that out of the range that clamps keep."""
    lowered = spec.statistics[int(leaf.number)].lower(leaf)
    return lowered.args[0] if lowered.op == "clamp" and not clamped else lowered


def fold_scales(
    roots: tuple[Expression, ...], foldable: Collection[float]
) -> tuple[tuple[Expression, ...], dict[int, float]]:
    """Where a statistic is only ever used times one number, let its panels multiply if they can (``foldable``)."""
    factors: dict[Expression, set[float]] = {}
    for node in postorder(roots):
        for arg in node.args:
            if arg.op == "statistic":
                scaled = node.op == "mul" and node.args[1].is_constant
                factors.setdefault(arg, set()).add(node.args[1].number if scaled else 1.0)
    for root in roots:
        if root.op == "statistic":
            factors.setdefault(root, set()).add(1.0)
    scales = {int(s.number): 1.0 for s in factors}
    replaced: dict[Expression, Expression] = {}
    for s, seen in factors.items():
        if len(seen) == 1 and s.number in foldable and 0.0 not in seen:
            scales[int(s.number)] = next(iter(seen))
            replaced[s * scales[int(s.number)]] = s
    return rebuild(roots, lambda n, args: replaced.get(n) or same_op(n, args)), scales


def hoist(
    roots: tuple[Expression, ...],
) -> tuple[tuple[Expression, ...], tuple[Expression, ...], tuple[Expression, ...]]:
    """Sub-expressions of one side only become row values, to be computed once; they take numbers in.

    Gives the roots in terms of these, then what they are of the rows, and of the columns.
    """
    order = postorder(roots)
    uses = Counter(arg for node in order for arg in node.args)
    sides: dict[Expression, frozenset[str]] = {}
    kept: dict[str, list[Expression]] = {"row": [], "column": []}
    lifted: dict[Expression, Expression] = {}

    def side(node: Expression) -> str | None:
        """The one that the node depends on, if it is one."""
        if node not in sides:
            own = {node.op} if node.op in LEAVES and not node.is_constant else set()
            sides[node] = frozenset(own).union(*(sides[a] for a in node.args))
        return next((s for s in kept if sides[node] == {s}), None)

    for node in order:  # arguments come first
        side(node)

    def lift(node: Expression) -> Expression:
        """The same value in the new program."""
        if node in lifted:
            return lifted[node]
        own, inside = side(node), _one_sided_factor(node)
        if own is not None:
            kept[own].append(node)
            new = leaf(own, len(kept[own]) - 1)
        elif inside is not None:
            new = make("mul", lift(inside[0]), lift(inside[1]))
        else:
            new = same_op(node, tuple(lift(a) for a in node.args))
        lifted[node] = new
        return new

    def _one_sided_factor(node: Expression) -> tuple[Expression, Expression] | None:
        """Of ``a b 2``, where a is of one side, ``2 a`` and b."""
        if node.op != "mul" or not node.args[1].is_constant or node.args[0].op != "mul" or uses[node.args[0]] > 1:
            return None
        for a, b in (node.args[0].args, node.args[0].args[::-1]):
            if side(a) is not None:
                return a * node.args[1].number, b
        return None

    return tuple(lift(r) for r in roots), tuple(kept["row"]), tuple(kept["column"])
