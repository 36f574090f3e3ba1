"""What came out, as text: a table of verdicts, and the reasons behind those that need one."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence

from mercer.config import format_bytes
from mercer.papers.claim import Claim, Quantity, Verdict, deciding, number
from mercer.papers.measurement import Measurement
from mercer.papers.tasks import Outcome

__all__ = ["MARKS", "cost", "measured", "named", "seconds", "summary", "text_table"]

MARKS = {Verdict.HOLDS: "✓", Verdict.PROTOCOL_ONLY: "◐", Verdict.DOES_NOT_HOLD: "✗", Verdict.NOT_MEASURED: "–"}
_COLOURS = {Verdict.HOLDS: "32", Verdict.PROTOCOL_ONLY: "33", Verdict.DOES_NOT_HOLD: "31", Verdict.NOT_MEASURED: "2"}


def seconds(value: float) -> str:
    """``under 0.1 s``, ``2.4 s``, ``42 s``, ``3 min 20 s``."""
    if value < 9.95:
        return f"{value:.1f} s" if value >= 0.1 else "under 0.1 s"
    whole = round(value)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02d} s"


def measured(quantity: Quantity, measurement: Measurement) -> str:
    """The number that the bounds are for, with the spread over the seeds: ``0.041 ± 0.006``."""
    values = measurement.values.get(quantity.name)
    if values is None:
        return ""
    deviation = measurement.deviation(quantity.name)
    spread = f" ± {number(float(f'{deviation:.2g}'))}" if deviation else ""
    which = "" if quantity.over_seeds == "mean" or len(values) == 1 else f" ({quantity.over_seeds})"
    return f"{number(quantity.summary(values))}{spread}{which}"


def named(claim: Claim, quantity: Quantity, measurement: Measurement) -> str:
    """The number with its name, which tells a control from what the claim is about: ``control tuned: 0.0 ± 0.1``."""
    role = "control " if quantity in claim.controls else ""
    return f"{role}{quantity.name}: {measured(quantity, measurement)}"


def cost(measurement: Measurement) -> str:
    """``3 seeds, 2.1 s, 310 MB, cpu``."""
    n = len(measurement.seeds)
    fewer = f" of {measurement.seeds_asked}" if n < measurement.seeds_asked else ""
    parts = [f"{n}{fewer} seed{'s' * (n != 1 or bool(fewer))}", seconds(measurement.seconds)]
    parts += [format_bytes(measurement.peak_bytes)] if measurement.peak_bytes is not None else []
    return ", ".join([*parts, measurement.device])


def summary(outcomes: Sequence[Outcome], *, colour: bool = False) -> str:
    """The table of a run, the reasons, and one line that counts.

    Args:
        outcomes: from :func:`mercer.papers.runner.run_claims`.
        colour: with the control sequences of a terminal.
    """
    rows = [_row(outcome, colour=colour) for outcome in outcomes]
    lines = [text_table(["claim", "verdict", "measured", "bound", "seeds", "time"], rows), ""]
    for outcome in outcomes:
        name = outcome.task.name
        if outcome.reason:
            lines.append(f"{name}: {outcome.verdict}: {outcome.reason}")
        if outcome.before is not None:
            lines.append(f"{name}: was {str(outcome.before)!r} before, is {str(outcome.verdict)!r} now.")
        measurement = outcome.result.measurement if outcome.result is not None else None
        if measurement is not None and outcome.verdict is not Verdict.HOLDS:
            quantity = deciding(outcome.task.claim, measurement.values)
            value = measured(quantity, measurement)
            lines.append(f"{name}: {outcome.verdict}: {quantity.text} is {value}, not {quantity.bound}.")
    return "\n".join([*lines, count(outcomes)])


def count(outcomes: Sequence[Outcome]) -> str:
    """``7 claims: 5 hold, 1 does not hold, 1 not measured. 3 of them measured now, in 42 s.``"""
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    parts = [f"{verdicts[verdict]} {_counted(verdict, verdicts[verdict])}" for verdict in Verdict if verdicts[verdict]]
    new = [outcome for outcome in outcomes if outcome.is_new]
    spent = sum(o.result.measurement.seconds for o in new if o.result is not None and o.result.measurement is not None)
    now = f"{len(new)} of them measured now, in {seconds(spent)}." if new else "Nothing has changed since."
    return f"{len(outcomes)} claim{'s' * (len(outcomes) != 1)}: {', '.join(parts) or 'none'}. {now}"


def text_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of equal width, two spaces apart; control sequences take no width."""
    table = [[*columns], *map(list, rows)]
    widths = [max(_width(row[i]) for row in table) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def _row(outcome: Outcome, *, colour: bool) -> list[str]:
    claim, verdict = outcome.task.claim, outcome.verdict
    mark = f"{MARKS[verdict]} {_short(claim, verdict)}"
    if colour:
        mark = f"\x1b[{_COLOURS[verdict]}m{mark}\x1b[0m"
    result = outcome.result.measurement if outcome.result is not None else None
    quantity = deciding(claim, result.values if result is not None else {})
    row = [outcome.task.name, mark]
    if result is None:
        return [*row, "", quantity.bound, "", ""]
    return [*row, named(claim, quantity, result), quantity.bound, str(len(result.seeds)), seconds(result.seconds)]


def _short(claim: Claim, verdict: Verdict) -> str:
    return f"{verdict} (identity)" if claim.identity and verdict is not Verdict.NOT_MEASURED else str(verdict)


def _counted(verdict: Verdict, n: int) -> str:
    if n == 1 or verdict is Verdict.NOT_MEASURED:
        return str(verdict)
    return str(verdict).replace("holds", "hold").replace("does not", "do not")


def _width(cell: str) -> int:
    return len(cell) - (len("\x1b[32m\x1b[0m") if cell.startswith("\x1b[3") else 8 if cell.startswith("\x1b[2m") else 0)


def wants_colour(is_terminal: bool) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR is set."""
    return is_terminal and not os.environ.get("NO_COLOR")
