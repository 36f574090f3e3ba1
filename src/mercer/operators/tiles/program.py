"""Compile expressions into straight-line torch calls on reused tile buffers.

Hyperparameters are numbers by now, so everything that depends on them alone folds away; what depends on one side only
is computed once for all tiles; multiples of a statistic move into its panels; a liveness pass gives each call an
``out=`` buffer. Dispatch is about 1.5 us a call against 50 us of arithmetic on a tile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mercer.operators.machine import exp2_is_faster
from mercer.operators.maps import Expression, calls_of, constant, evaluate, in_order, leaf, leaves, lower, substitute
from mercer.operators.spec import Spec
from mercer.operators.tiles.rewriting import fold_scales, hoist, lower_statistic


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


class _Compiled:
    """What a program is but for the values of its points: all that the same map needs again in every product.

    Attributes: see :class:`Program`; ``of_rows`` and ``of_columns`` are the expressions of one side only.
    """

    def __init__(
        self,
        roots: tuple[Expression, ...],
        theta: tuple[tuple[int, float], ...],
        statistics: tuple[tuple[Expression, Expression, bool], ...],
        dtype: torch.dtype,
        *,
        exp2: bool,
        polynomials: bool,
    ) -> None:
        numbers = {leaf("theta", i): constant(value) for i, value in theta}
        lowered = substitute(roots, {**numbers, leaf("delta"): constant(0.0)})
        written = {s: by_panels for s, by_panels, _ in statistics}
        lowered = lower(lowered, written.__getitem__, prefer_exp2=exp2, prefer_polynomials=polynomials)
        lowered, self.scales = fold_scales(lowered, [s.number for s, _, foldable in statistics if foldable])
        lowered, self.of_rows, self.of_columns = hoist(lowered)
        self.used = [int(s.number) for s in leaves(lowered, "statistic")]
        self._dtype = dtype
        self._schedule(lowered)

    def _schedule(self, roots: tuple[Expression, ...]) -> None:
        calls = calls_of(roots)
        uses = Counter(arg for call in calls.values() for arg in set(call.args))
        uses.update(roots)  # outputs stay alive
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
                return torch.tensor(node.number, dtype=self._dtype) if first else node.number
            return _Slot(node.op, int(node.number)) if node.op in ("row", "column") else _Slot("buffer", place[node])

        for node in in_order(calls):
            call = calls[node]
            operands = tuple(operand(a, first=i == 0) for i, a in enumerate(call.args))
            for arg in dict.fromkeys(call.args):
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


# Of float32 and float64, with and without gradients, and a fit's last few values of the hyperparameters.
_compiled = lru_cache(maxsize=256)(_Compiled)


class Program:
    """A few expressions ready to run on tiles; those of the last few maps and hyperparameters are not compiled again.

    Args:
        roots: expressions over the leaves of ``spec``.
        theta: numbers for the scalar hyperparameters.
        row, column: the row values of both sides, ``(n,)`` and ``(m,)``.
        inside: statistics known to be inside of what they are clamped to.

    Attributes:
        scales: for each statistic the factor its panels must apply.
        used: statistics that have to be filled, in buffers ``0 .. len(used) - 1``.
        outputs: the buffer of each root.
        n_buffers: how many there are.
        steps: the calls of torch on each tile, in order.
    """

    def __init__(
        self,
        roots: Sequence[Expression],
        spec: Spec,
        theta: Mapping[int, float],
        row: Sequence[Tensor],
        column: Sequence[Tensor],
        like: Tensor,
        inside: Collection[int] = (),
    ) -> None:
        roots = tuple(roots)
        statistics = tuple(
            (s, lower_statistic(spec, s, clamped=s.number not in inside), spec.statistics[int(s.number)].foldable)
            for s in leaves(roots, "statistic")
        )
        compiled = _compiled(
            roots,
            tuple(theta.items()),
            statistics,
            like.dtype,
            exp2=exp2_is_faster(like),
            polynomials=like.dtype == torch.float32 and like.device.type == "cpu",
        )
        self.scales, self.used, self.outputs = compiled.scales, compiled.used, compiled.outputs
        self.n_buffers, self.steps, self._like = compiled.n_buffers, compiled.steps, like
        values = {leaf("row", g): a for g, a in enumerate(row)} | {leaf("column", g): b for g, b in enumerate(column)}
        self.rows = [a.contiguous() for a in evaluate(compiled.of_rows, values)]
        self.columns = [b.contiguous() for b in evaluate(compiled.of_columns, values)]

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


def _copy(source: Tensor, *, out: Tensor) -> Tensor:
    return out.copy_(source)
