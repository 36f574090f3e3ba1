"""Compile expressions into straight-line torch calls on reused tile buffers.

Hyperparameters are numbers by now, so everything that depends on them alone folds away; what depends on one side only
is computed once for all tiles; multiples of a statistic move into its panels; a liveness pass gives each call an
``out=`` buffer. Dispatch is about 1.5 us a call against 50 us of arithmetic on a tile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mercer.operators.machine import exp2_is_faster
from mercer.operators.maps import (
    LEAVES,
    OPERATIONS,
    Expression,
    constant,
    evaluate,
    leaf,
    leaves,
    lower,
    postorder,
    rebuild,
    same_op,
    substitute,
)
from mercer.operators.spec import Spec


class _Slot(NamedTuple):
    """An operand that changes from tile to tile: a ``buffer``, or a slice of a ``row`` or ``column`` value."""

    kind: str
    number: int


@dataclass(frozen=True)
class _Step:
    function: Callable[..., Any]
    operands: tuple[Any, ...]  # slots, numbers, 0-dim tensors, attributes of the op
    keywords: dict[str, float]
    out: int


class Program:
    """A few expressions ready to run on tiles.

    Args:
        roots: expressions over the leaves of ``spec``.
        theta: numbers for the scalar hyperparameters.
        row, column: the row values of both sides, ``(n,)`` and ``(m,)``.

    Attributes:
        scales: for each statistic the factor its panels must apply.
        used: statistics that have to be filled, in buffers ``0 .. len(used) - 1``.
        outputs: the buffer of each root.
    """

    def __init__(
        self,
        roots: Sequence[Expression],
        spec: Spec,
        theta: Mapping[int, float],
        row: Sequence[Tensor],
        column: Sequence[Tensor],
        like: Tensor,
    ) -> None:
        numbers = {leaf("theta", i): constant(value) for i, value in theta.items()}
        lowered = substitute(tuple(roots), {**numbers, leaf("delta"): constant(0.0)})
        lowered = lower(lowered, lambda s: spec.statistics[int(s.number)].lower(s), prefer_exp2=exp2_is_faster(like))
        lowered, self.scales = _fold_scales(lowered, spec)
        lowered, self.rows, self.columns = _hoist(lowered, row, column)
        self.used = [int(s.number) for s in leaves(lowered, "statistic")]
        self._like = like
        self._schedule(lowered)

    def _schedule(self, roots: tuple[Expression, ...]) -> None:
        order = [n for n in postorder(roots) if n.op not in ("constant", "row", "column")]
        uses = Counter(arg for node in order for arg in node.args)
        uses.update(roots)  # outputs stay alive
        calls = {node: _call(node, uses) for node in order if node.op not in LEAVES}
        absorbed = {inner for call in calls.values() for inner in call.absorbed}
        place = {leaf("statistic", g): i for i, g in enumerate(self.used)}
        self.n_buffers = len(self.used)
        free: list[int] = []
        self.steps: list[_Step] = []

        def fresh() -> int:
            if not free:
                free.append(self.n_buffers)
                self.n_buffers += 1
            return free.pop()

        def operand(node: Expression, *, first: bool) -> Any:
            if node.is_constant:
                # torch.sub(2.0, x, out=y) does not exist; with a 0-dim tensor in front it does, at the same speed
                return torch.tensor(node.number, dtype=self._like.dtype) if first else node.number
            return _Slot(node.op, int(node.number)) if node.op in ("row", "column") else _Slot("buffer", place[node])

        for node in order:
            if node.op in LEAVES or node in absorbed:
                continue
            call = calls[node]
            operands = tuple(operand(a, first=i == 0) for i, a in enumerate(call.args))
            for arg in call.args:
                uses[arg] -= 1
                if uses[arg] == 0 and arg in place:
                    free.append(place[arg])
            place[node] = fresh()
            self.steps.append(_Step(call.function, operands + call.attributes, call.keywords, place[node]))
        self.outputs: list[int] = []
        for root in roots:
            if root in place and place[root] not in self.outputs:
                self.outputs.append(place[root])
            else:  # a number, a one-sided value, or a value that is an output already: broadcast into its own buffer
                self.outputs.append(fresh())
                self.steps.append(_Step(_copy, (operand(root, first=True),), {}, self.outputs[-1]))

    def workspace(self, n_elements: int) -> Workspace:
        """Buffers of one worker, for tiles of up to ``n_elements`` pairs; one more than the steps need, for panels."""
        return Workspace([self._like.new_empty(n_elements) for _ in range(self.n_buffers + 1)])

    def run(self, buffers: list[Tensor], i0: int, i1: int, j0: int, j1: int) -> list[Tensor]:
        """The roots on one tile whose statistics have been filled; the next tile overwrites the result."""
        for step in self.steps:
            values = []
            for operand in step.operands:
                if type(operand) is _Slot:
                    kind, slot = operand
                    if kind == "buffer":
                        operand = buffers[slot]
                    else:
                        operand = self.rows[slot][i0:i1, None] if kind == "row" else self.columns[slot][None, j0:j1]
                values.append(operand)
            step.function(*values, **step.keywords, out=buffers[step.out])
        return [buffers[o] for o in self.outputs]


class Workspace:
    """Memory for tiles that one worker uses over and over: fresh pages cost as much as arithmetic."""

    def __init__(self, memory: list[Tensor]) -> None:
        self._memory = memory
        self._views: dict[tuple[int, int], list[Tensor]] = {}

    def buffers(self, p: int, q: int) -> list[Tensor]:
        """The buffers seen as tiles of ``p`` rows and ``q`` columns; the last one is scratch for panels."""
        views = self._views.get((p, q))
        if views is None:
            views = self._views[p, q] = [memory[: p * q].view(p, q) for memory in self._memory]
        return views


class _Call(NamedTuple):
    """One torch call and the nodes it makes unnecessary."""

    function: Callable[..., Any]
    args: tuple[Expression, ...]
    attributes: tuple[Any, ...] = ()
    keywords: dict[str, float] = {}  # noqa: RUF012 - never changed
    absorbed: tuple[Expression, ...] = ()


def _call(node: Expression, uses: Counter[Expression]) -> _Call:
    """The call of a node; ``x + 2 y``, ``x + y z`` and ``x + 2 y z`` are one where the product serves nobody else."""
    if node.op in ("add", "sub") and not any(a.is_constant for a in node.args):
        x, y = node.args
        if node.op == "add" and not _is_product(y, uses):
            x, y = y, x
        if _is_product(y, uses):
            first, second = y.args
            sign = 1.0 if node.op == "add" else -1.0
            if not second.is_constant:
                return _Call(torch.addcmul, (x, first, second), keywords={"value": sign}, absorbed=(y,))
            if _is_product(first, uses) and not first.args[1].is_constant:
                value = {"value": sign * second.number}
                return _Call(torch.addcmul, (x, *first.args), keywords=value, absorbed=(y, first))
            into = OPERATIONS[node.op].into
            assert into is not None
            return _Call(into, (x, first), keywords={"alpha": second.number}, absorbed=(y,))
    into = OPERATIONS[node.op].into
    assert into is not None, node.op
    return _Call(into, node.args, () if node.value is None else (node.value,))


def _is_product(x: Expression, uses: Counter[Expression]) -> bool:
    return x.op == "mul" and uses[x] == 1 and not x.args[0].is_constant


def _copy(source: Tensor, *, out: Tensor) -> Tensor:
    return out.copy_(source)


def _fold_scales(roots: tuple[Expression, ...], spec: Spec) -> tuple[tuple[Expression, ...], dict[int, float]]:
    """Where a statistic is only ever used times one number, let its panels multiply."""
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
        if len(seen) == 1 and spec.statistics[int(s.number)].foldable and 0.0 not in seen:
            scales[int(s.number)] = next(iter(seen))
            replaced[s * scales[int(s.number)]] = s
    return rebuild(roots, lambda n, args: replaced.get(n) or same_op(n, args)), scales


def _hoist(
    roots: tuple[Expression, ...], row: Sequence[Tensor], column: Sequence[Tensor]
) -> tuple[tuple[Expression, ...], list[Tensor], list[Tensor]]:
    """Sub-expressions of one side only, computed once and turned into row values."""
    sides: dict[Expression, frozenset[str]] = {}
    for node in postorder(roots):
        own = {node.op} if node.op in LEAVES and not node.is_constant else set()
        sides[node] = frozenset(own).union(*(sides[a] for a in node.args))
    values = {leaf("row", g): a for g, a in enumerate(row)} | {leaf("column", g): b for g, b in enumerate(column)}
    kept: dict[str, list[Tensor]] = {"row": [], "column": []}
    lifted: dict[Expression, Expression] = {}

    def lift(node: Expression) -> Expression:
        """The same value in the new program."""
        if node in lifted:
            return lifted[node]
        side = next((s for s in kept if sides[node] == {s}), None)
        if side is not None:
            kept[side].append(evaluate([node], values)[0].contiguous())
            new = leaf(side, len(kept[side]) - 1)
        else:
            new = same_op(node, tuple(lift(a) for a in node.args))
        lifted[node] = new
        return new

    return tuple(lift(r) for r in roots), kept["row"], kept["column"]
