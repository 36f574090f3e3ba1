import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import RidgeCV
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, KFold

from mercer.kernels import RBF
from mercer.learn import KernelRidge, KernelRidgeCV

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.column_stack([np.sin(X[:, 0]), X[:, 1] ** 2]) + 0.1 * RNG.normal(size=(60, 2))
Z = RNG.normal(size=(15, 3))
ALPHAS = [1e-3, 1e-2, 0.1, 1.0, 10.0]
WEIGHTS = RNG.random(60)


def test_linear_leave_one_out_agrees_with_scikit_learns_ridge_cv():
    ours = KernelRidgeCV(ALPHAS).fit(X, Y[:, 1])
    twin = RidgeCV(ALPHAS, fit_intercept=False).fit(X, Y[:, 1])
    assert ours.alpha_ == twin.alpha_
    np.testing.assert_allclose(ours.best_score_, twin.best_score_)
    np.testing.assert_allclose(ours.predict(Z), twin.predict(Z), atol=1e-10)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("arguments", [{}, {"kernel": "rbf"}, {"kernel": "rbf", "n_centers": 20}], ids=str)
def test_the_chosen_model_is_that_of_kernel_ridge(arguments, weights):
    ours = KernelRidgeCV(ALPHAS, **arguments).fit(X, Y, sample_weight=weights)
    direct = KernelRidge(ours.alpha_, **arguments).fit(X, Y, sample_weight=weights)
    np.testing.assert_allclose(ours.predict(Z), direct.predict(Z), atol=1e-8)
    errors = np.average(ours.leave_one_out() ** 2, axis=0, weights=weights).mean()
    np.testing.assert_allclose(ours.best_score_, -errors)
    assert ours.scores_.shape == (5,)


@pytest.mark.parametrize("arguments", [{}, {"kernel": "rbf"}, {"kernel": "rbf", "n_centers": 999}], ids=str)
def test_cross_validation_agrees_with_a_grid_search(arguments):
    folds = KFold(4, shuffle=True, random_state=0)
    ours = KernelRidgeCV(ALPHAS, cv=folds, scoring="r2", **arguments).fit(X, Y)
    exact = {k: v for k, v in arguments.items() if k != "n_centers"}
    search = GridSearchCV(KernelRidge(**exact), {"alpha": ALPHAS}, cv=folds).fit(X, Y)
    np.testing.assert_allclose(ours.scores_, search.cv_results_["mean_test_score"], atol=1e-6)
    assert ours.alpha_ == search.best_params_["alpha"]
    np.testing.assert_allclose(ours.predict(Z), search.predict(Z), atol=1e-6)


def test_precomputed_values_and_sparse_rows():
    direct = KernelRidgeCV(ALPHAS, kernel="rbf", cv=3).fit(X, Y)
    values = KernelRidgeCV(ALPHAS, kernel="precomputed", cv=3).fit(rbf_kernel(X), Y)
    thin = KernelRidgeCV(ALPHAS, kernel="rbf", cv=3).fit(sparse.csr_array(X), Y)
    np.testing.assert_allclose(values.predict(rbf_kernel(Z, X)), direct.predict(Z), atol=1e-10)
    np.testing.assert_allclose(thin.predict(Z), direct.predict(Z), atol=1e-10)


def test_intervals_come_from_the_leave_one_out_errors_with_centres_too():
    model = KernelRidgeCV(ALPHAS, kernel="rbf", n_centers=20).fit(X, Y[:, 0])
    _, lower, upper = model.predict(Z, interval=0.8)
    errors = np.sort(np.abs(model.leave_one_out()))
    np.testing.assert_allclose(upper - lower, 2 * errors[48])  # ceil(61 * 0.8) = 49th smallest


def test_intervals_after_cross_validation():
    model = KernelRidgeCV(ALPHAS, kernel="rbf", cv=3).fit(X, Y[:, 0])
    expected = KernelRidge(model.alpha_, kernel="rbf").fit(X, Y[:, 0]).predict(Z, interval=0.8)
    np.testing.assert_allclose(model.predict(Z, interval=0.8), expected, atol=1e-10)


def test_tensors_in_tensors_out():
    model = KernelRidgeCV(ALPHAS, kernel=RBF()).fit(torch.from_numpy(X), torch.from_numpy(Y))
    assert isinstance(model.predict(torch.from_numpy(Z)), torch.Tensor)
    assert isinstance(model.leave_one_out(), torch.Tensor)


@pytest.mark.parametrize("alphas", [[], [-1.0], [[1.0]], [np.nan]])
def test_bad_alphas(alphas):
    with pytest.raises(ValueError, match="alphas must be a list of numbers >= 0"):
        KernelRidgeCV(alphas).fit(X, Y)
