"""The algorithms behind ``K @ v``. A new plan is one file here and one line in :data:`PLANS`."""

from __future__ import annotations

from dataclasses import replace

from mercer.operators.planning import LITTLE, Plan, Request
from mercer.operators.plans.algorithm import Algorithm
from mercer.operators.plans.dense import DensePlan
from mercer.operators.plans.fourier import FourierPlan
from mercer.operators.plans.kronecker import KroneckerPlan
from mercer.operators.plans.lowrank import LowRankPlan
from mercer.operators.plans.mixed import MixedPlan
from mercer.operators.plans.sparse import SparsePlan
from mercer.operators.plans.tiles import TilesPlan
from mercer.operators.plans.toeplitz import ToeplitzPlan

__all__ = ["PLANS", "Algorithm", "choose"]

DENSE = DensePlan()
PLANS: dict[str, Algorithm] = {
    plan.name: plan
    for plan in (
        DENSE,
        TilesPlan(),
        LowRankPlan(),
        KroneckerPlan(),
        ToeplitzPlan(),
        SparsePlan(),
        FourierPlan(),
    )
}
PLANS["mixed"] = MixedPlan(PLANS)

WORTH = 1.5  # times faster than tiles a store of more has to be, by predictions that are not exact
REGRET = 0.25  # of the products asked for that storing may cost beside: there may be no more of them


def choose(request: Request, forced: str | None = None) -> tuple[Algorithm, Plan]:
    """The fastest algorithm that applies and whose error is within the tolerance, or the one asked for.

    Raises:
        ValueError: an unknown name, or a plan that does not apply here, with the reason.
        MissingExtra: the plan asked for needs a package that is not installed.
    """
    if forced is not None:
        if forced not in PLANS:
            raise ValueError(f"There is no plan {forced!r}. Choose one of: {', '.join(PLANS)}.")
        PLANS[forced].require()
        why_not = PLANS[forced].applies(request)
        if why_not is not None:
            raise ValueError(f"plan={forced!r} does not apply: {why_not}")
        plan = PLANS[forced].predict(request)
        return PLANS[forced], replace(plan, reason=f"asked for; {plan.reason}")
    stored = request.entries * request.itemsize
    large = [algorithm for algorithm in PLANS.values() if request.entries >= algorithm.least_entries]
    able = [algorithm for algorithm in large if algorithm.applies(request) is None]
    plans = {algorithm.name: (algorithm, algorithm.predict(request)) for algorithm in able}
    if "dense" in plans and stored > LITTLE:
        tiles, dense = (plans[name][1].rank(request.products) for name in ("tiles", "dense"))
        if tiles < WORTH * dense or DENSE.store_seconds(request) > REGRET * tiles:
            del plans["dense"]
    return min(plans.values(), key=lambda pair: pair[1].rank(request.products))
