"""Predicted learning curves against fits."""

import numpy as np
import pytest

from mercer.errors import ShapeError
from mercer.kernels import RBF, Linear
from mercer.learn import KernelRidge, LearningCurve, predicted_learning_curve

RNG = np.random.default_rng(0)


def measured(kernel, X, y, sizes, alpha, n_repeats=20):
    model = KernelRidge(kernel=kernel, alpha=alpha)
    curve = LearningCurve(model, sizes=sizes, n_repeats=n_repeats, test_size=0.5, random_state=0)
    return curve.fit(X, y).errors_.mean(1)


def test_ridge_regression_of_many_columns_has_the_predicted_error():
    # for normal columns the formula is exact as columns and rows grow; 20 draws have a spread of 2 %
    X = RNG.normal(size=(2000, 60))
    y = X @ RNG.normal(size=60) / 8 + 0.5 * RNG.normal(size=2000)
    kernel, sizes = Linear(bias=0.0), [30, 120, 250]
    found = predicted_learning_curve(kernel, X, y, sizes, alpha=5.0)
    np.testing.assert_allclose(found, measured(kernel, X, y, sizes, 5.0), rtol=0.1)


def test_the_better_kernel_and_several_targets():
    X = RNG.normal(size=(800, 6))
    y = np.stack([X[:, 0] * X[:, 1], X[:, 2]], 1)
    good, bad = RBF(lengthscale=4.0), RBF(lengthscale=0.7)
    sizes = [20, 50, 100]
    ours = [predicted_learning_curve(kernel, X, y, sizes, alpha=1e-3) for kernel in (good, bad)]
    assert (ours[0] < ours[1]).all()
    assert (np.diff(ours[0]) < 0).all()
    parts = [predicted_learning_curve(good, X, y[:, j], sizes, alpha=1e-3) * y[:, j].var() for j in (0, 1)]
    np.testing.assert_allclose(ours[0], np.mean(parts, 0) / y.var(0).mean())


def test_fewer_features_than_rows_without_alpha_are_learnt():
    X = RNG.normal(size=(400, 3))
    assert predicted_learning_curve("Linear()", X, X @ [1.0, 2.0, 3.0], [20], alpha=0.0)[0] < 1e-12


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sizes": [101]}, ValueError, "1 to 100 training rows can be told. LearningCurve measures"),
        ({"sizes": []}, ValueError, "1 to 100"),
        ({"alpha": -1.0}, ValueError, "alpha=-1.0 must be >= 0"),
        ({"y": np.ones(800)}, ValueError, "y must not be constant"),
        ({"y": np.ones(5)}, ShapeError, r"not \(800, 2\) and \(5,\)"),
        ({"y": np.full(800, np.nan)}, ValueError, "y contains NaN"),
        ({"kernel": "Foo()"}, ValueError, "there is no 'Foo'"),
    ],
)
def test_what_is_wrong_is_said(change, error, message):
    X = np.linspace(0.0, 1.0, 1600).reshape(800, 2)
    given = {"kernel": RBF(), "X": X, "y": X[:, 0], "sizes": [10]} | change
    with pytest.raises(error, match=message):
        predicted_learning_curve(**given)
