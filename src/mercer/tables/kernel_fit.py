"""The kernel model of a table: which kernel, which hyperparameters, exact or with centres, all within the budget."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from mercer.kernels import Kernel
from mercer.tables.compare import Fitted, with_probabilities
from mercer.tables.costs import Costs
from mercer.tables.kernel_choice import SCREENING_ROWS, screen
from mercer.tables.models import LearntKernel, learn_kernel, make_estimator
from mercer.tables.options import FitOptions
from mercer.tables.parts import Parts
from mercer.tables.results import KernelFacts
from mercer.tables.stages import Stages

__all__ = ["KernelFit", "fit_kernel"]

_STEPS = 25
# Shares of the seconds that are left for: trying kernels; learning one, the most of them; the solve, the most of them.
_SCREENING_SHARE, _LEARNING_SHARE, _SOLVING_SHARE = 0.2, 0.45, 0.6
_PRUDENCE = 1.3  # times the seconds predicted for an exact solve are kept for it


@dataclass(frozen=True)
class KernelFit:
    """The fitted kernel model, how it was made, and why so."""

    model: Fitted
    learnt: LearntKernel
    facts: KernelFacts
    reasons: list[str]


def fit_kernel(
    parts: Parts,
    options: FitOptions,
    tried: tuple[dict[str, Kernel], Any],
    stages: Stages,
    costs: Costs,
    *,
    reserve: float,
) -> KernelFit:
    """Screen, learn, solve; each a stage with its prediction.

    Args:
        parts: of the table.
        options: ``learn_rows`` and ``n_centers`` override what would be chosen.
        tried: what :func:`mercer.tables.kernel_choice.kernels_to_try` gave.
        stages: the clock.
        costs: predictions.
        reserve: seconds that what comes afterwards will need.
    """
    train, features = parts.train, parts.features.features
    n, d = train.X.shape
    kernels, noise = tried
    seconds = _SCREENING_SHARE * max(stages.left - reserve, 1.0)
    asked = [(rows, costs.learning(min(n, rows), d, _STEPS) * len(kernels)) for rows in SCREENING_ROWS]
    n_screening, predicted = next((pair for pair in asked if pair[1] <= seconds), asked[-1])
    n_screening, predicted = min(n, n_screening), min(predicted, seconds)
    with stages.stage(f"try {len(kernels)} kernel{'s' * (len(kernels) > 1)}", predicted=predicted) as stage:
        candidates = screen(
            kernels,
            train.X,
            train.Y,
            (parts.validation.X, parts.validation.Y),
            noise=noise,
            features=features,
            n_rows=n_screening,
            seconds=seconds,
            random_state=options.random_state,
        )
        best = candidates[0]
        stage.note = f"{best.name} is best of {len(candidates)}" if len(kernels) > 1 else ""
    learnt = _learn(best.learnt, parts, options, stages, costs, reserve=reserve)
    reasons = [_why_kernel(candidates, options)]
    n_centers, why_size = _choose_size(learnt.kernel, parts, options, costs, seconds=max(stages.left - reserve, 1.0))
    reasons.append(why_size)
    Y, t = train.Y, train.Y.shape[1]
    if n_centers is None:
        predicted, name = costs.exact(learnt.kernel, train.X, t), f"solve with all {n:,} rows"
    else:
        predicted, name = costs.centers(learnt.kernel, train.X, n_centers, t), f"fit with {n_centers:,} centres"
    begun = time.perf_counter()
    with stages.stage(name, predicted=predicted) as stage:
        estimator: Any = make_estimator(
            learnt, n_centers=n_centers, classes=parts.is_class, random_state=options.random_state
        )
        estimator.fit(train.X, train.truth if parts.is_class else Y[:, 0])
        stage.note = f"{estimator.n_iter_} iterations, relative residual {estimator.residual_:.0e}"
    facts = KernelFacts(
        text=repr(learnt.kernel),
        candidates=[(candidate.name, candidate.loss) for candidate in candidates],
        is_exact=n_centers is None,
        n_centers=n_centers,
        learnt_rows=learnt.n_rows,
        n_evaluations=learnt.n_evaluations + sum(candidate.learnt.n_evaluations for candidate in candidates),
        lengthscales=_lengthscales(learnt.kernel, parts),
        noise=float(np.sqrt(learnt.noise)),
        solver=estimator.solver_,
        residual=float(estimator.residual_),
        n_iter=int(estimator.n_iter_),
        n_rows=n,
        n_features=d,
    )
    return KernelFit(with_probabilities(estimator, parts, begun), learnt, facts, reasons)


def _learn(
    start: LearntKernel, parts: Parts, options: FitOptions, stages: Stages, costs: Costs, *, reserve: float
) -> LearntKernel:
    """Go on from the screening's hyperparameters on more rows, where there are more and time allows."""
    n, left = len(parts.train.X), max(stages.left - reserve, 1.0)
    solve = _PRUDENCE * costs.exact(start.kernel, parts.train.X, parts.train.Y.shape[1])
    if options.n_centers or (options.n_centers is None and solve > _SOLVING_SHARE * left):
        solve = _SOLVING_SHARE * left
    seconds = float(np.clip(left - solve, 0.1 * left, _LEARNING_SHARE * left))
    if options.learn_rows is not None:  # what is asked for gets its time, whatever is said about the solve
        seconds = _LEARNING_SHARE * left
    # What a step took on the screening's rows says more about this machine now than any table.
    step = start.seconds / max(1, start.n_evaluations)
    sizes = [size for size in (2000, 3000, 4000, 5000) if size < n and _scaled(step, start.n_rows, size, 20) <= seconds]
    n_rows = min(n, options.learn_rows or (sizes[-1] if sizes else start.n_rows))
    if n_rows <= start.n_rows:
        return start
    predicted = min(_scaled(step, start.n_rows, n_rows, _STEPS), seconds)
    with stages.stage(f"learn hyperparameters on {n_rows:,} rows", predicted=predicted) as stage:
        rows = np.random.default_rng(options.random_state + 1).permutation(n)[:n_rows]
        learnt = learn_kernel(
            start.kernel,
            parts.train.X[rows],
            parts.train.Y[rows],
            noise=start.noise,
            features=parts.features.features,
            max_iter=_STEPS,
            seconds=seconds,
            random_state=options.random_state,
        )
        stage.note = f"{learnt.n_evaluations} evaluations of the marginal likelihood"
    return learnt


def _scaled(step: float, n_from: int, n_to: int, n_steps: int) -> float:
    """Seconds for so many steps on more rows: between the n^2 of the kernel and the n^3 of the factorisation."""
    return float(step * (n_to / n_from) ** 2.6 * n_steps)


def _choose_size(
    kernel: Kernel, parts: Parts, options: FitOptions, costs: Costs, *, seconds: float
) -> tuple[int | None, str]:
    """None for exact, or the number of centres; and why."""
    X, t = parts.train.X, parts.train.Y.shape[1]
    n = len(X)
    if options.n_centers == 0:
        return None, f"Exact, as asked: every one of the {n:,} training rows has a coefficient."
    if options.n_centers is not None:
        return min(n, options.n_centers), f"{min(n, options.n_centers):,} centres, as asked."
    allowed, exact = _SOLVING_SHARE * seconds, costs.exact(kernel, X, t)
    if exact <= allowed:
        return None, (
            f"Exact, with a coefficient for each of the {n:,} training rows: about {exact:.0f} s were predicted, "
            f"{allowed:.0f} s allowed."
        )
    n_centers = costs.most_centers(kernel, X, t, seconds=allowed)
    return n_centers, (
        f"{n_centers:,} of the {n:,} training rows are centres (a Nystrom approximation): an exact solve would take "
        f"about {exact:.0f} s, {allowed:.0f} s were allowed. More time gives more centres: --time-budget."
    )


def _why_kernel(candidates: list[Any], options: FitOptions) -> str:
    if options.kernel is not None:
        return "The kernel is the one given with --kernel; its hyperparameters were learnt by marginal likelihood."
    others = ", ".join(f"{candidate.name} {candidate.loss:.4g}" for candidate in candidates[1:])
    return (
        f"{candidates[0].name} had the least squared error on the validation part in a trial on some of the rows: "
        f"{candidates[0].loss:.4g} of the target's variance, against {others}."
    )


def _lengthscales(kernel: Kernel, parts: Parts) -> list[tuple[str, float]]:
    """Each tie and its lengthscale, the shortest (which matters most) first; empty for a kernel without any."""
    features = parts.features.features
    smooth = [feature for feature in features if feature.role == "smooth"]
    for hyperparameter in kernel.hyperparameters():
        count = hyperparameter.value.numel()
        if hyperparameter.path.endswith("lengthscale") and hyperparameter.value.dim() == 1 and count > 1:
            seen = smooth if count == len(smooth) else features
            if count == len(seen):
                pairs = dict(zip((feature.tie for feature in seen), hyperparameter.value.tolist(), strict=True))
                return sorted(pairs.items(), key=lambda pair: pair[1])
    return []
