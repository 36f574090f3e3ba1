"""A column that is the target in disguise is found, and an honest one is not accused."""

import numpy as np
import pandas as pd
import pytest

from mercer.tables.columns import inspect_columns
from mercer.tables.leaks import count_copies, find_leaks
from mercer.tables.options import FitOptions

N = 600
GENERATOR = np.random.default_rng(0)
Y = GENERATOR.lognormal(3.0, 1.0, N)
CLASSES = np.array(GENERATOR.choice(["no", "yes"], N), dtype=object)
LEAKS = {
    "other units": (3.0 * Y + 1.0, Y),
    "a decreasing function": (1.0 / Y, Y),
    "rounded": (np.round(Y, 1), Y),
    "as text": ([f"{y:.6f}" for y in Y], Y),
    "a code for the class": (np.where(CLASSES == "yes", 7, 3), CLASSES),
    "present for one class only": (np.where(CLASSES == "yes", GENERATOR.normal(size=N), np.nan), CLASSES),
}
HONEST = {
    "a strong column": (Y * GENERATOR.lognormal(0.0, 0.3, N), Y),
    "noise": (GENERATOR.normal(size=N), Y),
    "a strong hint": (np.where(GENERATOR.random(N) < 0.9, CLASSES == "yes", CLASSES == "no"), CLASSES),
}


def leaks(values, y):
    frame = pd.DataFrame({"c": values, "other": GENERATOR.normal(size=N), "y": y})
    return find_leaks(frame, inspect_columns(frame, FitOptions(target="y")), y)


@pytest.mark.parametrize(("values", "y"), LEAKS.values(), ids=LEAKS)
def test_a_disguise_is_found(values, y):
    found = leaks(values, y)
    assert [leak.column for leak in found] == ["c"]
    assert "--drop c" in str(found[0])


@pytest.mark.parametrize(("values", "y"), HONEST.values(), ids=HONEST)
def test_an_honest_column_is_not_accused(values, y):
    assert leaks(values, y) == []


def test_categories_and_dates_are_looked_at_and_left_out_columns_are_not():
    frame = pd.DataFrame(
        {
            "when": pd.Timestamp("2020") + pd.to_timedelta(Y, unit="D"),
            "label": np.where(Y > 20, "high", "low"),
            "id": [f"id {i}" for i in range(N)],
            "y": Y,
        }
    )
    found = find_leaks(frame, inspect_columns(frame, FitOptions(target="y")), Y)
    assert [leak.column for leak in found] == ["when"]


def test_copies_of_training_rows_are_counted():
    assert count_copies(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[3.0, 4.0], [3.0, 5.0], [1.0, 2.0]])) == 2
