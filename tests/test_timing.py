import json
import time

import pytest
import torch

from mercer.timing import Comparison, Timing, compare, machine


def test_a_sleep_takes_wall_time_and_no_thread_time():
    result = compare({"sleep": lambda: time.sleep(0.002)}, rounds=3, clock="wall")
    assert result.timings["sleep"].seconds() >= 0.002
    assert result.timings["sleep"].seconds("thread") < 0.002


def test_competitors_take_turns_and_none_is_always_first():
    calls: list[str] = []
    compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmups=2)
    assert "".join(calls) == "aabb" + "ab" + "ba" + "ab"


def test_ratio_is_the_median_over_rounds_and_not_the_ratio_of_medians():
    timings = {"a": Timing([1.0, 2.0, 4.0], [1.0] * 3), "b": Timing([2.0, 4.0, 20.0], [3.0] * 3)}
    assert Comparison(timings, "wall").ratio("a", "b")[1] == 2.0
    assert Comparison(timings, "thread").ratio("a", "b") == (3.0, 3.0, 3.0)
    assert Comparison(timings, "wall").ratio("b", "a")[1] == 0.5


def test_spread_is_the_distance_of_the_quartiles_over_the_median():
    assert Timing([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5).spread() == pytest.approx(2 / 3)
    assert Timing([0.0], [0.0]).spread("thread") == 0


def test_rate_and_fraction_of_the_limit_follow_from_the_median():
    result = Comparison({"a": Timing([0.5], [0.25])}, "wall", work=100.0, limit=400.0)
    assert result.rate("a") == 200
    assert result.fraction_of_limit("a") == 0.5


def test_errors_of_all_sides_stand_beside_the_times():
    result = compare(
        {"exact": lambda: 1.0, "rough": lambda: 1.1}, rounds=2, error=lambda value: abs(value - 1), work=7, limit=8
    )
    assert result.timings["exact"].error == 0
    assert result.timings["rough"].error == pytest.approx(0.1)
    text = str(result)
    assert "error  1.0e-01" in text
    assert "of the limit" in text
    assert "exact is" in text


def test_everything_is_kept_as_json_with_the_machine():
    kept = json.loads(json.dumps(compare({"a": lambda: None}, rounds=2, work=1.0, limit=1e9).as_dict()))
    assert len(kept["timings"]["a"]["wall"]) == 2
    assert kept["timings"]["a"]["rate"] > 0
    assert kept["timings"]["a"]["fraction_of_limit"] > 0
    assert kept["machine"]["versions"]["torch"] == machine()["versions"]["torch"]


def test_the_thread_clock_is_used_only_where_one_thread_does_the_work():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert compare({"a": lambda: None}, rounds=1).clock == ("wall" if torch.cuda.is_available() else "thread")
        torch.set_num_threads(2)
        assert compare({"a": lambda: None}, rounds=1).clock == "wall"
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("competitors", "rounds"), [({}, 3), ({"a": lambda: None}, 0)])
def test_nothing_to_measure_is_refused(competitors, rounds):
    with pytest.raises(ValueError, match=r"compare needs a competitor and a round, but has"):
        compare(competitors, rounds=rounds)


def test_what_is_slower_is_called_so():
    timings = {"ours": Timing([2.0, 2.0], [2.0, 2.0]), "theirs": Timing([1.0, 1.0], [1.0, 1.0])}
    assert "ours is 2x slower (2 to 2)" in str(Comparison(timings, "wall"))
    assert "theirs is 2x faster" in str(Comparison(dict(reversed(timings.items())), "wall"))
