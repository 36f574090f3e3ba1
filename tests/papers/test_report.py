import io
import sys
from dataclasses import replace

import pytest

from mercer.papers import Effort, Quantity, Verdict, measure
from mercer.papers.claim import number
from mercer.papers.display import Bars, Lines, display_for
from mercer.papers.report import cost, measured, seconds, summary, text_table, wants_colour
from mercer.papers.results import Result
from mercer.papers.tasks import Outcome


@pytest.fixture
def outcomes(coin_tasks):
    found = []
    for task in coin_tasks[:3]:
        measurement = replace(measure(task.claim), seconds=2.0)
        result = Result.of("90-coin", task.claim, {}, "hash", measurement=measurement)
        found.append(Outcome(task, result, is_new=True, before=Verdict.HOLDS if task is coin_tasks[1] else None))
    return [*found, Outcome(coin_tasks[3], reason="it hung", failed=True)]


def test_the_summary_has_verdicts_numbers_and_reasons(outcomes):
    lines = summary(outcomes).splitlines()
    assert lines[0].split() == ["claim", "verdict", "measured", "bound", "seeds", "time"]
    assert lines[1].startswith("coin/fair    ✓ holds ")
    assert " ".join(lines[2].split()) == "coin/biased ✗ does not hold share: 0.5 ≥ 0.9 2 2.0 s"
    assert (
        " ".join(lines[3].split()) == "coin/bought ◐ holds in the paper's protocol only control tuned: -1 ≥ 0 1 2.0 s"
    )
    assert " ".join(lines[4].split()) == "coin/lost – not measured 0.3 to 0.7"
    assert lines[6:] == [
        "coin/biased: was 'holds' before, is 'does not hold' now.",
        "coin/biased: does not hold: share of heads is 0.5, not ≥ 0.9.",
        "coin/bought: holds in the paper's protocol only: gain over a good coin is -1, not ≥ 0.",
        "coin/lost: not measured: it hung",
        "4 claims: 1 holds, 1 holds in the paper's protocol only, 1 does not hold, 1 not measured. "
        "3 of them measured now, in 6.0 s.",
    ]


def test_many_of_one_verdict_are_counted_in_the_plural(outcomes):
    text = summary([outcomes[0], outcomes[0], outcomes[1], outcomes[1]])
    assert "4 claims: 2 hold, 2 do not hold." in text
    assert "1 claim: 1 holds. Nothing has changed since." in summary([replace(outcomes[0], is_new=False)])


def test_an_identity_is_no_claim(outcomes):
    first = outcomes[0]
    identity = replace(first, task=replace(first.task, claim=replace(first.task.claim, identity=True)))
    assert "✓ holds (identity)" in summary([identity])


def test_colours_take_no_width(outcomes):
    plain, coloured = summary(outcomes), summary(outcomes, colour=True)
    assert "\x1b[31m✗ does not hold\x1b[0m" in coloured
    for colour in ("\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[2m", "\x1b[0m"):
        coloured = coloured.replace(colour, "")
    assert coloured == plain


def test_colours_are_for_terminals(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert wants_colour(True)
    assert not wants_colour(False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(True)


def test_numbers_are_for_people(coin):
    assert [number(value) for value in (1 / 3, 1.5e-10, 2e-8, 123456.0)] == ["0.3333", "1.5e-10", "2e-8", "1.235e5"]
    assert [seconds(value) for value in (0.01, 2.44, 42.4, 200)] == ["under 0.1 s", "2.4 s", "42 s", "3 min 20 s"]
    measurement = replace(measure(coin.claims["biased"]), values={"a": (1.0, 3.0)}, seconds=2.0, peak_bytes=3 * 10**8)
    assert measured(Quantity("a", "a"), measurement) == "2 ± 1.4"
    assert measured(Quantity("a", "a", at_most=1.0, over_seeds="worst"), measurement) == "3 ± 1.4 (worst)"
    assert measured(Quantity("b", "b"), measurement) == ""
    assert cost(measurement) == "2 seeds, 2.0 s, 300 MB, cpu"
    assert cost(replace(measurement, seeds=(1,), peak_bytes=None)) == "1 of 2 seeds, 2.0 s, cpu"
    assert cost(replace(measurement, seeds=(1,), seeds_asked=1, peak_bytes=None)) == "1 seed, 2.0 s, cpu"


def test_columns_stand_below_each_other():
    assert text_table(["a", "bb"], [["long", "x"], ["", "y"]]) == "a     bb\nlong  x\n      y"


def test_lines_say_what_was_measured_now(outcomes, capsys):
    with Lines() as display:
        display.begin(outcomes[0].task)
        display.seed(outcomes[0].task, 1)
        for outcome in outcomes:
            display.end(outcome)
        display.line("A line.")
    assert capsys.readouterr().err.splitlines() == [
        "✓ coin/fair holds, 2.0 s",
        "✗ coin/biased does not hold, 2.0 s",
        "◐ coin/bought holds in the paper's protocol only, 2.0 s",
        "A line.",
    ]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bars_are_for_terminals(outcomes, monkeypatch):
    pytest.importorskip("rich")
    assert isinstance(display_for(3), Lines)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    display = display_for(3)
    assert isinstance(display, Bars)
    with display:
        display.begin(outcomes[0].task)
        display.seed(outcomes[0].task, 2)
        display.line("[a line]")
        display.end(outcomes[0])
        display.end(outcomes[3])
    assert "[a line]" in terminal.getvalue()
    assert "✓ coin/fair holds, 2.0 s" in terminal.getvalue()
    monkeypatch.setenv("MERCER_PROGRESS", "0")
    assert isinstance(display_for(3), Lines)


def test_without_rich_there_are_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert isinstance(display_for(3), Lines)


def test_the_effort_of_a_claim_without_one_in_this_mode_does_not_matter(coin_tasks):
    assert coin_tasks[3].limit == Effort().limit
