"""All columns as one matrix."""

import json

import numpy as np
import pandas as pd
import pytest

from mercer.errors import FileFormatError, TableError
from mercer.tables.columns import inspect_columns
from mercer.tables.features import Features
from mercer.tables.options import FitOptions

N = 120
FRAME = pd.DataFrame(
    {
        "size": np.r_[np.nan, np.linspace(1.0, 9.0, N - 1)],
        "colour": ["red", "green", "blue"] * (N // 3),
        "grade": ["low", "high"] * (N // 2),
        "when": pd.date_range("2020-01-01", periods=N, freq="7h"),
        "street": [f"street {i % 35}" for i in range(N)],
        "id": [f"row {i}" for i in range(N)],
        "y": np.linspace(0.0, 1.0, N),
    }
)
OPTIONS = FitOptions(target="y", ordered={"grade": ("low", "high")})


def fit(frame=FRAME):
    columns = inspect_columns(frame, OPTIONS)
    Y = frame[["y"]].to_numpy()
    return Features.fit_apply(frame, columns, Y, log_target=False, trend=True, random_state=0)


def test_every_column_in_use_has_its_features_and_names_fit_the_matrix():
    features, X = fit()
    assert [transform.name for transform in features.transforms] == ["size", "colour", "grade", "when", "street"]
    assert X.shape == (N, len(features.features))
    assert np.isfinite(X).all()


def test_applying_gives_the_training_features_again_but_for_columns_of_many_levels():
    features, X = fit()
    again = features.apply(FRAME)
    same = [place for place, feature in enumerate(features.features) if feature.source != "street"]
    np.testing.assert_array_equal(again[:, same], X[:, same])
    many = [place for place, feature in enumerate(features.features) if feature.source == "street"]
    assert (again[:, many] != X[:, many]).any()


def test_other_columns_and_another_order_do_not_matter():
    features, _ = fit()
    shuffled = FRAME[FRAME.columns[::-1]].assign(more=1)
    np.testing.assert_array_equal(features.apply(shuffled), features.apply(FRAME))


def test_unseen_categories_and_missing_values_are_finite_and_counted():
    features, _ = fit()
    new = FRAME.assign(colour="pink", street=None, size=np.nan, when=pd.NaT, grade=["low", "worse"] * (N // 2))
    assert np.isfinite(features.apply(new)).all()
    assert features.unseen(new) == {"colour": N, "grade": N // 2}


def test_what_the_user_calls_missing_is_missing_when_applied():
    columns = inspect_columns(FRAME, OPTIONS)
    features, _ = Features.fit_apply(
        FRAME, columns, FRAME[["y"]].to_numpy(), missing=("-9",), log_target=False, trend=True, random_state=0
    )
    as_minus_9, as_missing = features.apply(FRAME.assign(size=-9.0)), features.apply(FRAME.assign(size=np.nan))
    np.testing.assert_array_equal(as_minus_9, as_missing)


def test_the_state_survives_json():
    features, _ = fit()
    again = Features.from_state(json.loads(json.dumps(features.state())))
    np.testing.assert_array_equal(again.apply(FRAME), features.apply(FRAME))


def test_a_table_without_a_column_is_refused():
    features, _ = fit()
    with pytest.raises(TableError, match=r"lacks 2 of the columns.*'size', 'when'"):
        features.apply(FRAME.drop(columns=["size", "when"]))


def test_a_transform_of_a_newer_version_is_refused():
    features, _ = fit()
    state = features.state()
    state["transforms"][0]["kind"] = "wavelet"
    with pytest.raises(FileFormatError, match="transform 'wavelet', unknown here"):
        Features.from_state(state)


def test_categories_that_are_all_rare_are_refused():
    frame = pd.DataFrame({"c": [f"v{i // 2}" for i in range(50)], "y": np.arange(50.0)})
    with pytest.raises(TableError, match="No level of c is in enough rows"):
        Features.fit_apply(
            frame.iloc[::2],
            inspect_columns(frame, FitOptions(target="y")),
            np.zeros((25, 1)),
            log_target=False,
            trend=True,
            random_state=0,
        )
