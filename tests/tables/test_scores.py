"""Scores agree with scikit-learn's, and their standard errors with repetition."""

import numpy as np
import pytest
from sklearn import metrics

from mercer.tables.scores import score_classes, score_difference, score_numbers
from mercer.tables.target import NumberTarget

GENERATOR = np.random.default_rng(0)
Y = GENERATOR.lognormal(2.0, 0.5, 400)
PREDICTION = Y * GENERATOR.lognormal(0.0, 0.1, 400)
PLAIN, LOG = NumberTarget("plain", 0.0, 1.0), NumberTarget("log", 2.0, 0.5)


def by_name(scores):
    return {score.name: score for score in scores}


def test_scores_of_numbers_are_those_of_scikit_learn():
    scores = by_name(score_numbers(Y, PREDICTION, target=LOG, unit="", seed=0))
    assert scores["R2"].value == pytest.approx(metrics.r2_score(Y, PREDICTION))
    assert scores["R2 of the log"].value == pytest.approx(metrics.r2_score(np.log(Y), np.log(PREDICTION)))
    assert scores["mean absolute error"].value == pytest.approx(metrics.mean_absolute_error(Y, PREDICTION))
    assert scores["root mean squared error"].value == pytest.approx(metrics.root_mean_squared_error(Y, PREDICTION))
    assert "R2 of the log" not in by_name(score_numbers(Y, PREDICTION, target=PLAIN, unit="", seed=0))


def test_the_standard_error_of_r2_is_its_spread_over_samples():
    values, errors = [], []
    for _ in range(60):
        y = GENERATOR.normal(size=300)
        score = score_numbers(y, y + 0.5 * GENERATOR.normal(size=300), target=PLAIN, unit="", seed=0)[0]
        values.append(score.value)
        errors.append(score.error)
    assert 0.7 < np.mean(errors) / np.std(values) < 1.4


def test_a_perfect_and_a_constant_case_are_finite():
    perfect = score_numbers(Y, Y, target=PLAIN, unit="", seed=0)
    assert perfect[0].value == 1.0
    constant = score_numbers(np.ones(20), np.ones(20), target=PLAIN, unit="", seed=0)
    assert all(np.isfinite([score.value, score.error]).all() for score in [*perfect, *constant])


def test_scores_of_classes_are_those_of_scikit_learn():
    codes = GENERATOR.integers(0, 2, 300)
    p = np.clip(0.3 + 0.4 * codes + 0.2 * GENERATOR.normal(size=300), 0.01, 0.99)
    scores = by_name(score_classes(codes, np.stack([1 - p, p], axis=1)))
    assert scores["accuracy"].value == pytest.approx(metrics.accuracy_score(codes, p > 0.5))
    assert scores["log loss"].value == pytest.approx(metrics.log_loss(codes, p))
    assert not scores["log loss"].larger_is_better
    assert scores["area under ROC"].value == pytest.approx(metrics.roc_auc_score(codes, p))


def test_three_classes_have_no_area_and_a_sure_mistake_is_finite():
    scores = by_name(score_classes(np.array([0, 1, 2]), np.eye(3)[[1, 1, 2]]))
    assert "area under ROC" not in scores
    assert np.isfinite(scores["log loss"].value)


def test_a_difference_is_sharper_than_either_score():
    other = PREDICTION * 1.01
    value, error = score_difference(Y, PREDICTION, other, seed=0)
    single = score_numbers(Y, PREDICTION, target=PLAIN, unit="", seed=0)[0]
    assert value == pytest.approx(metrics.r2_score(Y, PREDICTION) - metrics.r2_score(Y, other))
    assert error < single.error
