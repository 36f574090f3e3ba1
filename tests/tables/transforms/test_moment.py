"""Columns of date-times as features."""

import json

import numpy as np
import pandas as pd

from mercer.tables.transforms import MomentTransform
from mercer.tables.transforms.moment import seconds_since_1970

HOURS = pd.Series(pd.date_range("2020-01-01", periods=9000, freq="h"))


def fit(values, *, trend=True):
    return MomentTransform.fit(values, name="t", trend=trend)


def test_cycles_are_those_that_the_column_goes_through():
    assert fit(HOURS).cycles == ("day", "week", "year")
    assert fit(HOURS[:100]).cycles == ("day",)
    assert fit(pd.Series(pd.date_range("2020-01-01", periods=30))).cycles == ("week",)


def test_without_a_trend_the_same_hour_a_week_later_looks_alike_but_for_the_season():
    transform = fit(HOURS[:1000], trend=False)
    first, later = transform.apply(pd.Series([HOURS[10], HOURS[10] + pd.Timedelta(days=7)]))
    np.testing.assert_allclose(first, later, atol=1e-9)


def test_a_short_column_keeps_its_trend_since_nothing_else_is_left():
    assert fit(pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])), trend=False).trend


def test_a_weekday_is_one_indicator():
    transform = fit(HOURS)
    place = [feature.name for feature in transform.features()].index("t Wednesday")
    assert transform.apply(pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])))[:, place].tolist() == [1.0, 0.0]


def test_a_missing_moment_is_marked():
    transform = fit(pd.concat([HOURS, pd.Series([pd.NaT])], ignore_index=True))
    features = transform.apply(pd.Series(pd.to_datetime(["2020-03-01", None])))
    assert features[:, -1].tolist() == [0.0, 1.0]
    assert features[1, :-1].tolist() == [0.0] * (features.shape[1] - 1)
    assert "missing" in transform.describe()


def test_an_empty_column_gives_finite_features():
    assert np.isfinite(fit(pd.Series([pd.NaT, pd.NaT])).apply(pd.Series(pd.to_datetime(["2020-01-01"])))).all()


def test_the_state_survives_json_and_features_are_named():
    transform = fit(HOURS)
    again = MomentTransform.from_state(json.loads(json.dumps(transform.state())))
    assert again == transform
    assert len(again.features()) == again.apply(HOURS).shape[1]


def test_seconds_are_counted_from_1970_in_utc():
    assert seconds_since_1970(pd.Series(["1970-01-01T01:00+01:00", "1970-01-02"])).tolist() == [0.0, 86400.0]
