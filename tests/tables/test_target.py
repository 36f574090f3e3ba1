"""The target: its task, its scale, its classes, and what makes it impossible."""

import numpy as np
import pandas as pd
import pytest

from mercer.errors import TableError
from mercer.tables.options import FitOptions
from mercer.tables.target import ClassTarget, NumberTarget, read_target, skewness


def read(values, **options):
    return read_target(pd.DataFrame({"y": values}), FitOptions(target="y", **options))


TASKS = {
    "fractions": ([0.5, 1.5, 2.5] * 20, "regression"),
    "three whole numbers": ([1, 2, 3] * 20, "regression"),
    "two whole numbers": ([0, 1] * 30, "classification"),
    "booleans": ([True, False] * 30, "classification"),
    "text": (["a", "b", "c"] * 20, "classification"),
}


@pytest.mark.parametrize(("values", "task"), TASKS.values(), ids=TASKS)
def test_the_task_is_guessed(values, task):
    assert read(values)[0] == task


def test_numbers_can_be_classes_and_labels_come_as_text():
    task, y, _ = read([1, 2, 3] * 20, task="classification")
    assert task == "classification"
    assert set(y) == {"1", "2", "3"}


def test_a_skewed_positive_target_is_seen_through_its_logarithm_and_comes_back():
    y = np.random.default_rng(0).lognormal(2.0, 1.0, 500)
    target = NumberTarget.fit(y, train=np.arange(400))
    assert target.scale == "log"
    assert abs(target.forward(y)[:400].std() - 1.0) < 1e-12
    np.testing.assert_allclose(target.backward(target.forward(y)), y, rtol=1e-12)


@pytest.mark.parametrize(
    "y", [np.random.default_rng(0).normal(9.0, 1.0, 300), -np.random.default_rng(0).lognormal(size=300)]
)
def test_a_target_that_is_not_skewed_or_not_positive_stays_plain(y):
    target = NumberTarget.fit(y, train=np.arange(300))
    assert target.scale == "plain"
    np.testing.assert_allclose(target.backward(target.forward(y)), y, rtol=1e-12)


def test_the_scale_is_learnt_from_the_training_part_only():
    y = np.r_[np.random.default_rng(0).normal(5.0, 1.0, 100), np.full(50, 1e6)]
    assert NumberTarget.fit(y, train=np.arange(100)).mean < 6.0


def test_a_prediction_far_out_stays_finite():
    assert np.isfinite(NumberTarget("log", 0.0, 1.0).backward(np.array([1e5]))).all()


def test_classes_become_indicators():
    target = ClassTarget(("a", "b", "c"))
    assert target.forward(np.array(["c", "a"], dtype=object)).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_rows_without_a_target_can_be_left_out():
    _, y, rows = read([1.0, np.nan, 2.0, 3.0], drop_missing_target=True)
    assert y.tolist() == [1.0, 2.0, 3.0]
    assert rows.tolist() == [True, False, True, True]


ERRORS = {
    "constant": ([2.0] * 50, {"task": "regression"}, "is 2 in every row: there is nothing to learn"),
    "one class": (["a"] * 50, {}, "is 'a' in every row"),
    "missing": (
        [1.0, 2.0, np.nan] * 20,
        {},
        "missing in 20 of 60 rows, the first of them row 3.*--drop-missing-target",
    ),
    "empty": ([np.nan] * 50, {}, "has no values"),
    "infinite": ([1.0, 2.0, np.inf] * 20, {}, "holds an infinity in row 3"),
    "text": ([*[str(i) for i in range(50)], "abc"], {}, "should hold numbers.*'abc'"),
    "a text for each row": ([f"name {i}" for i in range(60)], {}, "has 60 classes.*--task regression"),
    "a rare class": (["a", "b"] * 30 + ["c"], {}, "Class 'c' of target 'y' has 1 row, but"),
}


@pytest.mark.parametrize(("values", "options", "message"), ERRORS.values(), ids=ERRORS)
def test_an_impossible_target_is_refused(values, options, message):
    with pytest.raises(TableError, match=message):
        read(values, **options)


def test_a_target_that_is_no_column_is_refused():
    with pytest.raises(TableError, match="no column 'z'"):
        read_target(pd.DataFrame({"y": [1]}), FitOptions(target="z"))


def test_a_logarithm_that_cannot_be_taken_is_refused():
    with pytest.raises(TableError, match="goes down to -1"):
        NumberTarget.fit(np.array([-1.0, 2.0]), train=np.arange(2), scale="log")


def test_a_target_that_varies_only_outside_the_training_part_is_refused():
    with pytest.raises(TableError, match="is 1 in every row of the training part"):
        NumberTarget.fit(np.r_[np.ones(9), 2.0], train=np.arange(9))


def test_skewness_is_that_of_scipy():
    from scipy.stats import skew

    values = np.random.default_rng(0).lognormal(size=200)
    assert skewness(values) == pytest.approx(skew(values))
    assert skewness(np.ones(5)) == 0.0
