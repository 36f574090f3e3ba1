"""Bundled networks: ridge regression on their features, exact in every order of rows, the same after saving."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge

from mercer.errors import ShapeError
from mercer.learn import BundledNetworkClassifier, BundledNetworkRegressor
from mercer.learn.cholesky_update import cholesky_update

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
Y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], 1)


@pytest.mark.parametrize("k", [0, 1, 3, 40])
def test_an_updated_factor_is_that_of_the_sum(k):
    A, V = torch.randn(30, 20, dtype=torch.float64), torch.randn(k, 20, dtype=torch.float64)
    V[:, :2] = 0.0
    H = A.mT @ A
    L = torch.linalg.cholesky(H)
    expected = torch.linalg.cholesky(H + V.mT @ V)
    torch.testing.assert_close(cholesky_update(L, V), expected, rtol=1e-11, atol=1e-12)
    with pytest.raises(ShapeError, match="V needs 20 columns"):
        cholesky_update(L, V[:, :3])


@pytest.mark.parametrize("activation", ["relu", "sin", "gelu"])
def test_the_model_is_the_ridge_of_scikit_learn_on_its_features(activation):
    length = None if activation == "relu" else 1.0
    model = BundledNetworkRegressor((30, 20), activation, 0.1, length=length).fit(X, Y)
    Z = model.hidden_features(X)
    assert Z.shape == (120, 20)
    twin = Ridge(alpha=0.1).fit(Z, Y)
    np.testing.assert_allclose(model.coef_, twin.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(model.intercept_, twin.intercept_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(model.predict(X), twin.predict(Z), rtol=1e-6, atol=1e-9)


def test_batches_of_any_size_give_what_all_rows_give():
    whole = BundledNetworkRegressor((30,)).fit(X, Y[:, 0])
    parts = BundledNetworkRegressor((30,))
    for rows in np.split(np.arange(120), [50, 51, 58, 90]):
        parts.partial_fit(X[rows], Y[rows, 0])
    assert parts.n_samples_seen_ == 120
    assert isinstance(parts.intercept_, float)
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-9, atol=1e-10)
    again = parts.fit(X[:60], Y[:60, 0])
    np.testing.assert_allclose(again.predict(X), BundledNetworkRegressor((30,)).fit(X[:60], Y[:60, 0]).predict(X))
    with pytest.raises(ShapeError, match="y has 2 targets"):
        again.partial_fit(X, Y)


def test_arguments_may_be_numbers_of_numpy():
    model = BundledNetworkRegressor((30,), alpha=np.float32(0.5), random_state=np.int64(3)).fit(X, Y)
    np.testing.assert_array_equal(
        model.predict(X), BundledNetworkRegressor((30,), alpha=0.5, random_state=3).fit(X, Y).predict(X)
    )


@pytest.mark.parametrize("layers", [64, (), None])
def test_layers_are_told_to_be_a_tuple(layers):
    with pytest.raises(ValueError, match="give the number of features of each hidden layer, as a tuple"):
        BundledNetworkRegressor(layers).fit(X, Y)


def test_weights_count_as_repeated_rows():
    weights = RNG.integers(0, 3, size=120)
    found = BundledNetworkRegressor((30,)).fit(X, Y, weights)
    repeated = np.repeat(np.arange(120), weights)
    expected = BundledNetworkRegressor((30,)).fit(X[repeated], Y[repeated])
    np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=1e-7, atol=1e-9)


def test_digits_are_learnt_without_backpropagation_in_any_order():
    digits, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))  # the last rows are of other writers
    digits, labels = digits[order] / 16.0, labels[order]
    model = BundledNetworkClassifier((128, 128)).fit(digits[:1200], labels[:1200])
    assert model.score(digits[1200:], labels[1200:]) > 0.93
    online = BundledNetworkClassifier((128, 128))
    for rows in np.split(np.argsort(labels[:1200], kind="stable"), 4):  # some classes first
        online.partial_fit(digits[rows], labels[rows], classes=np.arange(10))
    assert (online.predict(digits) == model.predict(digits)).mean() > 0.999
    assert online.decision_function(digits[:3]).shape == (3, 10)


def test_two_classes_of_text_have_one_column_and_tensors_stay_tensors():
    names = np.where(Y[:, 0] > 0.0, "up", "down")
    model = BundledNetworkClassifier((30,)).fit(X, names)
    assert model.coef_.shape == (1, 30)
    assert model.score(X, names) > 0.9
    assert model.decision_function(X).shape == (120,)
    tensors = BundledNetworkRegressor((30,)).fit(torch.from_numpy(X).float(), torch.from_numpy(Y))
    assert tensors.predict(torch.from_numpy(X).float()).dtype == torch.float32
    assert isinstance(tensors.coef_, torch.Tensor)


@pytest.mark.parametrize(
    "model",
    [
        BundledNetworkRegressor((30, 20), random_state=None),
        BundledNetworkRegressor((30,), "gelu", length=1.0),
        BundledNetworkClassifier((30,), method="hadamard"),
    ],
    ids=lambda m: repr(m)[:60],
)
def test_a_loaded_model_is_the_saved_one_and_learns_on(model, tmp_path):
    y = Y[:, 0] if isinstance(model, BundledNetworkRegressor) else Y[:, 0] > 0.0
    model.fit(X[:80], y[:80]).save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(
        loaded.partial_fit(X[80:], y[80:]).predict(X), model.partial_fit(X[80:], y[80:]).predict(X)
    )


def test_what_cannot_be_fitted_is_refused():
    for alpha in (0.0, -1.0, "ridge"):
        with pytest.raises(ValueError, match=r"alpha must be > 0"):
            BundledNetworkRegressor((30,), alpha=alpha).fit(X, Y)
    with pytest.raises(ValueError, match=r"as a tuple"):
        BundledNetworkRegressor(()).fit(X, Y)
    model = BundledNetworkClassifier((8,)).partial_fit(X, Y[:, 0] > 0.0)
    with pytest.raises(ValueError, match=r"y has 2, which the first call did not know"):
        BundledNetworkClassifier((8,)).partial_fit(X, np.arange(120) % 3, classes=[0, 1])
    with pytest.raises(ValueError, match=r"not those of the first call"):
        model.partial_fit(X, Y[:, 0] > 0.0, classes=[False, True, 2])
    with pytest.raises(ValueError, match=r"at least two classes"):
        BundledNetworkClassifier((8,)).fit(X, np.zeros(120))


NAMES = np.array(["ant", "bee", "cat"])[(X[:, 0] > 0.3).astype(int) + (X[:, 1] > 0.0)]


@pytest.mark.parametrize("alpha", [1.0, 1e-3])
@pytest.mark.parametrize("labels", [NAMES, NAMES == "bee"], ids=["three", "two"])
def test_the_log_loss_gives_the_logistic_regression_of_scikit_learn_on_the_features(labels, alpha):
    model = BundledNetworkClassifier((30, 20), alpha=alpha, loss="log_loss").fit(X, labels)
    Z = model.hidden_features(X)
    twin = LogisticRegression(C=1.0 / alpha, solver="newton-cholesky", tol=1e-13, max_iter=200).fit(Z, labels)
    scale = np.abs(twin.coef_).max()
    np.testing.assert_allclose(model.coef_, twin.coef_, rtol=1e-6, atol=1e-6 * scale)
    np.testing.assert_allclose(model.intercept_, twin.intercept_, rtol=1e-6, atol=1e-6 * scale)
    np.testing.assert_allclose(model.predict_proba(X), twin.predict_proba(Z), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(model.decision_function(X), twin.decision_function(Z), rtol=1e-6, atol=1e-6 * scale)
    np.testing.assert_array_equal(model.predict(X), twin.predict(Z))
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), rtol=1e-12)
    assert model.n_iter_ > 1


def test_digits_are_learnt_by_the_log_loss():
    digits, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    digits, labels = digits[order] / 16.0, labels[order]
    model = BundledNetworkClassifier((128, 128), alpha=0.1, loss="log_loss").fit(digits[:900], labels[:900])
    assert model.score(digits[900:], labels[900:]) > 0.95
    chances = model.predict_proba(digits[900:])
    assert -np.log(chances[np.arange(len(chances)), labels[900:]]).mean() < 0.2


@pytest.mark.parametrize("labels", [NAMES, NAMES == "bee"], ids=["three", "two"])
def test_weights_count_as_repeated_rows_in_the_log_loss(labels):
    weights = RNG.integers(0, 3, size=120)
    repeated = np.repeat(np.arange(120), weights)
    model = BundledNetworkClassifier((20,), alpha=0.1, loss="log_loss")
    expected = clone(model).fit(X[repeated], labels[repeated]).predict_proba(X)
    np.testing.assert_allclose(model.fit(X, labels, weights).predict_proba(X), expected, rtol=1e-7, atol=1e-9)


def test_probabilities_are_of_the_kind_that_was_given():
    model = BundledNetworkClassifier((20,), alpha=0.1, loss="log_loss")
    expected = clone(model).fit(X, NAMES).predict_proba(X)
    table = pd.DataFrame(X, columns=list("abcd"))
    np.testing.assert_array_equal(clone(model).fit(table, NAMES).predict_proba(table), expected)
    tensors = clone(model).fit(torch.from_numpy(X), torch.from_numpy((NAMES == "bee").astype(int)))
    assert isinstance(tensors.coef_, torch.Tensor)
    chances = tensors.predict_proba(torch.from_numpy(X))
    assert chances.dtype == torch.float64
    assert chances.shape == (120, 2)
    single = clone(model).fit(X.astype(np.float32), NAMES).predict_proba(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=1e-4)


def test_a_loaded_logistic_model_is_the_saved_one(tmp_path):
    model = BundledNetworkClassifier((20,), alpha=0.1, loss="log_loss").fit(X, NAMES)
    model.save(tmp_path / "model")
    loaded = BundledNetworkClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.get_params() == model.get_params()


def test_what_a_loss_has_not_is_refused_by_name():
    labels = Y[:, 0] > 0.0
    squared = BundledNetworkClassifier((8,)).fit(X, labels)
    assert not hasattr(squared, "predict_proba")
    with pytest.raises(AttributeError, match=r"has no attribute 'predict_log_proba'"):
        squared.predict_log_proba(X)
    assert not hasattr(squared.set_params(loss="log_loss"), "predict_proba")  # it was not fitted so
    assert hasattr(squared.fit(X, labels), "predict_proba")
    assert not hasattr(squared, "partial_fit")
    with pytest.raises(AttributeError) as caught:
        squared.partial_fit(X, labels)
    assert "none of loss='log_loss': use loss=\"squared\", or call fit" in str(caught.value.__cause__)
    with pytest.raises(ValueError, match=r"loss='hinge': choose from: squared, log_loss"):
        squared.set_params(loss="hinge").fit(X, labels)
    with pytest.raises(ValueError, match=r"at least two classes"):
        squared.set_params(loss="log_loss").fit(X, np.zeros(120))


@pytest.mark.parametrize("alpha", [10.0, 1e-4])
def test_a_changed_alpha_counts_for_all_rows(alpha):
    labels = Y[:, 0] > 0.0
    for model, y in ((BundledNetworkRegressor((30,), alpha=0.1), Y), (BundledNetworkClassifier((30,)), labels)):
        expected = clone(model).set_params(alpha=alpha).fit(X, y).predict(X)
        found = model.fit(X[:80], y[:80]).set_params(alpha=alpha).partial_fit(X[80:], y[80:]).predict(X)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8)
    with pytest.raises(ValueError, match=r"alpha must be > 0"):
        model.set_params(alpha=0.0).partial_fit(X, labels)


def test_an_alpha_too_small_for_the_rows_before_is_refused():
    model = BundledNetworkRegressor((30,), alpha=1e3).fit(X[:5], Y[:5])
    with pytest.raises(ValueError, match=r"alpha was 1000.0 for the rows before, and at 1e-30"):
        model.set_params(alpha=1e-30).partial_fit(X, Y)


@pytest.mark.parametrize(
    "changed",
    [{"layers": [16]}, {"activation": "sin"}, {"length": 1.0}, {"method": "iid"}, {"random_state": 1}],
    ids=str,
)
def test_other_arguments_cannot_change_between_batches(changed):
    (name,) = changed
    for model, y in ((BundledNetworkRegressor([30]), Y), (BundledNetworkClassifier((30,)), Y[:, 0] > 0.0)):
        model.fit(X, y).set_params(**changed, alpha=2.0)
        with pytest.raises(
            ValueError,
            match=rf"other arguments: alpha was .*{name} was .* call fit, which begins|{name} was .*alpha was",
        ):
            model.partial_fit(X, y)
        assert model.fit(X, y).partial_fit(X, y).n_samples_seen_ == 240


def test_files_from_before_there_was_a_choice_of_loss_are_read(tmp_path):
    model = BundledNetworkClassifier((8,)).fit(X, Y[:, 0] > 0.0)
    del model.loss, model._begun_with
    model.save(tmp_path / "model")
    loaded = BundledNetworkClassifier.load(tmp_path / "model")
    assert loaded.loss == "squared"
    assert loaded.partial_fit(X, Y[:, 0] > 0.0).n_samples_seen_ == 240
