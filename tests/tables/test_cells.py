"""Cells as numbers, moments and labels."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from mercer.errors import TableError
from mercer.tables.cells import as_datetimes, as_labels, as_numbers, without_missing


def test_numbers_come_from_text_decimals_booleans_and_durations():
    assert as_numbers(pd.Series(["1.5", " 2 ", None]), "a")[:2].tolist() == [1.5, 2.0]
    assert as_numbers(pd.Series([Decimal("0.5"), Decimal(2)]), "a").tolist() == [0.5, 2.0]
    assert as_numbers(pd.Series([True, False]), "a").tolist() == [1.0, 0.0]
    assert as_numbers(pd.Series(pd.to_timedelta([1.0, 60.0], unit="s")), "a").tolist() == [1.0, 60.0]
    assert as_numbers(pd.Series([1, None], dtype="Int64"), "a").tolist()[0] == 1.0


def test_text_among_numbers_is_said_with_its_row():
    with pytest.raises(
        TableError, match=r"Column 'a' should hold numbers, but 1 of 3 values are not, the first in row 2: 'abc'"
    ):
        as_numbers(pd.Series(["1", "abc", "3"]), "a")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinity_is_said_with_its_row(value):
    with pytest.raises(TableError, match="Column 'a' holds an infinity in row 3"):
        as_numbers(pd.Series([1.0, 2.0, value]), "a")


def test_labels_do_not_depend_on_how_a_number_is_stored():
    assert as_labels(pd.Series([3, 4])).tolist() == ["3", "4"]
    assert as_labels(pd.Series([3.0, np.nan])).tolist() == ["3", None]
    assert as_labels(pd.Series(["3", " 4"])).tolist() == ["3", "4"]
    assert as_labels(pd.Series([3.5, 4.0])).tolist() == ["3.5", "4"]


def test_blank_and_named_values_are_missing():
    assert without_missing(pd.Series(["a", " ", "", "?"]), ("?",)).isna().tolist() == [False, True, True, True]
    assert without_missing(pd.Series([1, -999]), ("-999",)).isna().tolist() == [False, True]
    assert without_missing(pd.Series([1.5, -999.0]), ("-999",)).isna().tolist() == [False, True]


def test_moments_come_from_text_dates_and_zones():
    expected = pd.Timestamp("2020-01-02")
    assert as_datetimes(pd.Series(["2020-01-02", "x"])).tolist() == [expected, pd.NaT]
    assert as_datetimes(pd.Series([datetime.date(2020, 1, 2)]))[0] == expected
    assert as_datetimes(pd.Series(pd.to_datetime(["2020-01-02T02:00+02:00"])))[0] == expected
