"""Self-distillation of estimators that have to be fitted again in every round."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.estimator_checks import estimator_checks_generator

from mercer.errors import ApproximationWarning
from mercer.learn import KernelRidge, KernelRidgeCV, SelfDistillation, optimal_weight


def numbers(n=60):
    draw = np.random.default_rng(0)
    X = draw.normal(size=(n, 3))
    return X, X[:, 0] + 0.3 * draw.normal(size=n)


def classes(n=90):
    draw = np.random.default_rng(0)
    y = draw.integers(3, size=n)
    X = draw.normal(size=(n, 2)) + 2.0 * np.stack([np.cos(2.0 * y), np.sin(2.0 * y)], 1)
    return X, np.array(["ash", "birch", "cedar"])[y]


@pytest.mark.parametrize("n_targets", [None, 2])
def test_every_round_is_fitted_to_the_mixture(n_targets):
    X, y = numbers()
    y = y if n_targets is None else np.stack([y, y**2], 1)
    model = SelfDistillation(Ridge(20.0), 3, [1.0, 0.3, 0.6]).fit(X, y)
    target = y
    for t, alpha in enumerate([1.0, 0.3, 0.6], start=1):
        target = alpha * y + (1.0 - alpha) * target
        fit = Ridge(20.0).fit(X, target)
        np.testing.assert_allclose(model.predict(X, round=t), fit.predict(X), rtol=1e-10)
        target = fit.predict(X)
    assert not model.closed_form_
    assert model.solver_ == "3 rounds of Ridge, fitted one by one"
    assert model.n_features_in_ == 3


def test_the_weight_comes_from_one_student_of_the_teacher_alone():
    X, y = numbers()
    left = (X[40:], y[40:])
    model = SelfDistillation(KNeighborsRegressor(3), 2, validation=left, clip=None).fit(X[:40], y[:40])
    first = KNeighborsRegressor(3).fit(X[:40], y[:40])
    student = clone(first).fit(X[:40], first.predict(X[:40]))
    expected = optimal_weight(left[1], first.predict(left[0]), student.predict(left[0]))
    assert model.path_.alphas[1] == pytest.approx(expected)
    assert model.path_.scores[0] == pytest.approx(np.mean((first.predict(left[0]) - left[1]) ** 2))


def test_a_weight_of_one_or_zero_needs_no_further_fit():
    X, y = numbers()
    tree = KNeighborsRegressor(3)
    ones = SelfDistillation(tree, 3, 1.0).fit(X, y)
    assert ones.models_[0] is ones.models_[1] is ones.models_[2]
    chosen = SelfDistillation(tree, 2, validation=(X, y)).fit(X, y)
    assert chosen.path_.alphas[1] == 1.0
    worse = SelfDistillation(tree, 3, validation=(X, -y), teacher="first").fit(X, y)
    assert worse.models_[1] is worse.models_[2]  # the same teacher has the same student
    assert worse.path_.alphas[1] == 0.0
    np.testing.assert_array_equal(worse.predict(X), clone(tree).fit(X, clone(tree).fit(X, y).predict(X)).predict(X))


def test_a_classifier_sees_each_row_once_for_every_class():
    X, y = classes()
    model = SelfDistillation(LogisticRegression(), 2, 0.3).fit(X, y)
    first = LogisticRegression().fit(X, y)
    mixed = 0.3 * (y[:, None] == first.classes_) + 0.7 * first.predict_proba(X)
    by_hand = LogisticRegression().fit(
        np.repeat(X, 3, axis=0), np.tile(first.classes_, 90), sample_weight=mixed.ravel()
    )
    np.testing.assert_allclose(model.predict_proba(X), by_hand.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(model.predict(X, round=1), first.predict(X))
    assert model.classes_.tolist() == ["ash", "birch", "cedar"]
    assert model.score(X, y) > 0.8
    assert not hasattr(model, "decision_function")


def test_a_row_counts_for_no_class_less_than_nothing():
    X, y = classes()
    model = SelfDistillation(LogisticRegression(), 2, -1.0, clip=None).fit(X, y)
    first = LogisticRegression().fit(X, y)
    mixed = np.maximum(2.0 * first.predict_proba(X) - (y[:, None] == first.classes_), 0.0)
    mixed /= mixed.sum(1, keepdims=True)
    by_hand = LogisticRegression().fit(
        np.repeat(X, 3, axis=0), np.tile(first.classes_, 90), sample_weight=mixed.ravel()
    )
    np.testing.assert_allclose(model.predict_proba(X), by_hand.predict_proba(X), atol=1e-6)


def test_weights_reach_the_last_step_of_a_pipeline():
    X, y = classes()
    frame = pd.DataFrame(X, columns=["height", "girth"])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    model = SelfDistillation(pipeline, 3).fit(frame, y)
    assert model.predict_proba(frame).shape == (90, 3)
    assert model.feature_names_in_.tolist() == ["height", "girth"]


def test_a_classifier_without_weights_sees_the_likeliest_class_and_says_so():
    X, y = classes()
    with pytest.warns(ApproximationWarning, match="KNeighborsClassifier.fit takes no sample_weight"):
        model = SelfDistillation(KNeighborsClassifier(5), 2, 0.0).fit(X, y)
    first = KNeighborsClassifier(5).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), KNeighborsClassifier(5).fit(X, first.predict(X)).predict(X))


def test_a_class_that_a_student_has_never_seen_has_the_probability_zero():
    X = np.arange(12.0)[:, None]
    y = np.array(["a"] * 6 + ["b"] * 5 + ["c"])
    model = SelfDistillation(DecisionTreeClassifier(max_depth=1), 2, 0.0).fit(X, y)
    stump = model.models_[1]
    assert model.predict_proba(X).shape == (12, 3)
    assert set(stump.classes_) <= {"a", "b", "c"}
    model.models_[1] = DecisionTreeClassifier().fit(X[:11], y[:11])
    assert (model.predict_proba(X)[:, 2] == 0.0).all()


def test_warm_start_adds_the_rounds_that_are_missing():
    X, y = numbers()
    options = {"validation": 0.3, "warm_start": True}
    model = SelfDistillation(DecisionTreeRegressor(max_depth=3, random_state=0), 2, **options).fit(X, y)
    kept = list(model.models_)
    model.set_params(n_rounds=4).fit(X, y)
    assert model.models_[:2] == kept
    whole = SelfDistillation(DecisionTreeRegressor(max_depth=3, random_state=0), 4, validation=0.3).fit(X, y)
    np.testing.assert_array_equal(model.path_.alphas, whole.path_.alphas)
    np.testing.assert_array_equal(model.path_.scores, whole.path_.scores)
    np.testing.assert_array_equal(model.predict(X), whole.predict(X))
    fresh = SelfDistillation(DecisionTreeRegressor(), 2, 0.5, warm_start=True).fit(X, y)
    assert len(fresh.models_) == 2


def test_our_own_estimators_can_be_saved_and_continued(tmp_path):
    X, y = numbers()
    model = SelfDistillation(KernelRidgeCV([0.1, 1.0], kernel="rbf"), 2, 0.5, warm_start=True).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    loaded = SelfDistillation.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(X, round=1), model.predict(X, round=1))
    loaded.set_params(n_rounds=3).fit(X, y)
    model.set_params(n_rounds=3).fit(X, y)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_it_stands_in_a_grid_search():
    X, y = numbers()
    grid = {"alpha": [0.2, 0.8], "estimator__alpha": [0.1, 10.0]}
    search = GridSearchCV(SelfDistillation(KernelRidge(kernel="rbf"), 2), grid, cv=2).fit(X, y)
    assert search.best_params_["estimator__alpha"] == 0.1


def test_refits_have_no_filters():
    X, y = numbers()
    path = SelfDistillation(Ridge(), 2, 0.5).fit(X, y).path_
    with pytest.raises(AttributeError, match="This path has no filters: they are there for kernel ridge regression"):
        path.limit()
    with pytest.raises(AttributeError, match=r"plot_path needs errors: give validation=\(X, y\)"):
        path.plot_path()


def test_what_cannot_be_distilled_is_refused():
    X, y = classes()
    with pytest.raises(TypeError, match="RidgeClassifier has no predict_proba, so it cannot teach"):
        SelfDistillation(RidgeClassifier()).fit(X, y)
    with pytest.raises(ValueError, match="validation='loo' needs a closed form, which Ridge has not"):
        SelfDistillation(Ridge(), validation="loo").fit(*numbers())
    with pytest.raises(ValueError, match="the target y is None"):
        SelfDistillation(Ridge()).fit(X, None)
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        SelfDistillation(Ridge()).fit(X[:0], [])
    with pytest.raises(ValueError, match=r"validation=\(X, y\): X has 5 rows and y has 4"):
        SelfDistillation(Ridge(), validation=(X[:5], [0.0] * 4)).fit(X, np.arange(90.0))
    with pytest.raises(ValueError, match=r"validation=\(X, y\): y has 3 targets, and the training y has 1"):
        SelfDistillation(Ridge(), validation=(X[:5], np.ones((5, 3)))).fit(X, np.arange(90.0))
    with pytest.raises(
        ValueError, match=r"validation=0.97 holds 88 of 90 rows out, and each of the 3 classes must be on both"
    ):
        SelfDistillation(GaussianNB(), validation=0.97).fit(X, y)
    with pytest.raises(ValueError, match="1 classes are missing from the 9 training rows of the split"):
        SelfDistillation(GaussianNB(), validation=0.9).fit(X, np.arange(90) < 2)


CHECKED = [SelfDistillation(Ridge(), 3), SelfDistillation(LogisticRegression(), 2)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "check"),
    [
        pytest.param(m, c, id=f"{i}-{c.func.__name__}")
        for i, m in enumerate(CHECKED)
        for _, c in estimator_checks_generator(m)
    ],
)
def test_scikit_learn_finds_nothing_wrong(model, check):
    check(clone(model))
