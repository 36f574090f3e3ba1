"""Columns of categories as features."""

import json

import numpy as np
import pandas as pd
import pytest

from mercer.tables.transforms import CategoryTransform, ManyLevelsTransform, OrderedTransform
from mercer.tables.transforms.category import common_levels

COLOURS = pd.Series(["red"] * 30 + ["green"] * 20 + ["blue"] * 10 + [None] * 8 + ["rare"])


def test_a_common_level_has_an_indicator_and_a_rare_or_new_one_none():
    transform = CategoryTransform.fit(COLOURS, name="c")
    assert transform.levels == ("red", "green", "blue", "(missing)")
    features = transform.apply(pd.Series(["green", "rare", "new", None]))
    assert features.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_only_levels_that_training_did_not_have_count_as_unseen():
    transform = CategoryTransform.fit(COLOURS, name="c")
    assert transform.n_unseen(pd.Series(["green", "rare", "new", "newer", None])) == 2


def test_indicators_of_one_column_share_a_lengthscale():
    assert len({feature.tie for feature in CategoryTransform.fit(COLOURS, name="c").features()}) == 1


def test_ordered_levels_have_their_rank_and_indicators():
    sizes = pd.Series(["S", "M", "L"] * 10)
    transform = OrderedTransform.fit(sizes, name="c", levels=("S", "M", "L"))
    features = transform.apply(pd.Series(["S", "M", "L", None, "XL"]))
    ranks = features[:, 0]
    assert abs((ranks[1] - ranks[0]) - (ranks[2] - ranks[1])) < 1e-12
    assert ranks[0] < ranks[1] < ranks[2]
    assert features[3].tolist() == features[4].tolist() == [0, 0, 0, 0]
    assert features[:3, 1:].sum(axis=1).tolist() == [1, 1, 1]


def test_ordered_levels_without_any_value_are_finite():
    transform = OrderedTransform.fit(pd.Series([None] * 5, dtype=object), name="c", levels=("S", "M"))
    assert np.isfinite(transform.apply(pd.Series(["S", None]))).all()


def test_many_levels_become_the_target_mean_drawn_towards_the_overall_mean():
    levels = pd.Series([f"v{i % 40}" for i in range(4000)])
    worth = np.array([int(level[1:]) for level in levels], dtype=float)[:, None]
    transform, features = ManyLevelsTransform.fit_apply(levels, worth, name="c", random_state=0)
    applied = transform.apply(pd.Series(["v0", "v39", "new", None]))[:, 0]
    assert applied[0] < 0.0 < applied[1]
    assert applied[2] == applied[3] == 0.0
    assert np.corrcoef(features[:, 0], worth[:, 0])[0, 1] > 0.99
    assert transform.n_unseen(pd.Series(["v0", "new", None])) == 1


def test_a_training_row_does_not_see_its_own_target():
    # Every level once and targets that are pure noise: a mean that held the row itself would be its target.
    generator = np.random.default_rng(0)
    levels, noise = pd.Series([f"v{i}" for i in range(500)]), generator.normal(size=(500, 1))
    _, features = ManyLevelsTransform.fit_apply(levels, noise, name="c", random_state=0)
    assert abs(np.corrcoef(features[:, 0], noise[:, 0])[0, 1]) < 0.2


TRANSFORMS = {
    "category": CategoryTransform.fit(COLOURS, name="c"),
    "ordered": OrderedTransform.fit(COLOURS, name="c", levels=("red", "green", "blue", "rare")),
    "many": ManyLevelsTransform.fit_apply(COLOURS, np.arange(69.0)[:, None], name="c", random_state=0)[0],
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_the_state_survives_json(transform):
    again = type(transform).from_state(json.loads(json.dumps(transform.state())))
    assert again == transform
    assert again.apply(COLOURS).tolist() == transform.apply(COLOURS).tolist()
    assert len(transform.features()) == transform.apply(COLOURS).shape[1]
    assert transform.describe()


def test_levels_are_ordered_by_how_often_they_occur():
    assert common_levels(COLOURS)[1][0] == "red"
