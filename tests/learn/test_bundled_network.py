"""Bundled networks: ridge regression on their features, exact in every order of rows, the same after saving."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

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
