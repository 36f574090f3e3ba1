import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_moons
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import log_loss

from mercer.kernels import RBF
from mercer.learn import KernelRidge, KernelRidgeClassifier

MOONS = make_moons(300, noise=0.25, random_state=0)
DIGITS = load_digits(n_class=4, return_X_y=True)


def test_binary_decisions_are_the_regression_on_plus_and_minus_1():
    X, y = MOONS[0], MOONS[1] * (MOONS[0][:, 0] > 0)  # of unequal size
    model = KernelRidgeClassifier(0.1, kernel="rbf").fit(X, y)
    codes = np.where(y == 1, 1.0, -1.0)
    assert abs(codes.mean()) > 0.1
    regression = KernelRidge(0.1, kernel="rbf").fit(X, codes - codes.mean())
    np.testing.assert_allclose(model.decision_function(X), regression.predict(X) + codes.mean(), atol=1e-10)
    assert model.dual_coef_.shape == (300,)
    assert (model.predict(X) == (model.decision_function(X) > 0)).all()


def test_linear_decisions_on_centred_columns_are_those_of_ridge_classifier():
    X, y = MOONS
    X = X - X.mean(0)
    ours = KernelRidgeClassifier(2.0).fit(X, y)
    twin = RidgeClassifier(2.0).fit(X, y)
    np.testing.assert_allclose(ours.decision_function(X), twin.decision_function(X), atol=1e-8)


def test_several_classes_with_names():
    X, y = DIGITS
    names = np.array(["zero", "one", "two", "three"])[y]
    model = KernelRidgeClassifier(0.1, kernel="rbf", gamma=1e-3).fit(X[:400], names[:400])
    assert model.classes_.tolist() == ["one", "three", "two", "zero"]
    assert model.decision_function(X[:5]).shape == (5, 4)
    assert model.score(X[400:], names[400:]) > 0.97


@pytest.mark.parametrize("n_centers", [None, 40])
def test_centres(n_centers):
    X, y = DIGITS
    model = KernelRidgeClassifier(0.1, kernel="rbf", gamma=1e-3, n_centers=n_centers).fit(X[:400], y[:400])
    assert model.score(X[400:], y[400:]) > 0.9


def test_probabilities_are_calibrated_on_new_rows():
    X, y = make_moons(2600, noise=0.35, random_state=1)
    model = KernelRidgeClassifier(1.0, kernel="rbf", gamma=2.0, probability=True).fit(X[:600], y[:600])
    p = model.predict_proba(X[600:])
    np.testing.assert_allclose(p.sum(1), 1.0)
    assert (model.classes_[p.argmax(1)] == model.predict(X[600:])).all()
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        inside = (p[:, 1] >= low) & (p[:, 1] < high)
        assert abs(y[600:][inside].mean() - p[inside, 1].mean()) < 0.1
    assert log_loss(y[600:], p) < 0.36  # 0.69 by guessing; a logistic regression gets 0.41


def test_probabilities_of_several_classes():
    X, y = DIGITS
    model = KernelRidgeClassifier(0.1, kernel="rbf", gamma=1e-3, probability=True).fit(X[:200], y[:200])
    p = model.predict_proba(X[200:])
    assert (p.argmax(1) == model.predict(X[200:])).all()
    assert log_loss(y[200:], p) < 0.2


def test_probabilities_must_be_asked_for_at_fit():
    model = KernelRidgeClassifier().fit(*MOONS)
    assert not hasattr(model, "predict_proba")
    with pytest.raises(AttributeError, match="predict_proba"):
        model.predict_proba(MOONS[0])


def test_class_weights():
    X, y = MOONS
    few = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:15]])
    plain = KernelRidgeClassifier(1.0, kernel="rbf").fit(X[few], y[few])
    balanced = KernelRidgeClassifier(1.0, kernel="rbf", class_weight="balanced").fit(X[few], y[few])
    by_rows = KernelRidgeClassifier(1.0, kernel="rbf").fit(
        X[few], y[few], sample_weight=np.where(y[few] == 0, 165 / 300, 165 / 30)
    )
    both = KernelRidgeClassifier(1.0, kernel="rbf", class_weight={0: 2.0, 1: 1.0}).fit(X, y, sample_weight=1 + y)
    np.testing.assert_allclose(
        both.decision_function(X), KernelRidgeClassifier(0.5, kernel="rbf").fit(X, y).decision_function(X), atol=1e-8
    )
    assert balanced.predict(X).mean() > plain.predict(X).mean()
    np.testing.assert_allclose(balanced.decision_function(X), by_rows.decision_function(X), atol=1e-8)


def test_tensors_in_values_out():
    X, y = MOONS
    model = KernelRidgeClassifier(kernel=RBF(), probability=True).fit(torch.from_numpy(X), torch.from_numpy(y))
    assert isinstance(model.decision_function(torch.from_numpy(X)), torch.Tensor)
    assert isinstance(model.predict_proba(torch.from_numpy(X)), torch.Tensor)
    assert model.predict(torch.from_numpy(X)).dtype == y.dtype


def test_bad_targets():
    X, y = MOONS
    with pytest.raises(ValueError, match="at least two classes, but y has one class: 3"):
        KernelRidgeClassifier().fit(X, np.full(300, 3))
    with pytest.raises(ValueError, match="Unknown label type"):
        KernelRidgeClassifier().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="with n_centers the training rows are not kept"):
        KernelRidgeClassifier(kernel="rbf", probability=True, n_centers=5).fit(X, y)
    with pytest.raises(ValueError, match="alpha must be a finite number >= 0, not -1"):
        KernelRidgeClassifier(-1).fit(X, y)
