"""What each column of a table is taken for."""

import numpy as np
import pandas as pd
import pytest

from mercer.errors import TableError
from mercer.tables.columns import column_named, inspect_columns
from mercer.tables.options import FitOptions

N = 60


def frame(**columns):
    return pd.DataFrame({"y": np.arange(N, dtype=float), "x": np.linspace(0.5, 9.5, N), **columns})


def inspected(table, **options):
    return {column.name: column for column in inspect_columns(table, FitOptions(target="y", **options))}


KINDS = {
    "whole numbers": (np.arange(N) % 7, "number"),
    "fractions": (np.linspace(0.1, 1.3, N), "number"),
    "numbers as text": ([f"{i}.5" for i in range(N)], "number"),
    "durations": (pd.to_timedelta(np.arange(N), unit="h"), "number"),
    "text": (["red", "green", "blue"] * 20, "category"),
    "booleans": ([True, False] * 30, "category"),
    "an unordered categorical": (pd.Categorical(["p", "q"] * 30), "category"),
    "an ordered categorical": (pd.Categorical(["p", "q"] * 30, categories=["q", "p"], ordered=True), "ordered"),
    "date-times": (pd.date_range("2020", periods=N), "date-time"),
    "dates as text": ([f"2020-01-{1 + i % 28:02}" for i in range(N)], "date-time"),
    "one value": (["same"] * N, "left out"),
    "nothing": ([None] * N, "left out"),
    "one value or none": (["same", None] * 30, "category"),
    "a text for each row": ([f"person {i}" for i in range(N)], "left out"),
}


@pytest.mark.parametrize(("values", "kind"), KINDS.values(), ids=KINDS)
def test_a_column_is_taken_for(values, kind):
    assert inspected(frame(c=values))["c"].kind == kind


def test_a_column_that_numbers_the_rows_is_left_out_only_if_it_is_called_so():
    shuffled = np.random.default_rng(0).permutation(1000)[:N]
    columns = inspected(frame(rownames=shuffled, year=shuffled, index=shuffled % 40, id=shuffled + 0.5))
    assert columns["rownames"].note == "only numbers the rows"
    assert [columns[name].kind for name in ("year", "index", "id")] == ["number"] * 3


def test_missing_and_different_values_are_counted():
    column = inspected(frame(c=[1.0, np.nan, 2.0] * 20))["c"]
    assert (column.n_missing, column.n_distinct) == (20, 2)


def test_the_user_decides():
    table = frame(size=["S", "M", "L"] * 20, code=np.arange(N) % 3, group=np.arange(N) % 5)
    columns = inspected(
        table, ordered={"size": ("S", "M", "L")}, categorical=("code",), drop=("x",), group_column="group"
    )
    assert (columns["size"].kind, columns["size"].levels) == ("ordered", ("S", "M", "L"))
    assert columns["code"].kind == "category"
    assert columns["x"].note == "left out as asked"
    assert "groups the rows" in columns["group"].note


ERRORS = {
    "text among numbers": ({"c": ["1"] * (N - 1) + ["abc"]}, {}, "'c' should hold numbers.*row 60.*--categorical c"),
    "an infinity": ({"c": [1.0] * (N - 1) + [np.inf]}, {}, "'c' holds an infinity in row 60"),
    "an infinity in text": ({"c": ["1"] * (N - 1) + ["inf"]}, {}, "'c' holds an infinity in row 60"),
    "lists": ({"c": [[1]] * N}, {}, "'c' holds values of type list"),
    "bytes": ({"c": [b"a", b"b"] * 30}, {}, "'c' holds values of type bytes"),
    "complex numbers": ({"c": [1j, 2.0] * 30}, {}, "'c' holds values of type complex"),
    "an unknown level": (
        {"c": ["S", "Q"] * 30},
        {"ordered": {"c": ("S", "M")}},
        "'c' is said to be ordered S < M, but has 'Q'",
    ),
    "a level twice": ({"c": ["S", "M"] * 30}, {"ordered": {"c": ("S", "M", "S")}}, "given one level twice"),
    "an unknown column to drop": ({"abc": [1, 2] * 30}, {"drop": ("abd",)}, "no column 'abd'. Did you mean 'abc'"),
    "an unknown time column": ({}, {"time_column": "when"}, "There is no column 'when'"),
    "nothing left": ({}, {"drop": ("x",)}, "No column is left to predict 'y' from"),
}


@pytest.mark.parametrize(("columns", "options", "message"), ERRORS.values(), ids=ERRORS)
def test_a_column_that_cannot_be_used_is_refused(columns, options, message):
    with pytest.raises(TableError, match=message):
        inspected(frame(**columns), **options)


def test_the_nearest_name_is_offered_and_long_lists_are_cut():
    table = pd.DataFrame({f"column{i}": [1] for i in range(30)})
    with pytest.raises(TableError, match=r"Did you mean 'column2\d?'.*column19, \.\.\."):
        column_named(table, "colum2")
