"""The algorithms behind ``K @ v``. A new plan is one file here and one line in :data:`PLANS`."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from mercer.operators.operands import Identity, Operands
from mercer.operators.planning import Plan, Request
from mercer.operators.plans.dense import DensePlan
from mercer.operators.plans.tiles import TilesPlan

__all__ = ["PLANS", "Algorithm", "choose"]


class Algorithm(Protocol):
    """One way to multiply by a kernel matrix."""

    name: str

    def applies(self, request: Request) -> str | None:
        """None if it can do this, else why not."""

    def predict(self, request: Request) -> Plan:
        """Cost and error of what is asked."""

    def product(self, operands: Operands, identity: Identity | None, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """K @ v for unbatched, detached operands and v ``(m, t)``; ``memory`` lives as long as the operator."""


PLANS: dict[str, Algorithm] = {plan.name: plan for plan in (DensePlan(), TilesPlan())}


def choose(request: Request, forced: str | None = None) -> tuple[Algorithm, Plan]:
    """The fastest algorithm that applies, or the one asked for.

    Raises:
        ValueError: an unknown name, or a plan that does not apply here, with the reason.
    """
    if forced is not None:
        if forced not in PLANS:
            raise ValueError(f"There is no plan {forced!r}. Choose one of: {', '.join(PLANS)}.")
        why_not = PLANS[forced].applies(request)
        if why_not is not None:
            raise ValueError(f"plan={forced!r} does not apply: {why_not}")
        plan = PLANS[forced].predict(request)
        return PLANS[forced], Plan(plan.name, "asked for", plan.seconds, plan.memory, plan.error)
    able = [algorithm for algorithm in PLANS.values() if algorithm.applies(request) is None]
    plans = [(algorithm, algorithm.predict(request)) for algorithm in able]
    return min(plans, key=lambda pair: pair[1].seconds)
