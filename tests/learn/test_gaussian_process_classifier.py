import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from scipy.special import erf
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier as Twin
from sklearn.gaussian_process import _gpc
from sklearn.gaussian_process import kernels as theirs
from sklearn.model_selection import GridSearchCV

from mercer.errors import ApproximationWarning
from mercer.kernels import RBF, Matern, White
from mercer.learn import GaussianProcessClassifier, laplace, learning_rows
from mercer.learn.logistic_normal import logistic_normal

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
VALUES = np.sin(2 * X[:, 0]) + X[:, 1] + 0.3 * RNG.normal(size=60)
Y = np.where(VALUES > 0, "up", "down")
THREE = np.digitize(VALUES, [-0.5, 0.5])
Z = 1.5 * RNG.normal(size=(15, 2))
PAIRS = [
    (2.0 * RBF(0.8), theirs.ConstantKernel(2.0) * theirs.RBF(0.8)),
    (Matern([0.5, 2.0], nu=2.5) + White(0.1), theirs.Matern([0.5, 2.0], nu=2.5) + theirs.WhiteKernel(0.1)),
]


def five_error_functions(mean, variance):
    """scikit-learn's approximation of the logistic integral (Williams & Barber), from its own constants."""
    alpha = 1 / (2 * variance)
    gamma = _gpc.LAMBDAS * mean
    integrals = np.sqrt(np.pi / alpha) * erf(gamma * np.sqrt(alpha / (alpha + _gpc.LAMBDAS**2)))
    integrals /= 2 * np.sqrt(variance * 2 * np.pi)
    return (_gpc.COEFS * integrals).sum(axis=0) + 0.5 * _gpc.COEFS.sum()


@pytest.mark.parametrize(("ours", "twins"), PAIRS, ids=repr)
def test_the_posterior_and_the_likelihood_are_the_twins_at_equal_hyperparameters(ours, twins):
    model = GaussianProcessClassifier(ours, optimizer=None).fit(X, Y)
    twin = Twin(twins, optimizer=None).fit(X, Y)
    latent = model.latent_mean_and_variance(Z)
    np.testing.assert_allclose(latent, twin.latent_mean_and_variance(Z), atol=1e-7)
    assert model.log_marginal_likelihood() == pytest.approx(twin.log_marginal_likelihood(), abs=1e-8)
    assert (model.predict(Z) == twin.predict(Z)).all()
    # The same integral as theirs gives the same numbers; the exact one, which predict_proba has, is up to 2e-4 away.
    np.testing.assert_allclose(five_error_functions(*latent), twin.predict_proba(Z)[:, 1], atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(Z), twin.predict_proba(Z), atol=3e-4)


def test_the_gradient_is_the_twins():
    _, twins = PAIRS[1]
    model, twin = (kind(twins, optimizer=None).fit(X, Y) for kind in (GaussianProcessClassifier, Twin))
    theta = twin.kernel_.theta + 0.1
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    expected, expected_gradient = twin.log_marginal_likelihood(theta, eval_gradient=True)
    assert value == pytest.approx(expected)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


@pytest.mark.parametrize("mode", ["one_vs_rest", "one_vs_one"])
def test_three_classes_are_the_twins(mode):
    ours, twins = PAIRS[0]
    model = GaussianProcessClassifier(ours, optimizer=None, multi_class=mode).fit(X, THREE)
    twin = Twin(twins, optimizer=None, multi_class=mode).fit(X, THREE)
    assert (model.predict(Z) == twin.predict(Z)).all()
    assert model.log_marginal_likelihood() == pytest.approx(twin.log_marginal_likelihood())
    assert len(model.kernel_) == 3
    if mode == "one_vs_rest":
        np.testing.assert_allclose(model.predict_proba(Z), twin.predict_proba(Z), atol=5e-4)
        return
    with pytest.raises(ValueError, match="one_vs_one multi-class mode does not support"):
        model.predict_proba(Z)


def test_learning_finds_the_twins_hyperparameters():
    _, twins = PAIRS[0]
    model, twin = (kind(twins).fit(X, Y) for kind in (GaussianProcessClassifier, Twin))
    np.testing.assert_allclose(model.theta_, twin.kernel_.theta, atol=1e-3)
    assert type(model.kernel_) is type(twin.kernel_)


def test_the_logistic_integral_is_that_of_adaptive_quadrature():
    for mean, variance in [(0.0, 0.5), (-3.0, 0.99), (2.0, 1.01), (8.0, 40.0), (-30.0, 300.0)]:
        scale = np.sqrt(variance)
        steps = np.clip(-mean / scale + np.array([-5, 0, 5]) / scale, -9.9, 9.9)
        expected, _ = quad(
            lambda z, m=mean, s=scale: np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) / (1 + np.exp(-(m + s * z))),
            -10,
            10,
            points=steps,
            epsabs=1e-14,
            limit=400,
        )
        found = logistic_normal(*torch.tensor([[mean], [variance]], dtype=torch.float64))
        assert float(found) == pytest.approx(expected, abs=1e-12)


def test_many_rows_give_the_same_without_a_stored_matrix(monkeypatch):
    exact = GaussianProcessClassifier(PAIRS[0][0], optimizer=None).fit(X, Y)
    monkeypatch.setattr(laplace, "EXACT", 10)
    monkeypatch.setattr(learning_rows, "EXACT", 10)
    iterative = GaussianProcessClassifier(PAIRS[0][0], optimizer=None).fit(X, Y)
    np.testing.assert_allclose(iterative.predict_proba(Z), exact.predict_proba(Z), atol=1e-7)
    assert iterative.log_marginal_likelihood() == pytest.approx(exact.log_marginal_likelihood(), rel=0.05)
    monkeypatch.setattr(laplace, "EXACT", 5000)
    with pytest.warns(ApproximationWarning, match="learnt on 2000 of 60 rows"):
        GaussianProcessClassifier(RBF(), random_state=0).fit(X, Y)


def test_hyperparameters_from_a_subset_and_predictions_from_all_rows():
    model = GaussianProcessClassifier(RBF(), subset=30, random_state=0).fit(X, Y)
    rows = model.subset_indices_
    assert len(rows) == 30
    alone = GaussianProcessClassifier(RBF()).fit(X[rows], Y[rows])
    np.testing.assert_allclose(model.theta_, alone.theta_)
    assert model.log_marginal_likelihood() == pytest.approx(alone.log_marginal_likelihood())
    everything = GaussianProcessClassifier(model.kernel_, optimizer=None).fit(X, Y)
    np.testing.assert_allclose(model.predict_proba(Z), everything.predict_proba(Z))


def test_too_few_newton_steps_warn():
    with pytest.warns(ConvergenceWarning, match="has not converged in 1 steps"):
        GaussianProcessClassifier(4.0 * RBF(), optimizer=None, max_iter_predict=1).fit(X, Y)


@pytest.mark.parametrize(
    ("arguments", "targets", "message"),
    [
        ({"multi_class": "all"}, Y, "multi_class must be 'one_vs_rest' or 'one_vs_one', not 'all'"),
        ({}, np.full(60, 3), r"requires 2 or more distinct classes; got 1 class \(only class 3"),
        ({"subset": 0}, Y, "subset must be a whole number >= 2"),
    ],
)
def test_mistakes_are_named(arguments, targets, message):
    with pytest.raises(ValueError, match=message):
        GaussianProcessClassifier(**arguments).fit(X, targets)


def test_theta_of_another_length():
    model = GaussianProcessClassifier(PAIRS[0][0], optimizer=None).fit(X, THREE)
    with pytest.raises(ValueError, match="Shape of theta must be either 2 or 6"):
        model.log_marginal_likelihood(np.zeros(3))
    with pytest.raises(NotImplementedError, match="not implemented for multi-class"):
        model.log_marginal_likelihood(np.zeros(2), eval_gradient=True)


def test_tables_tensors_clones_and_single_precision():
    table = pd.DataFrame(X, columns=["a", "b"])
    model = GaussianProcessClassifier(RBF().on("a"), optimizer=None)
    assert clone(model).fit(table, Y).predict_proba(table).shape == (60, 2)
    single = clone(model).set_params(kernel=RBF()).fit(X.astype(np.float32), Y)
    assert single.predict_proba(X.astype(np.float32)).dtype == np.float32
    tensors = clone(single).fit(torch.from_numpy(X), torch.from_numpy(THREE))
    found = tensors.predict_proba(torch.from_numpy(X))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.sum(1), 1.0)


def test_grid_search_reaches_the_lengthscale():
    search = GridSearchCV(
        GaussianProcessClassifier(RBF(), optimizer=None), {"kernel__lengthscale": [0.01, 1.0]}, cv=3
    ).fit(X, Y)
    assert search.best_params_ == {"kernel__lengthscale": 1.0}


@pytest.mark.parametrize("targets", [Y, THREE], ids=["two", "three"])
def test_saved_and_loaded(targets, tmp_path):
    model = GaussianProcessClassifier(RBF(), subset=40, random_state=0).fit(X, targets)
    model.save(tmp_path / "model")
    loaded = GaussianProcessClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(Z), model.predict_proba(Z))
    assert loaded.log_marginal_likelihood() == pytest.approx(model.log_marginal_likelihood())


@pytest.mark.slow(reason="200 fits")
def test_probabilities_are_calibrated_over_200_data_sets_drawn_from_the_model():
    rng = np.random.default_rng(0)
    stated, seen = [], []
    for _ in range(200):
        points = rng.uniform(0, 4, size=(60, 1))
        K = 4.0 * np.exp(-0.5 * (points - points.T) ** 2) + 1e-9 * np.eye(60)
        labels = (rng.random(60) < 1 / (1 + np.exp(-np.linalg.cholesky(K) @ rng.normal(size=60)))).astype(int)
        if labels[:40].min() == labels[:40].max():
            continue
        model = GaussianProcessClassifier(4.0 * RBF(1.0), optimizer=None).fit(points[:40], labels[:40])
        stated.append(model.predict_proba(points[40:])[:, 1])
        seen.append(labels[40:])
    stated, seen = np.concatenate(stated), np.concatenate(seen)
    group = np.digitize(stated, [0.2, 0.4, 0.6, 0.8])
    for g in range(5):
        # Rows of one data set are alike, so the error is larger than that of so many coins: 0.05 is about 3 deviations.
        assert seen[group == g].mean() == pytest.approx(stated[group == g].mean(), abs=0.05)
