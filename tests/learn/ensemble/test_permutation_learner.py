"""Permutations learnt from unit vectors, in three ways that must agree."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from mercer.config import set_memory_budget
from mercer.data import permutation_task
from mercer.errors import MemoryBudgetError, NotConverged, ShapeError
from mercer.learn.ensemble import PermutationLearner

TASK = permutation_task(6, random_state=3)
SMALL = {"predictor": "ensemble", "threshold": "midpoint", "width": 64, "n_models": 30, "random_state": 0}


@pytest.mark.parametrize("predictor", ["kernel", "closed_form"])
@pytest.mark.parametrize("regime", ["ntk", "last_layer"])
@pytest.mark.parametrize("threshold", ["zero", "midpoint"])
def test_every_input_is_right(predictor, regime, threshold):
    task = permutation_task(12, random_state=3)
    learner = PermutationLearner(predictor=predictor, regime=regime, threshold=threshold)
    learner.fit(task.X_train, task.Y_train)
    np.testing.assert_array_equal(learner.predict(task.X_test), task.Y_test)
    np.testing.assert_array_equal(learner.permutation_, task.permutation)


@pytest.mark.parametrize("regime", ["ntk", "last_layer"])
def test_kernel_and_closed_form_are_the_same_averages(regime):
    solved, formula = (
        PermutationLearner(predictor=name, regime=regime).fit(TASK.X_train, TASK.Y_train).decision_function(TASK.X_test)
        for name in ("kernel", "closed_form")
    )
    np.testing.assert_allclose(solved, formula, rtol=0, atol=1e-12)


@pytest.mark.parametrize("regime", ["ntk", "last_layer"])
def test_trained_networks_move_all_bits(regime):
    learner = PermutationLearner(regime=regime, **SMALL).fit(TASK.X_train, TASK.Y_train)
    np.testing.assert_array_equal(learner.predict(TASK.X_test), TASK.Y_test)
    averages, law = learner.decision_function(TASK.X_test), learner.law
    ones = TASK.X_test.sum(1)
    on, off = law.levels(ones)
    expected = np.where(TASK.Y_test == 1, on[:, None], off[:, None])
    # Standard error of 30 networks, at most four of them at 63 x 6 points, and 1 / width from their finite width.
    assert np.abs(averages - expected).max() < 4.0 * law.std(ones).max() / np.sqrt(30) + 2.0 / 64
    with torch.no_grad():
        residual = learner.networks_(torch.eye(6)) - torch.from_numpy(TASK.Y_train)
    assert residual.square().sum((1, 2)).sqrt().max() <= 1e-4
    first = learner.networks_.weights[0]
    start = type(learner.networks_)(30, (6, 64, 6), sigma_b=0.0, random_state=0).weights[0]
    assert torch.equal(first, start) == (regime == "last_layer")


def test_the_default_number_of_networks_is_that_of_the_theory():
    settings = {**SMALL, "n_models": None, "width": 16}
    learner = PermutationLearner(**settings).fit(None, TASK.Y_train)
    assert learner.n_models_ == learner.networks_.n_models == learner.law.ensemble_size(threshold="midpoint")


def test_rows_may_come_in_any_order_and_with_others():
    order = np.random.default_rng(0).permutation(len(TASK.X_test))
    learner = PermutationLearner().fit(TASK.X_test[order], TASK.Y_test[order])
    np.testing.assert_array_equal(learner.permutation_, TASK.permutation)
    np.testing.assert_array_equal(learner.predict(TASK.X_test), TASK.Y_test)


def test_tensors_go_in_and_come_out():
    learner = PermutationLearner().fit(torch.from_numpy(TASK.X_train), torch.from_numpy(TASK.Y_train))
    found = learner.predict(torch.from_numpy(TASK.X_test))
    assert torch.equal(found, torch.from_numpy(TASK.Y_test))
    assert learner.decision_function(torch.from_numpy(TASK.X_test)).dtype == torch.float64


@pytest.mark.parametrize("settings", [{}, {"predictor": "closed_form"}, SMALL], ids=["kernel", "formula", "ensemble"])
def test_a_loaded_learner_is_the_saved_one(settings, tmp_path):
    learner = PermutationLearner(**settings).fit(TASK.X_train, TASK.Y_train)
    learner.save(tmp_path / "learner.safetensors")
    loaded = PermutationLearner.load(tmp_path / "learner.safetensors")
    np.testing.assert_array_equal(loaded.decision_function(TASK.X_test), learner.decision_function(TASK.X_test))
    np.testing.assert_array_equal(loaded.predict(TASK.X_test), TASK.Y_test)
    if settings:
        assert repr(loaded) == repr(learner)
    if hasattr(learner, "networks_"):
        assert torch.equal(loaded.networks_.seeds, learner.networks_.seeds)


def test_it_clones():
    assert clone(PermutationLearner(**SMALL)).get_params() == PermutationLearner(**SMALL).get_params()


def with_bit(array, row, column, value):
    changed = array.copy()
    changed[row, column] = value
    return changed


E6 = np.eye(6)
UNIT = (TASK.X_train, TASK.Y_train)


@pytest.mark.parametrize(
    ("settings", "X", "Y", "message"),
    [
        ({}, with_bit(E6, 1, 2, 2.0), TASK.Y_train, "X must hold 0 and 1, but has 2 in row 1, column 2"),
        ({}, with_bit(E6, 3, 3, 0.0), TASK.Y_train, "row 3 has no bit set: the statement excludes it"),
        ({}, E6[[0, 1, 2, 4, 5]], TASK.Y_train[:5], r"lacks the unit vector of bit 3 \(1 of 6 in all\)"),
        ({}, E6, E6[[0, 1, 2, 3, 4, 4]], "two bits go to the same place"),
        ({}, np.ones((7, 6)) * 0 + np.vstack([E6, E6[:1]]), np.vstack([E6, E6[1:2]]), "row 0 of Y is another"),
        ({"predictor": "oracle"}, *UNIT, "choose one of kernel, ensemble, closed_form"),
        ({"threshold": "half"}, *UNIT, "choose one of zero, midpoint"),
        ({"regime": "lazy"}, *UNIT, "choose one of ntk, last_layer"),
        ({**SMALL, "learning_rate": 9.0}, *UNIT, r"learning_rate=9.0: .* between 0 and 2k / D = 6.682"),
        ({**SMALL, "n_models": 0}, *UNIT, "n_models must be a whole number >= 1 or None"),
        *(
            ({**SMALL, name: value}, *UNIT, f"{name} must be a finite number > 0")
            for name in ("tol", "learning_rate")
            for value in (0.0, -1.0, np.nan, "a")
        ),
        ({"k": "a"}, *UNIT, "k must be a whole number >= 2 or None, not 'a'"),
        ({}, None, [0, 2, 2], "is no permutation: each of the numbers 0 to k - 1 once"),
        ({}, None, [0, 2, 1.5], "is no permutation"),
        ({"k": 4}, None, [0, 2, 1], "is no permutation"),
        ({}, None, with_bit(E6, 2, 5, 1.0), "row 2 of Y is another"),
    ],
)
def test_what_does_not_fit_is_named(settings, X, Y, message):
    with pytest.raises(ValueError, match=message):
        PermutationLearner(**settings).fit(X, Y)


def test_a_residual_that_hides_the_levels_is_named():
    with pytest.raises(NotConverged, match=r"tol=10 leaves averages .* away .* told apart by .* only"):
        PermutationLearner(**{**SMALL, "n_models": 4, "tol": 10.0}).fit(*UNIT)
    with pytest.raises(TypeError, match="random_state must be an int"):
        PermutationLearner(**{**SMALL, "random_state": "a"}).fit(*UNIT)


@pytest.mark.parametrize("settings", [{}, {"predictor": "closed_form"}, SMALL], ids=["kernel", "formula", "ensemble"])
def test_arguments_set_after_fit_are_those_of_the_next(settings):
    learner = PermutationLearner(**settings).fit(*UNIT)
    before = learner.decision_function(TASK.X_test)
    learner.set_params(predictor="kernel", regime="last_layer", width=7, threshold="zero")
    np.testing.assert_array_equal(learner.decision_function(TASK.X_test), before)
    assert learner.score(TASK.X_test, TASK.Y_test) == 1.0
    assert learner.law.regime == "ntk"


@pytest.mark.parametrize("settings", [{}, {"predictor": "closed_form"}, SMALL], ids=["kernel", "formula", "ensemble"])
def test_no_rows_give_no_rows(settings):
    learner = PermutationLearner(**settings).fit(*UNIT)
    assert learner.predict(TASK.X_test[:0]).shape == learner.decision_function(TASK.X_test[:0]).shape == (0, 6)


def test_a_score_is_the_share_of_whole_rows():
    learner = PermutationLearner().fit(*UNIT)
    wrong = with_bit(with_bit(TASK.Y_test, 0, 0, 1 - TASK.Y_test[0, 0]), 0, 1, 1 - TASK.Y_test[0, 1])
    assert learner.score(TASK.X_test, wrong) == pytest.approx(62 / 63)
    with pytest.raises(ShapeError, match=r"score: X \(63, 6\) and Y \(62, 6\)"):
        learner.score(TASK.X_test, TASK.Y_test[:-1])


def test_a_million_bits_by_the_formula():
    k = 10**6
    permutation = np.random.default_rng(0).permutation(k)
    learner = PermutationLearner(predictor="closed_form").fit(None, permutation)
    bits = np.zeros((2, k), dtype=np.int8)
    bits[:, [3, 5]] = 1
    moved = learner.predict(bits)
    np.testing.assert_array_equal(np.flatnonzero(moved[1]), np.sort(permutation[[3, 5]]))
    with pytest.raises(MemoryBudgetError, match=r"kernel solve of 1000000 bits .* predictor='closed_form'"):
        PermutationLearner().fit(None, permutation)


def test_a_permutation_is_its_unit_vectors():
    fitted = [PermutationLearner().fit(None, Y) for Y in (TASK.permutation, TASK.Y_train)]
    np.testing.assert_array_equal(fitted[0].dual_coef_, fitted[1].dual_coef_)
    with pytest.raises(ShapeError, match=r"PermutationLearner\(k=None\)|Y must be"):
        PermutationLearner().fit(E6, TASK.permutation)


def test_shapes_budgets_and_short_trainings_are_named():
    learner = PermutationLearner()
    with pytest.raises(ShapeError, match=r"X \(6, 6\) and Y \(5, 6\) must both be \(n, k\)"):
        learner.fit(E6, E6[:5])
    with pytest.raises(ShapeError, match=r"PermutationLearner\(k=7\)"):
        PermutationLearner(7).fit(*UNIT)
    learner.fit(*UNIT)
    with pytest.raises(ShapeError, match="X has 5 bits, but the permutation has 6"):
        learner.predict(np.ones((1, 5)))
    with pytest.raises(ValueError, match="row 1 has no bit set"):
        learner.predict(np.array([[1.0, 0, 0, 0, 0, 0], [0.0] * 6]))
    with pytest.raises(NotConverged, match=r"30 of 30 networks have not reached tol=0\.0001 in 3 steps"):
        PermutationLearner(**SMALL, max_iter=3).fit(*UNIT)
    set_memory_budget("1MB")
    with pytest.raises(MemoryBudgetError, match="Training 1000 networks of width 64 on 6 bits"):
        PermutationLearner(**{**SMALL, "n_models": 1000}).fit(*UNIT)
