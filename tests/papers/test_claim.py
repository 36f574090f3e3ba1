import math

import pytest

from mercer.papers import Claim, Effort, Quantity, Verdict, judge


def claim(**changes):
    given = {"id": "c", "says": "It works.", "measure": print, "measures": (Quantity("a", "a", at_least=1.0),)}
    return Claim(**(given | changes))


CONTROLLED = {"controls": (Quantity("b", "b", at_most=0.0),), "rivals": (Quantity("r", "r"),)}


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"a": [1.0], "b": [0.0], "r": [9.0]}, Verdict.HOLDS),
        ({"a": [0.5, 1.5], "b": [-1.0, 1.0], "r": [0.0, 0.0]}, Verdict.HOLDS),
        ({"a": [1.0], "b": [0.1], "r": [0.0]}, Verdict.PROTOCOL_ONLY),
        ({"a": [0.9], "b": [0.0], "r": [0.0]}, Verdict.DOES_NOT_HOLD),
        ({"a": [0.9], "b": [0.1], "r": [0.0]}, Verdict.DOES_NOT_HOLD),
        ({"a": [math.nan], "b": [0.0], "r": [0.0]}, Verdict.DOES_NOT_HOLD),
        ({"a": [2.0, math.nan], "b": [0.0], "r": [0.0]}, Verdict.DOES_NOT_HOLD),
        ({"a": [1.0], "b": [math.nan], "r": [0.0]}, Verdict.PROTOCOL_ONLY),
        ({"b": [0.0]}, Verdict.DOES_NOT_HOLD),
        ({"a": [1.0]}, Verdict.PROTOCOL_ONLY),
    ],
)
def test_the_verdict_follows_from_numbers_and_bounds(values, verdict):
    assert judge(claim(**CONTROLLED), values) is verdict


def test_the_bounds_are_for_the_mean_the_median_or_the_worst_seed():
    values = [0.0, 1.0, 8.0]
    assert Quantity("a", "a", at_least=2.9).holds(values)
    assert not Quantity("a", "a", at_least=2.9, over_seeds="median").holds(values)
    assert not Quantity("a", "a", at_least=0.5, over_seeds="worst").holds(values)
    assert not Quantity("a", "a", at_most=7.0, over_seeds="worst").holds(values)
    assert Quantity("a", "a", at_most=8.0, over_seeds="worst").holds(values)


@pytest.mark.parametrize("over_seeds", ["mean", "median", "worst"])
@pytest.mark.parametrize("values", [[0.5, math.nan, 0.5], [math.nan, 0.5, 0.5], []])
def test_a_seed_that_is_no_number_keeps_no_bound(over_seeds, values):
    assert not Quantity("a", "a", at_most=1.0, over_seeds=over_seeds).holds(values)


def test_bounds_are_inclusive_and_shown():
    both = Quantity("a", "a", at_least=0.25, at_most=0.5)
    assert both.holds([0.25])
    assert both.holds([0.5])
    assert not both.holds([0.51])
    assert both.bound == "0.25 to 0.5"
    assert Quantity("a", "a", at_most=1e-8).bound == "≤ 1e-8"
    assert Quantity("a", "a", at_least=0.0).bound == "≥ 0"
    assert Quantity("a", "a").bound == ""


def test_infinity_keeps_the_bound_it_keeps():
    assert Quantity("a", "a", at_least=1.0).holds([math.inf])
    assert not Quantity("a", "a", at_most=1.0).holds([math.inf])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "Gain", "text": "a"}, "small letters"),
        ({"name": "a", "text": " "}, "say in the text"),
        ({"name": "a", "text": "a", "at_least": 1.0, "at_most": 0.0}, "nothing lies between"),
        ({"name": "a", "text": "a", "at_most": math.nan}, "nothing lies between"),
        ({"name": "a", "text": "a", "over_seeds": "worst"}, "exactly one bound"),
    ],
)
def test_a_quantity_that_means_nothing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Quantity(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "Two words"}, "small letters, digits and hyphens"),
        ({"says": ""}, "say what the paper claims"),
        ({"measures": (Quantity("a", "a"),)}, "cannot come out false"),
        ({"measures": ()}, "cannot come out false"),
        ({"controls": (Quantity("b", "b"),)}, "a control needs a bound"),
        ({"rivals": (Quantity("b", "b", at_most=1.0),)}, "not judged"),
        ({"rivals": (Quantity("a", "a"),)}, "the same name"),
        ({"kind": "speed"}, "the strongest baseline"),
        ({"quick": ""}, "say why"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        claim(**changes)


def test_full_is_as_quick_unless_something_else_is_said():
    quick, full = Effort(2, 5.0), Effort(9, 900.0)
    assert claim(quick=quick).effort("full") == quick
    assert claim(quick=quick, full=full).effort("full") == full
    assert claim(quick="needs a GPU", full=full).effort("quick") == "needs a GPU"


def test_a_claim_hangs_after_four_times_its_budget():
    assert Effort(1, 5.0).limit == 60.0
    assert Effort(1, 100.0).limit == 400.0
    assert Effort(1, 100.0, limit_seconds=3.0).limit == 3.0


@pytest.mark.parametrize("arguments", [(0, 1.0), (1, 0.0), (1, 1.0, 0.0)])
def test_an_effort_needs_a_seed_and_time(arguments):
    with pytest.raises(ValueError, match="at least one seed"):
        Effort(*arguments)
