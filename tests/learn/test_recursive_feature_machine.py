import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from mercer.errors import ShapeError
from mercer.kernels import PowerExponential
from mercer.learn import RecursiveFeatureMachine, RecursiveFeatureMachineClassifier
from mercer.learn.feature_matrix import average_outer_product
from mercer.operators import point_gradients

matplotlib.use("Agg")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6))
Y = X[:, 0] * X[:, 1] + 0.5 * np.sin(X[:, 2]) + 0.05 * RNG.normal(size=120)
NEW = RNG.normal(size=(40, 6))
TRUTH = NEW[:, 0] * NEW[:, 1] + 0.5 * np.sin(NEW[:, 2])
REFERENCE = json.loads((Path(__file__).parent / "data" / "xrfm.json").read_text())


def r2(model):
    return 1.0 - ((model.predict(NEW) - TRUTH) ** 2).mean() / TRUTH.var()


@pytest.mark.parametrize(
    "case", REFERENCE["cases"], ids=lambda c: f"{c['kernel']} {c['exponent']} {c['diagonal']} {c['adaptive']}"
)
def test_matrix_and_predictions_are_those_of_xrfm(case):
    points, targets = np.array(REFERENCE["X"]), np.array(REFERENCE["y"])  # made as "how" in the file says
    model = RecursiveFeatureMachine(
        1e-2,
        lengthscale=case["bandwidth"],
        relative=case["adaptive"],
        exponent=case["exponent"],
        norm=case["norm"],
        diagonal=case["diagonal"],
        max_iter=3,
        rtol=1e-10,
    )
    model.fit(points[:60], targets[:60], X_val=points[60:], y_val=targets[60:])
    # xRFM adds 1e-8 to the diagonal before it takes the root, and keeps the median distance in float32.
    np.testing.assert_allclose(model.M_, case["M"], atol=1e-6)
    np.testing.assert_allclose(model.predict(points[60:]), case["predictions"], atol=5e-6)
    assert model.best_iter_ == [case["best"]]


def matrix_by_autograd(points, dual, kernel, others):
    """The definition: the outer products of the gradients of the predictor, point by point."""
    total = 0.0
    for point in torch.from_numpy(points):
        x = point[None].clone().requires_grad_()
        for column in torch.from_numpy(dual).mT:
            # A point's own kernel value has a kink there and no gradient.
            other = torch.from_numpy(others)[(torch.from_numpy(others) != point).any(1)]
            own = column[(torch.from_numpy(others) != point).any(1)]
            (gradient,) = torch.autograd.grad(kernel(x, other).to_dense()[0] @ own, x)
            total = total + gradient.mT @ gradient
    return (total / total.max()).numpy()


@pytest.mark.parametrize("norm", [2.0, 1.0])
@pytest.mark.parametrize("diagonal", [False, True])
def test_matrix_is_the_average_outer_product_of_gradients(norm, diagonal):
    kernel, dual = PowerExponential(3.0, 1.0, norm), RNG.normal(size=(40, 2))
    gradients = point_gradients(kernel(torch.from_numpy(X[:40])), torch.from_numpy(dual))
    found = average_outer_product(gradients, None, weights=None, diagonal=diagonal)
    expected = matrix_by_autograd(X[:40], dual, kernel, X[:40])
    expected = np.diagonal(expected) / np.diagonal(expected).max() if diagonal else expected
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_features_that_matter_are_found_and_help():
    learnt = RecursiveFeatureMachine(1e-3).fit(X, Y)
    plain = RecursiveFeatureMachine(1e-3, max_iter=0).fit(X, Y)
    assert set(learnt.feature_importances_.argsort()[-3:]) == {0, 1, 2}
    assert learnt.feature_importances_.sum() == pytest.approx(1.0)
    assert r2(learnt) > r2(plain) + 0.05


def test_losses_without_validation_rows_are_those_of_leaving_one_out():
    settings = {"lengthscale": 3.0, "relative": False, "max_iter": 0}
    model = RecursiveFeatureMachine(0.1, **settings).fit(X[:30], Y[:30])
    centred, errors = Y[:30] - Y[:30].mean(), []
    for i in range(30):
        rest = np.arange(30) != i
        K = PowerExponential(3.0)
        gram = K(torch.from_numpy(X[:30])).to_dense().numpy()
        dual = np.linalg.solve(gram[np.ix_(rest, rest)] + 0.1 * np.eye(29), centred[rest])
        errors.append(centred[i] - gram[i, rest] @ dual)
    assert model.losses_[0][0] == pytest.approx(np.square(errors).mean(), rel=1e-9)


def test_the_kept_iterate_has_the_least_loss():
    model = RecursiveFeatureMachine(1e-2).fit(X, Y)
    assert model.losses_[0][model.best_iter_[0]] == min(model.losses_[0])
    assert len(model.losses_[0]) == model.n_iter_ == model.n_fits_ <= 6


def test_iterates_end_with_the_first_that_is_no_better():
    model = RecursiveFeatureMachine(1e-2, max_iter=20).fit(X, Y)
    assert model.best_iter_[0] >= len(model.losses_[0]) - 2
    assert len(model.losses_[0]) < 21


CANDIDATES = [
    {"alpha": 1e-3, "exponent": 0.8},
    {"diagonal": True, "lengthscale": 5.0, "relative": False},
    {"alpha": 1e3},
]


def test_the_best_candidate_is_kept_and_said(tmp_path):
    model = RecursiveFeatureMachine(1.0, candidates=CANDIDATES).fit(X, Y)
    losses = model.candidate_losses_[0]
    assert len(losses) == 4
    best = int(np.argmin(losses))
    settings = {"alpha": 1.0, "lengthscale": 2.0, "relative": True, "exponent": 1.0, "norm": 2.0, "diagonal": False}
    assert model.chosen_ == [settings | ({} if best == 0 else CANDIDATES[best - 1])]
    assert best in (1, 2)
    assert min(model.losses_[0]) == losses[best]
    assert r2(model) > r2(RecursiveFeatureMachine(1.0).fit(X, Y))
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(RecursiveFeatureMachine.load(tmp_path / "model").predict(NEW), model.predict(NEW))


def test_candidates_begin_with_the_best_metric_and_hopeless_ones_end_at_once():
    alone = RecursiveFeatureMachine(1e-2).fit(X, Y)
    twice = RecursiveFeatureMachine(1e-2, candidates=[{}]).fit(X, Y)
    assert twice.candidate_losses_[0][1] <= alone.candidate_losses_[0][0]
    hopeless = RecursiveFeatureMachine(1e-2, candidates=[{"alpha": 1e3}]).fit(X, Y)
    assert hopeless.n_fits_ == alone.n_fits_ + 1
    np.testing.assert_allclose(hopeless.predict(NEW), alone.predict(NEW), atol=1e-8)


def test_each_leaf_chooses_and_metrics_of_both_forms_have_a_mean():
    points = np.random.default_rng(1).normal(size=(300, 3))
    targets = np.where(points[:, 0] > 0.0, np.sin(3.0 * (points[:, 1] + points[:, 2])), points[:, 1])
    model = RecursiveFeatureMachine(1e-2, leaf_size=80, candidates=[{"diagonal": True, "alpha": 1e-3}])
    model.fit(points, targets)
    assert len(model.chosen_) == model.n_leaves_ == 4
    assert np.shape(model.M_) in ((3,), (3, 3))
    assert model.feature_importances_.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ({"leaf_size": 3}, "candidates: 'leaf_size' cannot be tried; these can: alpha, lengthscale"),
        ({"alpha": -1.0}, "candidates: alpha must be a finite number >= 0"),
        ({"exponent": 3.0}, "0 < exponent <= norm <= 2"),
    ],
)
def test_candidates_that_make_no_sense_are_refused(candidate, message):
    with pytest.raises(ValueError, match=message):
        RecursiveFeatureMachine(candidates=[candidate]).fit(X, Y)


def test_other_rows_judge_where_there_are_more_than_the_metric_is_learnt_on():
    settings = {"max_iter": 0, "lengthscale": 3.0, "relative": False}
    model = RecursiveFeatureMachine(1e-2, n_feature_rows=60, **settings).fit(X, Y)
    assert len(model._held_out) == 60
    # Half the rows know less than all but one.
    assert model.losses_[0][0] > RecursiveFeatureMachine(1e-2, **settings).fit(X, Y).losses_[0][0]
    almost_all = RecursiveFeatureMachine(1e-2, n_feature_rows=110, **settings).fit(X, Y)
    assert len(almost_all._held_out) == 110  # too few others: one row is left out at a time
    weights = np.ones(120)
    weighted = RecursiveFeatureMachine(1e-2, n_feature_rows=60, **settings).fit(X, Y, weights)
    assert weighted.losses_[0][0] == pytest.approx(model.losses_[0][0], rel=1e-9)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize(("exponent", "norm"), [(1.0, 2.0), (1.4, 2.0), (1.0, 1.0), (0.8, 1.2)])
def test_every_kernel_learns(diagonal, exponent, norm):
    model = RecursiveFeatureMachine(1e-2, exponent=exponent, norm=norm, diagonal=diagonal, max_iter=2).fit(X, Y)
    assert r2(model) > 0.5
    assert np.shape(model.M_) == ((6,) if diagonal else (6, 6))


def test_weights_two_are_rows_twice():
    weights = np.where(np.arange(120) % 3 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(120), weights.astype(int))
    settings = {"lengthscale": 3.0, "relative": False, "max_iter": 2, "rtol": 1e-10}
    weighted = RecursiveFeatureMachine(0.1, **settings).fit(X, Y, weights, X_val=NEW, y_val=TRUTH)
    repeated = RecursiveFeatureMachine(0.1, **settings).fit(X[twice], Y[twice], X_val=NEW, y_val=TRUTH)
    np.testing.assert_allclose(weighted.M_, repeated.M_, atol=1e-8)
    np.testing.assert_allclose(weighted.predict(NEW), repeated.predict(NEW), atol=1e-8)


def test_rows_of_weight_zero_take_no_part():
    weights = np.where(np.arange(120) < 100, 1.0, 0.0)
    np.testing.assert_allclose(
        RecursiveFeatureMachine().fit(X, Y, weights).predict(NEW),
        RecursiveFeatureMachine().fit(X[:100], Y[:100]).predict(NEW),
        atol=1e-9,
    )


@pytest.mark.parametrize("temperature", [0.0, 0.2])
def test_leaves_bound_the_rows_and_still_predict(temperature):
    points = np.random.default_rng(1).normal(size=(400, 3))
    targets = np.sin(2.0 * points[:, 0]) + points[:, 1]
    model = RecursiveFeatureMachine(1e-3, leaf_size=110, temperature=temperature).fit(points, targets)
    assert model.n_leaves_ == 4
    assert max(len(leaf["points"]) for leaf in model._leaves) <= 110
    test = np.random.default_rng(2).normal(size=(100, 3))
    truth = np.sin(2.0 * test[:, 0]) + test[:, 1]
    assert ((model.predict(test) - truth) ** 2).mean() < 0.1 * truth.var()


def test_soft_routing_has_no_jumps_where_hard_routing_has():
    points = np.random.default_rng(1).normal(size=(200, 1))
    model = RecursiveFeatureMachine(0.1, leaf_size=120).fit(points, points[:, 0] + (points[:, 0] > 0.0))
    line = np.linspace(-0.5, 0.5, 4001)[:, None]
    hard = abs(np.diff(model.predict(line))).max()
    soft = abs(np.diff(model.set_params(temperature=0.5).predict(line))).max()
    assert soft < 0.2 * hard


def test_few_rows_are_enough_to_learn_features_for_all():
    model = RecursiveFeatureMachine(1e-3, n_feature_rows=60).fit(X, Y)
    assert len(model._leaves[0]["points"]) == 120
    assert set(model.feature_importances_.argsort()[-2:]) == {0, 1}


def test_categories_are_indicators():
    codes = RNG.integers(0, 4, 120)
    effect = np.array([0.0, 2.0, -1.0, 0.5])[codes]
    table = np.column_stack([X[:, :2], codes])
    wide = np.column_stack([X[:, :2], codes[:, None] == np.arange(4)])
    short = RecursiveFeatureMachine(1e-2, categorical_features=[2]).fit(table, effect + X[:, 0])
    written = RecursiveFeatureMachine(1e-2).fit(wide, effect + X[:, 0])
    np.testing.assert_allclose(short.M_, written.M_, atol=1e-9)
    np.testing.assert_allclose(short.predict(table), written.predict(wide), atol=1e-8)
    assert short.feature_importances_.shape == (3,)
    table[0, 2] = 17.0  # never seen: no indicator
    assert np.isfinite(short.predict(table)).all()
    with pytest.raises(ValueError, match="categorical_features names column 3, but X has 3"):
        RecursiveFeatureMachine(categorical_features=[3]).fit(table, effect)


def test_several_targets_and_intervals():
    model = RecursiveFeatureMachine(1e-2).fit(X, np.column_stack([Y, X[:, 3]]))
    middle, lower, upper = model.predict(NEW, interval=0.8)
    assert middle.shape == (40, 2)
    assert (lower < middle).all()
    assert (middle < upper).all()
    width = RecursiveFeatureMachine(1e-2).fit(X, Y).predict(NEW, interval=0.5)
    assert (width[2] - width[1]).max() < 2.0 * abs(Y).max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_in_tensors_out(dtype):
    points = torch.from_numpy(X).to(dtype)
    model = RecursiveFeatureMachine(1e-2).fit(points, torch.from_numpy(Y).to(dtype))
    prediction = model.predict(torch.from_numpy(NEW).to(dtype))
    assert prediction.dtype == dtype
    expected = RecursiveFeatureMachine(1e-2).fit(X, Y).predict(NEW)
    np.testing.assert_allclose(prediction, expected, atol=5e-3 if dtype == torch.float32 else 1e-9)


def test_the_same_seed_gives_the_same_model():
    first = RecursiveFeatureMachine(n_feature_rows=50, random_state=3).fit(X, Y).predict(NEW)
    np.testing.assert_array_equal(
        first, RecursiveFeatureMachine(n_feature_rows=50, random_state=3).fit(X, Y).predict(NEW)
    )
    other = RecursiveFeatureMachine(n_feature_rows=50, random_state=4).fit(X, Y).predict(NEW)
    assert abs(first - other).max() > 1e-6


def test_a_loaded_model_is_the_saved_one(tmp_path):
    model = RecursiveFeatureMachine(leaf_size=70, categorical_features=[5], temperature=0.1)
    model.fit(np.column_stack([X[:, :5], np.arange(120) % 3]), Y)
    model.save(tmp_path / "model")
    loaded = RecursiveFeatureMachine.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(NEW.round()), model.predict(NEW.round()))
    np.testing.assert_array_equal(loaded.feature_importances_, model.feature_importances_)


def test_a_constant_target_has_no_direction():
    model = RecursiveFeatureMachine().fit(X, np.full(120, 3.0))
    np.testing.assert_allclose(model.predict(NEW), 3.0)


def test_importances_are_plotted_by_name():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=list("abcdef"))
    axes = RecursiveFeatureMachine(1e-2).fit(table, Y).plot_importances(n_columns=2)
    assert {label.get_text() for label in axes.get_yticklabels()} == {"a", "b"}
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": -1.0}, "alpha must be a finite number >= 0"),
        ({"max_iter": -1}, "max_iter must be a whole number >= 0"),
        ({"leaf_size": 1}, "leaf_size must be a whole number >= 2"),
        ({"exponent": 1.5, "norm": 1.0}, "0 < exponent <= norm <= 2"),
        ({"lengthscale": 0.0}, "lengthscale"),
        ({"max_iter": None}, "max_iter must be a whole number >= 0, not None"),
        ({"categorical_features": [0, 0]}, r"names a column twice: \[0, 0\]"),
    ],
)
def test_bad_arguments_say_what_is_wanted(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecursiveFeatureMachine(**arguments).fit(X, Y)


def test_half_a_validation_part_is_refused():
    with pytest.raises(ValueError, match="both X_val and y_val"):
        RecursiveFeatureMachine().fit(X, Y, X_val=NEW)


def test_validation_targets_of_another_number_are_refused():
    with pytest.raises(ShapeError, match="y has 1 targets, but y_val has 2"):
        RecursiveFeatureMachine().fit(X, Y, X_val=NEW, y_val=np.column_stack([TRUTH, TRUTH]))


def test_rows_that_are_all_alike_cannot_be_split():
    with pytest.raises(ValueError, match=r"cannot be split.*Give a leaf_size above 20"):
        RecursiveFeatureMachine(leaf_size=10).fit(np.ones((20, 2)), np.arange(20.0))


CLASSES = np.array(["low", "middle", "high"])[np.digitize(Y, [-0.5, 0.5])]


def test_classes_are_predicted_with_probabilities():
    model = RecursiveFeatureMachineClassifier(1e-2).fit(X, CLASSES)
    truth = np.array(["low", "middle", "high"])[np.digitize(TRUTH, [-0.5, 0.5])]
    assert model.score(NEW, truth) > 0.6
    probabilities = model.predict_proba(NEW)
    np.testing.assert_allclose(probabilities.sum(1), 1.0)
    assert (model.classes_[probabilities.argmax(1)] == model.predict(NEW)).all()
    assert model.decision_function(NEW).shape == (40, 3)


def test_two_classes_have_one_value(tmp_path):
    model = RecursiveFeatureMachineClassifier(1e-2, leaf_size=70).fit(
        X, Y > 0, X_val=NEW, y_val=TRUTH > 0, sample_weight=np.full(120, 2.0)
    )
    values = model.decision_function(NEW)
    assert values.shape == (40,)
    assert ((values > 0) == model.predict(NEW)).all()
    model.save(tmp_path / "model")
    loaded = RecursiveFeatureMachineClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(NEW), model.predict_proba(NEW))


def test_classifiers_errors_say_what_is_wanted():
    with pytest.raises(ValueError, match="at least two classes"):
        RecursiveFeatureMachineClassifier().fit(X, np.zeros(120))
    with pytest.raises(ValueError, match="classes that no training row has: 'none'"):
        clone(RecursiveFeatureMachineClassifier()).fit(X, CLASSES, X_val=NEW, y_val=np.full(40, "none"))
    with pytest.raises(ValueError, match="both X_val and y_val"):
        RecursiveFeatureMachineClassifier().fit(X, CLASSES, X_val=NEW)
