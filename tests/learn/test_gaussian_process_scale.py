"""Gaussian processes through the plans: Fourier series, weight space, grids; further rows; intervals."""

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import kernels as theirs

from mercer.errors import ApproximationWarning, PerformanceWarning
from mercer.kernels import RBF, Linear, Matern, White
from mercer.learn import GaussianProcessRegressor, gaussian_process_conditioning, marginal_likelihood, posterior
from mercer.operators.solvers import CholeskyFactor, NotPositiveDefinite, System, cholesky

RNG = np.random.default_rng(0)
X = RNG.random((150, 2))
Y = np.sin(5 * X[:, 0]) + X[:, 1] + 0.1 * RNG.normal(size=150)
Z = np.vstack([RNG.random((20, 2)), [[1.5, -0.5]]])  # the last is outside of the data's box
KERNEL = 1.3 * RBF(0.5) + White(0.05)
BY_ROW = np.linspace(0.05, 0.2, 150)


def predictions(model, points=Z):
    mean, std = model.predict(points, return_std=True)
    return np.stack([mean, std])


@pytest.mark.parametrize(
    ("kernel", "arguments"),
    [
        (KERNEL, {}),
        (KERNEL, {"normalize_y": True, "alpha": 0.01}),
        (KERNEL, {"noise": BY_ROW}),
        (RBF([0.5, 0.9]) + 0.2 * RBF(1.0), {"noise": 0.1}),
        (theirs.RBF(0.5) + theirs.WhiteKernel(0.05), {}),
    ],
    ids=["white", "normalised", "noise by row", "two lengthscales", "scikit-learn's"],
)
def test_a_fourier_series_predicts_as_the_dense_matrix_does(kernel, arguments):
    exact = GaussianProcessRegressor(kernel, optimizer=None, **arguments).fit(X, Y)
    series = GaussianProcessRegressor(kernel, optimizer=None, tolerance=1e-10, **arguments).fit(X, Y)
    assert (exact.plan_.name, series.plan_.name) == ("cholesky", "fourier")
    np.testing.assert_allclose(predictions(series), predictions(exact), atol=1e-6)
    np.testing.assert_allclose(series.predict(Z, return_cov=True)[1], exact.predict(Z, return_cov=True)[1], atol=1e-6)
    np.testing.assert_allclose(series.alpha_, exact.alpha_, rtol=1e-5, atol=1e-5)
    value, slope = series.log_marginal_likelihood(series.theta_, eval_gradient=True)
    expected, expected_slope = exact.log_marginal_likelihood(exact.theta_, eval_gradient=True)
    assert value == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(slope, expected_slope, atol=1e-3)


def test_learning_by_a_fourier_series_finds_the_same_hyperparameters():
    exact = GaussianProcessRegressor(KERNEL).fit(X, Y)
    series = GaussianProcessRegressor(KERNEL, tolerance=1e-8).fit(X, Y)
    np.testing.assert_allclose(series.theta_, exact.theta_, atol=0.02)
    assert series.log_marginal_likelihood_value_ == pytest.approx(exact.log_marginal_likelihood_value_, abs=1e-2)


def test_the_model_says_what_it_did_and_why():
    series = GaussianProcessRegressor(KERNEL, optimizer=None, tolerance=1e-6).fit(X, Y)
    assert series.plan_.error == 1e-6
    assert "a Fourier series of the kernel" in str(series.plan_)
    assert "right to 1e-06 of k(0)" in str(series.plan_)
    with pytest.raises(AttributeError, match="no L_ with plan 'fourier'"):
        _ = series.L_
    exact = GaussianProcessRegressor(KERNEL + Linear(), optimizer=None, tolerance=1e-6).fit(X, Y)
    assert exact.plan_.name == "cholesky"
    assert "not stationary" in str(exact.plan_)
    assert exact.plan_.error == 0.0


def test_many_rows_without_a_tolerance_name_the_quicker_way(monkeypatch):
    monkeypatch.setattr(gaussian_process_conditioning, "EXACT", 100)
    keep = {"optimizer": lambda objective, theta, bounds: (theta, 0.0)}
    with pytest.warns(PerformanceWarning, match=r"150 rows are learnt .* With tolerance=1e-6, .* subset=5000"):
        GaussianProcessRegressor(KERNEL, **keep).fit(X, Y)
    for kernel, arguments in [(KERNEL, {"subset": 50}), (KERNEL + Linear(), {}), (KERNEL, {"tolerance": 1e-6})]:
        GaussianProcessRegressor(kernel, **keep, **arguments).fit(X, Y)  # warnings are errors here


def test_what_no_series_serves_is_exact_and_says_so_once():
    kernel = Matern(0.05, nu=0.5) + White(0.1)
    with pytest.warns(ApproximationWarning, match=r"tolerance=1e-08: no Fourier series.*exactly and more slowly"):
        model = GaussianProcessRegressor(kernel, optimizer=None, tolerance=1e-8).fit(X, Y)
    exact = GaussianProcessRegressor(kernel, optimizer=None).fit(X, Y)
    assert "no Fourier series" in model.plan_.reason
    np.testing.assert_array_equal(predictions(model), predictions(exact))


@pytest.mark.slow(reason="17,000 rows, from which on a Fourier series takes part in a sum")
def test_a_stationary_kernel_with_a_trend_solves_the_equations_of_its_entries():
    points = np.random.default_rng(1).random((17_000, 2))
    y = np.sin(5 * points[:, 0]) + 3 * points[:, 1]
    kernel = 1.3 * RBF(0.5) + 0.7 * Linear(bias=1.0)
    model = GaussianProcessRegressor(kernel + White(0.05), optimizer=None, tolerance=1e-10).fit(points, y)
    assert model.plan_.name == "weights"
    assert 0.0 < model.plan_.error <= 1e-10
    rows = kernel(points[:50], points).to_dense().numpy()
    np.testing.assert_allclose(rows @ model.alpha_ + 0.05 * model.alpha_[:50], y[:50], atol=1e-4)
    np.testing.assert_allclose(model.predict(points[:50]), rows @ model.alpha_, atol=1e-6)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 1.0])
def test_a_tolerance_is_an_error_between_0_and_1(tolerance):
    with pytest.raises(ValueError, match="between 0 and 1"):
        GaussianProcessRegressor(KERNEL, tolerance=tolerance).fit(X, Y)


@pytest.mark.parametrize(
    ("kernel", "name", "on_grid"),
    [(2.0 * Linear(bias=0.5) + White(0.1), "weights", False), (RBF(0.3) + White(0.1), "kronecker", True)],
    ids=["weights", "kronecker"],
)
def test_structure_gives_exact_likelihoods_and_predictions_beyond_the_limit(kernel, name, on_grid, monkeypatch):
    rng = np.random.default_rng(1)
    axis = np.linspace(0.0, 1.0, 34)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2) if on_grid else rng.random((1100, 2))
    y = points @ [1.0, -2.0] + 0.3 * rng.normal(size=len(points))
    exact = GaussianProcessRegressor(kernel, optimizer=None).fit(points, y)
    value, slope = exact.log_marginal_likelihood(exact.theta_, eval_gradient=True)
    expected = predictions(exact)
    for module in (marginal_likelihood, posterior):
        monkeypatch.setattr(module, "EXACT", 100)
    model = GaussianProcessRegressor(kernel, optimizer=None).fit(points, y)
    assert model.plan_.name == name
    found, gradient = model.log_marginal_likelihood(model.theta_, eval_gradient=True)
    assert found == pytest.approx(value, rel=1e-8)
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(predictions(model), expected, atol=1e-7)


# further rows


@pytest.mark.parametrize("arguments", [{}, {"noise": 0.02}], ids=["white", "noise"])
@pytest.mark.parametrize("plan", ["cholesky", "fourier", "iterative"])
def test_further_rows_give_the_model_of_all_rows(plan, arguments, monkeypatch):
    if plan == "iterative":
        for module in (marginal_likelihood, posterior):
            monkeypatch.setattr(module, "EXACT", 10)
        monkeypatch.setattr(posterior.Posterior, "_fits", lambda self: False)
    tolerance = 1e-12 if plan == "fourier" else None
    order = np.argsort(np.abs(X - 0.5).max(1))[::-1]  # the box of the first is that of all
    points, y = X[order], Y[order]
    whole = GaussianProcessRegressor(KERNEL, optimizer=None, tolerance=tolerance, **arguments).fit(points, y)
    grown = GaussianProcessRegressor(KERNEL, optimizer=None, tolerance=tolerance, **arguments).fit(points[:90], y[:90])
    grown.partial_fit(points[90:130], y[90:130]).partial_fit(points[130:], y[130:])
    assert grown.plan_.name == whole.plan_.name == plan
    near = 1e-5 if plan == "iterative" else 1e-8  # solves to a residual of 1e-6
    np.testing.assert_allclose(predictions(grown), predictions(whole), atol=near)
    np.testing.assert_allclose(grown.alpha_, whole.alpha_, atol=100 * near)
    np.testing.assert_array_equal(grown.X_train_, points)
    if plan != "iterative":
        assert grown.log_marginal_likelihood() == pytest.approx(whole.log_marginal_likelihood(), abs=1e-6)


def test_rows_outside_of_the_box_are_taken_too():
    far = GaussianProcessRegressor(KERNEL, optimizer=None, tolerance=1e-10).fit(X[:100] * 0.5, Y[:100])
    far.partial_fit(X[100:], Y[100:])
    whole = GaussianProcessRegressor(KERNEL, optimizer=None).fit(np.vstack([X[:100] * 0.5, X[100:]]), Y)
    np.testing.assert_allclose(predictions(far), predictions(whole), atol=1e-6)


def test_noise_of_further_rows_and_the_first_call():
    noisy = GaussianProcessRegressor(KERNEL, optimizer=None, noise=BY_ROW).fit(X, Y)
    first = GaussianProcessRegressor(KERNEL, optimizer=None, noise=BY_ROW[:100]).partial_fit(X[:100], Y[:100])
    with pytest.raises(ValueError, match=r"so the new rows need theirs: noise=array"):
        first.partial_fit(X[100:], Y[100:])
    with pytest.raises(ValueError, match="one variance or 50"):
        first.partial_fit(X[100:], Y[100:], noise=[1.0, 2.0])
    first.partial_fit(X[100:], Y[100:], noise=BY_ROW[100:])
    np.testing.assert_allclose(predictions(first), predictions(noisy), atol=1e-8)
    with pytest.raises(ValueError, match="has 1 targets, the new y has 2"):
        first.partial_fit(X, np.stack([Y, Y], 1))


def test_further_rows_keep_the_normalisation():
    model = GaussianProcessRegressor(KERNEL, optimizer=None, normalize_y=True).fit(X[:100], Y[:100])
    location, scale = model._y_train_mean, model._y_train_std
    model.partial_fit(torch.from_numpy(X[100:]), Y[100:])
    by_hand = GaussianProcessRegressor(KERNEL, optimizer=None).fit(X, (Y - location) / scale)
    np.testing.assert_allclose(predictions(model)[0], predictions(by_hand)[0] * scale + location, atol=1e-8)


def test_an_extended_factor_is_that_of_the_whole_matrix():
    M = torch.from_numpy(RBF(0.5)(X).to_dense().numpy()).double() + 0.1 * torch.eye(150, dtype=torch.float64)
    whole = cholesky(System(M)).buffer.tril()
    grown = cholesky(System(M[:90, :90])).extended(M[90:, :90], M[90:, 90:])
    assert isinstance(grown, CholeskyFactor)
    torch.testing.assert_close(grown.buffer.tril(), whole)
    with pytest.raises(NotPositiveDefinite, match="row 90 of 150"):
        cholesky(System(M[:90, :90])).extended(M[90:, :90], -M[90:, 90:])


def test_a_saved_series_predicts_the_same(tmp_path):
    model = GaussianProcessRegressor(KERNEL, tolerance=1e-9, optimizer=None).fit(X, Y)
    model.save(tmp_path / "model.safetensors")
    loaded = GaussianProcessRegressor.load(tmp_path / "model.safetensors")
    assert loaded.plan_ == model.plan_
    np.testing.assert_allclose(predictions(loaded), predictions(model), atol=1e-9)
    np.testing.assert_allclose(
        predictions(loaded.partial_fit(X[:5], Y[:5])), predictions(model.partial_fit(X[:5], Y[:5])), atol=1e-9
    )


# intervals


@pytest.mark.slow(reason="200 data sets")
@pytest.mark.parametrize("tolerance", [None, 1e-6], ids=["dense", "fourier"])
def test_intervals_of_known_hyperparameters_cover_95_percent_over_200_data_sets(tolerance):
    kernel, covered = 2.0 * RBF(0.7) + White(0.09), []
    for seed in range(40):  # sets of points, each with five draws of targets: nothing is learnt, so one fit takes five
        rng = np.random.default_rng(seed)
        points = rng.uniform(0, 5, size=(80, 1))
        K = (2.0 * RBF(0.7))(points).to_dense().numpy()
        y = np.linalg.cholesky(K + 0.09 * np.eye(80)) @ rng.normal(size=(80, 5))
        model = GaussianProcessRegressor(kernel, optimizer=None, tolerance=tolerance).fit(points[:50], y[:50])
        _, lower, upper = model.predict(points[50:], interval=0.95)
        covered.append(np.mean((lower <= y[50:]) & (y[50:] <= upper)))
    assert 0.93 <= np.mean(covered) <= 0.97
