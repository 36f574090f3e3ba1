"""The three parts never overlap, together are the table, and respect time and groups."""

import numpy as np
import pytest

from mercer.errors import TableError
from mercer.tables.splits import split_by_group, split_in_time, split_randomly

SPLITS = {
    "at random": lambda n: split_randomly(n, random_state=3),
    "by class": lambda n: split_randomly(n, labels=np.array(["a", "b", "b"] * n)[:n], random_state=3),
    "in time": lambda n: split_in_time(np.random.default_rng(0).normal(size=n), name="t"),
    "by group": lambda n: split_by_group(np.arange(n) // 4, name="g", random_state=3),
}


@pytest.mark.parametrize(("n", "share"), [(60, 0.2), (517, 0.2), (6003, 0.1)])
@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_every_row_is_in_exactly_one_part_of_about_the_right_size(split, n, share):
    parts = split(n)
    assert sorted(np.concatenate([parts.train, parts.validation, parts.test])) == list(range(n))
    for part in (parts.validation, parts.test):
        assert abs(len(part) - share * n) <= 5
        assert (np.diff(part) > 0).all()


def test_a_split_is_the_same_for_the_same_seed_and_another_for_another():
    first, same, other = (split_randomly(100, random_state=seed).test.tolist() for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_every_class_is_in_every_part_in_its_share():
    labels = np.array(["rare"] * 10 + ["common"] * 990)
    split = split_randomly(1000, labels=labels, random_state=0)
    for part in (split.train, split.validation, split.test):
        assert abs((labels[part] == "rare").mean() - 0.01) <= 0.0051


def test_time_runs_from_train_to_test_and_equal_times_stay_together():
    times = np.repeat(np.arange(50.0), 4)[::-1].copy()
    split = split_in_time(times, name="t")
    assert times[split.train].max() < times[split.validation].min()
    assert times[split.validation].max() < times[split.test].min()
    assert len(split.train) % 4 == len(split.test) % 4 == 0


def test_a_group_is_never_divided():
    groups = np.random.default_rng(0).integers(0, 30, 400)
    split = split_by_group(groups, name="g", random_state=0)
    seen = [set(groups[part]) for part in (split.train, split.validation, split.test)]
    assert not (seen[0] & seen[1])
    assert not (seen[0] & seen[2])
    assert not (seen[1] & seen[2])


@pytest.mark.parametrize(("n", "words"), [(1, "has 1 row to use"), (49, "has 49 rows to use")])
def test_too_few_rows_are_refused(n, words):
    with pytest.raises(TableError, match=words):
        split_randomly(n, random_state=0)


def test_too_few_times_or_groups_are_refused():
    with pytest.raises(TableError, match="'t' has too few different times"):
        split_in_time(np.repeat([1.0, 2.0], 50), name="t")
    with pytest.raises(TableError, match="'g' has 2 groups"):
        split_by_group(np.repeat(["a", "b"], 50), name="g", random_state=0)
    with pytest.raises(TableError, match="a group with so many rows"):
        split_by_group(np.r_[np.zeros(93), np.arange(1, 8)], name="g", random_state=5)
