"""Kernels that are products over the columns of X: which columns, and the kernel of each."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import mul

from mercer.operators.factors import factor
from mercer.operators.maps import Expression, constant, leaves
from mercer.operators.spec import Spec
from mercer.operators.statistics import Columns, DotProduct, L1Distance, SquaredDistance

__all__ = ["axis_spec", "used_columns"]

ADDITIVE = (SquaredDistance, L1Distance, DotProduct)  # sums over columns


def used_columns(spec: Spec, width: int) -> tuple[int, ...] | None:
    """The columns of X (of ``width``) that the statistics look at, ascending; None where one sees no plain columns."""
    found: set[int] = set()
    for statistic in leaves(spec.smooth_terms, "statistic"):
        columns = _columns(spec, int(statistic.number), width)
        if columns is None:
            return None
        found |= columns
    return tuple(sorted(found))


def axis_spec(spec: Spec, column: int, width: int) -> Spec | None:
    """The factor of a one-term kernel that belongs to one column, without its number; None if it does not factorise.

    Its statistics still look at all their columns: it is to be applied to points that are 0 in the others.
    """
    (term,) = [t for t in spec.smooth_terms if not (t.is_constant and t.number == 0.0)] or [constant(0.0)]
    parts = factor(term)
    if not (parts.row.is_constant and parts.column.is_constant):
        return None
    own: list[Expression] = []
    for part in parts.pairs:
        seen: set[int] = set()
        for statistic in leaves([part], "statistic"):
            columns = _columns(spec, int(statistic.number), width)
            if columns is None:
                return None
            seen |= columns
        if len(seen) > 1 and not _is_exponential_of_sums(part, spec):
            return None
        if column in seen:
            own.append(part)
    return replace(spec, terms=(reduce(mul, own, constant(1.0)),))


def _columns(spec: Spec, g: int, width: int) -> set[int] | None:
    embed = spec.statistics[g].embed
    if not isinstance(embed, Columns):
        return None
    return set(range(width)) if embed.columns is None else set(embed.columns)


def _is_exponential_of_sums(part: Expression, spec: Spec) -> bool:
    """Whether ``part`` is exp of multiples of statistics that are sums over columns."""
    return part.op == "exp" and _is_linear(part.args[0], spec)


def _is_linear(x: Expression, spec: Spec) -> bool:
    if x.op == "statistic":
        return isinstance(spec.statistics[int(x.number)], ADDITIVE)
    if x.op in ("add", "sub"):
        return all(_is_linear(a, spec) for a in x.args)
    if x.op == "mul":
        a, b = x.args
        return (_is_linear(a, spec) and _is_number(b)) or (_is_number(a) and _is_linear(b, spec))
    return x.op == "div" and _is_linear(x.args[0], spec) and _is_number(x.args[1])


def _is_number(x: Expression) -> bool:
    return x.is_constant or {n.op for n in leaves([x])} == {"theta"}
