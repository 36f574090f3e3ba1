"""Columns of numbers as features."""

import numpy as np
import pandas as pd
import pytest

from mercer.tables.transforms import NumberTransform

GENERATOR = np.random.default_rng(0)
NORMAL = GENERATOR.normal(5.0, 2.0, 400)
COLUMNS = {
    "plain": NORMAL,
    "log": GENERATOR.lognormal(1.0, 1.0, 400),
    "asinh": GENERATOR.standard_t(1.2, 400),
}


def fit(values, *, log_target=False):
    return NumberTransform.fit(pd.Series(values), name="c", log_target=log_target)


@pytest.mark.parametrize("shape", COLUMNS)
def test_the_shape_follows_the_tails(shape):
    assert fit(COLUMNS[shape]).shape == shape


@pytest.mark.parametrize("shape", COLUMNS)
def test_a_feature_has_about_mean_0_and_variance_1_and_keeps_the_order(shape):
    values = COLUMNS[shape]
    feature = fit(values).apply(pd.Series(values))[:, 0]
    assert abs(feature.mean()) < 0.05
    assert abs(feature.std() - 1.0) < 0.1
    assert (np.diff(feature[np.argsort(values)]) > 0).all()


def test_a_heavy_tail_keeps_a_straight_copy_within_the_range_seen():
    transform = fit(COLUMNS["asinh"])
    straight = transform.apply(pd.Series(COLUMNS["asinh"]))[:, 1]
    assert abs(np.corrcoef(straight, COLUMNS["asinh"])[0, 1] - 1.0) < 1e-12
    beyond = transform.apply(pd.Series([1e9, COLUMNS["asinh"].max()]))[:, 1]
    assert beyond[0] == beyond[1]
    assert [feature.role for feature in transform.features()] == ["smooth", "linear"]


def test_under_the_log_of_a_target_sizes_are_logs_and_nothing_is_straight():
    sizes = GENERATOR.gamma(9.0, 1.0, 400)
    assert (fit(sizes).shape, fit(sizes, log_target=True).shape) == ("plain", "log")
    assert fit(COLUMNS["asinh"], log_target=True).straight == ()


def test_one_wrong_entry_moves_nothing():
    with_error = np.r_[NORMAL[:-1], 1e9]
    clean, dirty = (fit(values).apply(pd.Series(NORMAL[:-1]))[:, 0] for values in (NORMAL, with_error))
    assert abs(clean - dirty).max() < 0.05
    assert fit(NORMAL).apply(pd.Series([1e9]))[0, 0] < 30.0


def test_missing_values_are_marked_and_typical():
    transform = fit(np.r_[NORMAL, np.nan])
    features = transform.apply(pd.Series([5.0, np.nan]))
    assert features[:, 1].tolist() == [0.0, 1.0]
    assert features[1, 0] == 0.0
    assert [feature.name for feature in transform.features()] == ["c", "c missing"]


def test_a_value_missing_for_the_first_time_is_typical():
    assert fit(NORMAL).apply(pd.Series([np.nan])).tolist() == [[0.0]]


def test_rare_zeros_among_sizes_are_holes_but_zeros_among_counts_are_not():
    sizes = np.r_[NORMAL.clip(2.0) + 0.5, 0.0]
    assert fit(sizes).zero_is_missing
    assert fit(sizes).apply(pd.Series([0.0]))[0].tolist() == [0.0, 1.0]
    assert not fit(np.r_[np.round(NORMAL.clip(2.0)), 0.0]).zero_is_missing
    assert not fit(np.r_[NORMAL - 5.0, 0.0]).zero_is_missing


def test_a_value_outside_the_logarithm_is_missing():
    assert fit(COLUMNS["log"]).apply(pd.Series([-1.0, 0.0])).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    "values", [[3.0] * 20, [np.nan] * 20, [0.0] * 19 + [1.0]], ids=["constant", "empty", "nearly constant"]
)
def test_degenerate_columns_give_finite_features(values):
    assert np.isfinite(fit(values).apply(pd.Series([*values, 7.0]))).all()


@pytest.mark.parametrize("shape", COLUMNS)
def test_the_state_is_the_transform(shape):
    transform = fit(np.r_[COLUMNS[shape], np.nan])
    assert NumberTransform.from_state(transform.state()) == transform
    assert shape == "plain" or shape in transform.describe()
