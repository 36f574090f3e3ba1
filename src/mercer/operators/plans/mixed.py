"""The plan that sends each term of a kernel its own way: 2 RBF + 0.1 Linear is tiles + lowrank."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mercer.operators.fourier import FourierSolution, MixedSolution
from mercer.operators.operands import Operands
from mercer.operators.planning import Plan, Request
from mercer.operators.plans.algorithm import Algorithm
from mercer.operators.solvers.direct_solution import DirectSolution
from mercer.operators.structure import LowRankSolution

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

WORTH_SECONDS = 1e-4  # below this a pass over entries does not matter, and structure is the more exact

Groups = list[tuple[Algorithm, tuple[int, ...]]]


class MixedPlan(Algorithm):
    """A plan for each term; terms of the same plan share a pass."""

    name = "mixed"

    def __init__(self, plans: Mapping[str, Algorithm]) -> None:
        self._plans = plans
        self._last: tuple[weakref.ref[Request], Groups] | None = None  # `applies` and `predict` ask one after the other

    def applies(self, request: Request) -> str | None:
        """If the terms fall into two plans or more."""
        if len(request.spec.terms) < 2:
            return "the kernel has one term. Use another plan, or None for the planner's choice."
        groups = self.groups(request)
        if len(groups) < 2:
            return f"all terms are fastest by plan={groups[0][0].name!r}. Use that." if groups else "K is 0."
        return None

    def predict(self, request: Request) -> Plan:
        """The sum over the groups."""
        groups = self.groups(request)
        plans = [algorithm.predict(request.of_terms(terms)) for algorithm, terms in groups]
        parts = [f"{_counted(terms)} by {algorithm.name}" for algorithm, terms in groups]
        return Plan(
            self.name,
            " and ".join(parts),
            sum(plan.seconds for plan in plans),
            sum(plan.memory for plan in plans),
            sum(plan.error for plan in plans),
            sum(plan.setup for plan in plans),
        )

    def multiply(self, K: KernelOperator, operands: Operands, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """The sum of the groups' products."""
        groups = memory.get("groups")
        if groups is None:
            groups = memory["groups"] = self.groups(K.request(operands, columns=v.shape[-1]))
        total = None
        for algorithm, terms in groups:
            part = K.of_terms(terms)
            own = memory.setdefault(("terms", terms), {})
            product = algorithm.multiply(part, part.operands(), v, own)
            total = product if total is None else total + product
        assert total is not None
        return total

    def direct(self, K: KernelOperator, memory: dict[Any, Any]) -> DirectSolution | None:
        """Together in weight space, where the terms are a Fourier series and a few features."""
        if "direct" not in memory:
            memory["direct"] = self._direct(K, memory)
        solution: MixedSolution | None = memory["direct"]
        return solution

    def _direct(self, K: KernelOperator, memory: dict[Any, Any]) -> MixedSolution | None:
        terms = {algorithm.name: terms for algorithm, terms in self.groups(K.request(K.operands()))}
        if set(terms) != {"fourier", "lowrank"}:
            return None
        parts = {
            name: self._plans[name].direct(K.of_terms(of), memory.setdefault(("terms", of), {}))
            for name, of in terms.items()
        }
        series, few = parts["fourier"], parts["lowrank"]
        if not isinstance(series, FourierSolution) or not isinstance(few, LowRankSolution) or series.is_iterative:
            return None
        return MixedSolution(series, few, (terms["fourier"], terms["lowrank"]))

    def groups(self, request: Request) -> Groups:
        """Each plan that is fastest for some term, with its terms."""
        last = self._last
        if last is None or last[0]() is not request:
            last = self._last = weakref.ref(request), self._groups(request)
        return last[1]

    def _groups(self, request: Request) -> Groups:
        # One group at most approximates, and a positive definite sum is no smaller than its terms: it may use up all.
        allowed = replace(request, tolerance=request.allowed_error)
        entries = [a for a in self._plans.values() if not a.structured and a.applies(request) is None]
        # asked for by name, it looks even where that costs more than the product, but not where it costs a second
        reach = max(request.entries, Algorithm.least_entries)
        structured = [a for a in self._plans.values() if a.structured and a is not self and a.least_entries <= reach]
        chosen: dict[str, list[int]] = {}
        for i, term in enumerate(request.spec.smooth_terms):
            if term.is_constant and term.number == 0.0:
                continue
            alone = allowed.of_terms((i,))
            able = [a for a in structured if a.applies(alone) is None]
            best = min(able, key=partial(_rank, alone), default=None)
            slow = min(_rank(alone, a) for a in entries)
            pays = best is not None and _rank(alone, best) < slow + WORTH_SECONDS
            chosen.setdefault(best.name if best is not None and pays else "", []).append(i)
        groups: Groups = []
        for name, terms in chosen.items():
            together = allowed.of_terms(tuple(terms))
            plan = self._plans[name] if name else min(entries, key=partial(_rank, together))
            groups.append((plan, tuple(terms)))
        return groups


def _rank(request: Request, algorithm: Algorithm) -> float:
    return algorithm.predict(request).rank(request.products)


def _counted(terms: tuple[int, ...]) -> str:
    return f"term {terms[0] + 1}" if len(terms) == 1 else f"terms {', '.join(str(i + 1) for i in terms)}"
