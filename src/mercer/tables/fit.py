"""From a table to a model and all that is known about it: what `mercer fit` does, callable from Python."""

from typing import TYPE_CHECKING

import numpy as np

from mercer.tables.columns import Column, inspect_columns
from mercer.tables.compare import (
    Fitted,
    boosting_model,
    choosing_score,
    describe_linear,
    linear_model,
    scored,
)
from mercer.tables.costs import Costs
from mercer.tables.explanations import explain
from mercer.tables.feature_fit import FeatureFit, fit_features
from mercer.tables.intervals import calibrated_radius
from mercer.tables.kernel_choice import kernels_to_try
from mercer.tables.kernel_fit import KernelFit, fit_kernel
from mercer.tables.leaks import count_copies, find_leaks
from mercer.tables.model import TableModel, raw_prediction
from mercer.tables.options import FitOptions
from mercer.tables.parts import Parts, make_parts, make_split
from mercer.tables.results import TITLES, Findings, Interval, ModelFacts
from mercer.tables.scores import score_difference
from mercer.tables.splits import require_rows
from mercer.tables.stages import Stages
from mercer.tables.target import ClassTarget, NumberTarget, read_target

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fit_table"]

_AFTERWARDS = 0.25  # of the budget, for what comes after the solve: learning curve, effects, charts, files


def fit_table(
    frame: "pd.DataFrame",
    options: FitOptions,
    *,
    name: str = "table",
    stages: Stages | None = None,
) -> tuple[TableModel, Findings]:
    """The best of mercer's models of a table, compared with ridge regression and gradient boosting.

    The kernel model comes first; a recursive feature machine gets the seconds that it leaves; the one with the better
    score on the validation part is chosen, or the linear model where that is better still.

    Args:
        frame: one row an observation.
        options: the target, and whatever else is known.
        name: of the table, for the report.
        stages: a clock that may have run while the table was read; None starts one.

    Returns:
        the model, to predict with or save, and the findings, for :func:`mercer.tables.report.write_report`.

    Raises:
        TableError: a table from which no model can be made; the message names the column.
        MemoryBudgetError: the features would not fit in memory.

    >>> import numpy as np, pandas as pd
    >>> x = np.linspace(0.0, 6.0, 200)
    >>> model, findings = fit_table(pd.DataFrame({"x": x, "y": np.sin(x)}), FitOptions(target="y", time_budget=5.0))
    >>> findings.models[0].test[0].value > 0.99
    True
    """
    clock = stages or Stages(options.time_budget)
    costs = Costs()
    with clock.stage("columns and features", predicted=costs.transforms(frame.size)) as stage:
        frame, y, task, columns, n_left_out = _checked(frame, options)
        split = make_split(frame, y, columns, options)
        parts = make_parts(frame, y, columns, split, options)
        leaks = find_leaks(
            parts.train.frame,
            columns,
            y[split.train],
            missing=options.missing,
            random_state=options.random_state,
        )
        stage.note = f"{parts.train.X.shape[1]} features of {len(parts.features.transforms)} columns"
        tried = kernels_to_try(options.kernel, parts.features.features)  # before the work, for it may be no kernel
    n, d = parts.train.X.shape
    t = parts.n_values
    with clock.stage("ridge", predicted=costs.ridge(n, d, t)):
        ridge = linear_model(parts)
    with clock.stage("gradient boosting", predicted=costs.boosting(n, d, t)) as stage:
        boosting = boosting_model(parts, random_state=options.random_state)
        stage.note = f"{boosting.predictor.n_iter_} trees"
    reserve = _AFTERWARDS * options.time_budget
    kernel = fit_kernel(parts, options, tried, clock, costs, reserve=reserve)
    features, why_features = None, "The recursive feature machine was not tried, since a kernel was given."
    if options.kernel is None:
        features, why_features = fit_features(parts, options, clock, costs, reserve=reserve)
    fitted = {"kernel": kernel.model, "boosting": boosting, "ridge": ridge}
    if features is not None:
        fitted["features"] = features.model
    models = _scored_models(fitted, kernel, features, parts, seed=options.random_state)
    chosen, ours, reason = _choose(models)
    model, interval = _table_model(fitted[chosen], parts, options)
    findings = Findings(
        options=options,
        table=name,
        task=task,
        n_rows=len(frame),
        n_left_out=n_left_out,
        columns=columns,
        handling=_handling(parts),
        target_scale=parts.target.scale if isinstance(parts.target, NumberTarget) else "plain",
        classes=parts.target.classes if isinstance(parts.target, ClassTarget) else (),
        split=split,
        models=sorted(models, key=lambda facts: facts.name != chosen),
        chosen=chosen,
        reasons=[reason, *kernel.reasons, why_features],
        warnings=_warnings(parts, n_left_out, [str(leak) for leak in leaks], options),
        leaks=leaks,
        kernel=kernel.facts,
        features=None if features is None else features.facts,
        truth=parts.test.truth,
        ours=ours,
        difference=_difference(models, ours, parts, seed=options.random_state),
        interval=interval,
    )
    explain(findings, model, parts, kernel.learnt, None if features is None else features.settings, clock)
    findings.stages = clock.done
    return model, findings


def _checked(frame: "pd.DataFrame", options: FitOptions) -> tuple["pd.DataFrame", np.ndarray, str, list[Column], int]:
    """The rows that have a target, the target, the task, the columns, and how many rows had none."""
    require_rows(len(frame))
    task, y, rows = read_target(frame, options)
    frame = frame if rows.all() else frame[rows]
    frame = frame.reset_index(drop=True)
    return frame, y, task, inspect_columns(frame, options), int((~rows).sum())


def _scored_models(
    fitted: dict[str, Fitted], kernel: KernelFit, features: FeatureFit | None, parts: Parts, *, seed: int
) -> list[ModelFacts]:
    size = "exact" if kernel.facts.is_exact else f"{kernel.facts.n_centers:,} centres"
    detail = f"{kernel.facts.candidates[0][0]}, {size}, all {kernel.facts.n_rows:,} training rows"
    rows = [("kernel", detail)]
    if features is not None:
        rows.append(("features", f"{features.facts.text}, all {features.facts.n_rows:,} training rows"))
    rows.append(("boosting", f"scikit-learn, {fitted['boosting'].predictor.n_iter_} trees"))
    rows.append(("ridge", describe_linear(fitted["ridge"].predictor, is_class=parts.is_class)))
    return [scored(name, TITLES[name], detail, fitted[name], parts, unit="", seed=seed) for name, detail in rows]


def _choose(models: list[ModelFacts]) -> tuple[str, str, str]:
    """The name of the model that is best on the validation part, boosting aside; of the best of ours; and why."""
    scores = {facts.name: choosing_score(facts.validation) for facts in models}
    what = "log loss" if any(s.name == "log loss" for s in models[0].validation) else "R2"
    able = [name for name in scores if name != "boosting"]
    chosen = max(able, key=lambda name: scores[name])  # the first of equals: ours
    ours = max((name for name in able if name != "ridge"), key=lambda name: scores[name])
    shown = {name: f"{abs(value):.4f}" for name, value in scores.items()}
    others = ", ".join(f"the {TITLES[name].lower()}'s {shown[name]}" for name in able if name != chosen)
    return (
        chosen,
        ours,
        (
            f"The {TITLES[chosen].lower()} is chosen: on the validation part its {what} is {shown[chosen]}, {others} "
            f"(gradient boosting: {shown['boosting']}, for comparison)."
        ),
    )


def _table_model(chosen: Fitted, parts: Parts, options: FitOptions) -> tuple[TableModel, Interval | None]:
    """The model to save, and for numbers its intervals on the test part."""
    radius, interval = None, None
    if isinstance(parts.target, NumberTarget):

        def predict(X: np.ndarray) -> np.ndarray:
            return raw_prediction(chosen.predictor, X)[:, 0]

        radius = calibrated_radius(predict, parts.validation.X, parts.validation.Y[:, 0], level=options.level)
        z, truth = predict(parts.test.X), parts.test.truth
        lower, upper = parts.target.backward(z - radius), parts.target.backward(z + radius)
        coverage = float(((truth >= lower) & (truth <= upper)).mean())
        error = float(np.sqrt(options.level * (1.0 - options.level) / len(truth)))
        interval = Interval(options.level, coverage, error, float(np.median(upper - lower)), lower, upper)
    model = TableModel(
        target_name=options.target,
        target=parts.target,
        features=parts.features,
        predictor=chosen.predictor,
        level=options.level,
        radius=radius,
        probabilities=chosen.probabilities,
    )
    return model, interval


def _difference(models: list[ModelFacts], ours: str, parts: Parts, *, seed: int) -> tuple[float, float]:
    by_name = {facts.name: facts.prediction for facts in models}
    if parts.is_class:
        right = [by_name[name].argmax(axis=1) == parts.test.truth for name in (ours, "boosting")]
        gain = right[0].astype(np.float64) - right[1]
        return float(gain.mean()), float(gain.std() / len(gain) ** 0.5)
    return score_difference(parts.test.truth, by_name[ours], by_name["boosting"], seed=seed)


def _handling(parts: Parts) -> dict[str, str]:
    return {transform.name: transform.describe() for transform in parts.features.transforms}


def _warnings(parts: Parts, n_left_out: int, leaks: list[str], options: FitOptions) -> list[str]:
    found = list(leaks)
    n_copies = count_copies(parts.train.X, parts.test.X)
    if n_copies:
        found.append(
            f"{n_copies:,} of the {len(parts.test.X):,} test rows have exactly the features of a training row"
            f" ({n_copies / len(parts.test.X):.1%})."
        )
    if n_left_out:
        found.append(f"{n_left_out:,} rows without a value of {options.target} were left out.")
    return found
