"""The sentences of the report: what a person should take away, with the doubt that belongs to it."""

import numpy as np

from mercer.tables.charts.canvas import shown
from mercer.tables.results import TITLES, Findings

__all__ = ["comparison", "describe_facts", "format_number", "headline", "lead", "scale_note", "time_note"]


def format_number(value: float) -> str:
    """A number in the table's units, with three digits that matter.

    >>> format_number(3932.4), format_number(1.0), format_number(0.012345)
    ('3,932', '1', '0.0123')
    """
    if not np.isfinite(value):
        return str(value)
    if abs(value) >= 1000.0:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def headline(findings: Findings) -> str:
    """What the model does, in one line."""
    chosen, target = findings.models[0], findings.options.target
    if findings.task == "regression":
        return f"{target}: {max(chosen.test[0].value, 0.0):.1%} of the variance explained"
    return f"{target}: {chosen.test[0].value:.1%} of the rows classified right"


def lead(findings: Findings) -> list[str]:
    """The result in two or three sentences."""
    chosen, kernel = findings.models[0], findings.kernel
    score = chosen.test[0]
    if chosen.name == "kernel" and kernel.is_exact:
        what = f"An exact kernel model of all {kernel.n_rows:,} training rows"
    elif chosen.name == "kernel":
        what = f"A kernel model with {kernel.n_centers:,} centres, fitted to all {kernel.n_rows:,} training rows,"
    elif chosen.name == "features":
        what = f"A recursive feature machine of all {kernel.n_rows:,} training rows"
    else:
        what = f"A linear model, which was better than the kernel model here, fitted to {kernel.n_rows:,} rows,"
    reached = f"reaches {shown(score.name)} = {score.value:.4f} ± {score.error:.4f}"
    first = f"{what} {reached} on {len(findings.split.test):,} test rows. {comparison(findings)}"
    if findings.interval is None:
        return [first]
    interval = findings.interval
    off = (interval.coverage - interval.level) / interval.error
    verdict = "as they should" if abs(off) <= 2.5 else "more often than asked" if off > 0 else "less often than asked"
    return [
        first,
        f"Its {interval.level:.0%} intervals hold {interval.coverage:.1%} of the test rows (± {interval.error:.1%}), "
        f"{verdict}; the median interval is {format_number(interval.width)} wide.",
    ]


def comparison(findings: Findings) -> str:
    """The models against each other, and whether the test part can tell the best of ours from boosting."""
    score = shown(findings.models[0].test[0].name)
    titles = {name: title.lower() for name, title in TITLES.items()}
    others = [
        f"{'' if facts.name == 'boosting' else 'the '}{titles[facts.name]} {facts.test[0].value:.4f}"
        for facts in findings.models[1:]
    ]
    ours = titles[findings.ours]
    gain, error = findings.difference
    if abs(gain) <= 2.0 * error:
        verdict = "a difference that these rows cannot tell from none"
    else:
        verdict = f"the {ours} is better" if gain > 0.0 else "boosting is better"
    return (
        f"For comparison, {', '.join(others[:-1])} and {others[-1]}. {ours.capitalize()} minus boosting, row by row: "
        f"{gain:+.4f} ± {error:.4f} in {score}, {verdict}."
    )


def scale_note(findings: Findings) -> str:
    """On which scale the scores are."""
    if findings.task != "regression":
        return "Accuracy is the share of rows whose most probable class is the true one; log loss is in nats."
    target = findings.options.target
    if findings.target_scale == "log":
        return (
            f"R² is on the table's own scale of {target}; the models saw its logarithm, and R² of the log says how "
            f"well they did there. A prediction is a median, not a mean."
        )
    return f"R² is on the table's own scale of {target}."


def describe_facts(findings: Findings) -> list[dict[str, str]]:
    """Name and value of what was decided or came out on the way."""
    split, kernel = findings.split, findings.kernel
    tried = ", ".join(f"{name} ({loss:.4g})" for name, loss in kernel.candidates)
    size = "exact" if kernel.is_exact else f"{kernel.n_centers:,} centres (Nystrom)"
    facts = [
        ("rows", f"{len(split.train):,} train, {len(split.validation):,} validation, {len(split.test):,} test"),
        ("split", split.how),
        ("target", "logarithm, scaled" if findings.target_scale == "log" else "scaled" if not findings.classes else ""),
        ("features", f"{kernel.n_features} from {len(findings.handling)} columns"),
        ("kernels tried", f"{tried} (squared error on the validation part, target variance 1)"),
        (
            "hyperparameters",
            f"greatest marginal likelihood on {kernel.learnt_rows:,} rows, {kernel.n_evaluations} evaluations in all",
        ),
        ("noise", f"{kernel.noise:.3g} of the target's standard deviation is beyond the kernel"),
        ("size", f"{size}, {kernel.n_rows:,} rows"),
        ("solver", kernel.solver),
        ("reached", f"relative residual {kernel.residual:.1e} after {kernel.n_iter} iterations"),
        *_feature_facts(findings),
        ("classes", ", ".join(findings.classes)),
    ]
    return [{"name": name, "value": value} for name, value in facts if value]


def _feature_facts(findings: Findings) -> list[tuple[str, str]]:
    features = findings.features
    if features is None:
        return []
    tried = "; ".join(f"{text} ({loss:.4g})" for text, loss in features.candidates)
    size = f"{features.n_leaves} of up to {features.leaf_size:,} rows" if features.n_leaves > 1 else "one"
    return [
        ("feature machines tried", f"{tried} (squared error on rows not seen)"),
        ("metric", f"learnt on {features.n_feature_rows:,} rows of a leaf, {max(features.iterations)} iterations"),
        ("leaves", f"{size}, relative residual {features.residual:.1e}"),
    ]


def time_note(findings: Findings) -> str:
    """The sum of the stages."""
    used = sum(stage.used for stage in findings.stages)
    predicted = sum(stage.predicted for stage in findings.stages)
    return (
        f"{used:.0f} s used, {predicted:.0f} s predicted, {findings.options.time_budget:.0f} s allowed, the writing of "
        f"this page not counted. Blue: used; grey: predicted before the stage began."
    )
