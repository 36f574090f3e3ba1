"""A fit in a few lines of text, for a terminal."""

from mercer.tables.results import TITLES, Findings

__all__ = ["summary"]


def summary(findings: Findings) -> str:
    """Scores of the models on the test part, intervals, warnings."""
    names = [score.name for score in findings.models[0].test]
    width = max(len(facts.title) for facts in findings.models) + 10
    lines = ["", f"{findings.options.target} on {len(findings.split.test):,} test rows, split {findings.split.how}"]
    lines.append(f"{'':{width}}" + "".join(f"{name:>26}" for name in names))
    for facts in findings.models:
        title = facts.title + (" (chosen)" if facts.name == findings.chosen else "")
        cells = [f"{score.value:.5g} ± {score.error:.2g}" for score in facts.test]
        lines.append(f"{title:{width}}" + "".join(f"{cell:>26}" for cell in cells))
    gain, error = findings.difference
    ours = TITLES[findings.ours].lower()
    lines.append(f"{ours} minus gradient boosting, on the same rows: {gain:+.4f} ± {error:.4f} in {names[0]}")
    if findings.interval is not None:
        interval = findings.interval
        lines.append(
            f"{interval.level:.0%} intervals hold {interval.coverage:.1%} of the test rows (± {interval.error:.1%}), "
            f"median width {interval.width:.4g}"
        )
    lines += [f"note: {warning}" for warning in findings.warnings]
    if findings.chosen == "ridge":
        lines.append(f"note: {findings.reasons[0]}")
    return "\n".join([*lines, ""])
