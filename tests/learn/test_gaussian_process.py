import math

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor as Twin
from sklearn.gaussian_process import kernels as theirs

from mercer.kernels import RBF, Linear, LogNormal, Matern, Parameter, White
from mercer.learn import GaussianProcessRegressor, marginal_likelihood, posterior
from mercer.learn.covariance import MercerCovariance

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2))
Y = np.sin(2 * X[:, 0]) + 0.2 * RNG.normal(size=40)
Z = RNG.normal(size=(9, 2))
PAIRS = [
    (2.0 * RBF(0.8) + White(0.05), theirs.ConstantKernel(2.0) * theirs.RBF(0.8) + theirs.WhiteKernel(0.05)),
    (Matern([0.5, 2.0], nu=2.5) + White(0.1), theirs.Matern([0.5, 2.0], nu=2.5) + theirs.WhiteKernel(0.1)),
    (2.0 * (RBF(0.8) + White(0.05)), theirs.ConstantKernel(2.0) * theirs.RBF(0.8) + theirs.WhiteKernel(0.1)),
    (Linear(bias=0.5) + White(0.1), theirs.DotProduct(math.sqrt(0.5)) + theirs.WhiteKernel(0.1)),
]


@pytest.mark.parametrize(("ours", "twins"), PAIRS, ids=repr)
@pytest.mark.parametrize("normalize_y", [False, True])
@pytest.mark.parametrize("targets", [Y, np.column_stack([Y, 3 * Y + 1])], ids=["one", "two"])
def test_same_predictions_as_the_twin_at_equal_hyperparameters(ours, twins, normalize_y, targets):
    arguments = {"optimizer": None, "normalize_y": normalize_y}
    model = GaussianProcessRegressor(ours, **arguments).fit(X, targets)
    twin = Twin(twins, **arguments).fit(X, targets)
    for options in ({"return_std": True}, {"return_cov": True}):
        for found, expected in zip(model.predict(Z, **options), twin.predict(Z, **options), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(model.alpha_, twin.alpha_, atol=1e-8)
    np.testing.assert_allclose(model.L_, twin.L_, atol=1e-9)
    assert model.log_marginal_likelihood() == pytest.approx(twin.log_marginal_likelihood())


def test_same_answer_as_the_twin_at_500_rows_to_1e_6():
    points = np.random.default_rng(1).normal(size=(500, 3))
    targets = np.sin(points).sum(1)
    kernel = theirs.ConstantKernel(2.0) * theirs.RBF([1.0, 2.0, 3.0])
    model = GaussianProcessRegressor(kernel, alpha=1e-4, optimizer=None).fit(points, targets)
    twin = Twin(kernel, alpha=1e-4, optimizer=None).fit(points, targets)
    others = np.random.default_rng(2).normal(size=(50, 3))
    np.testing.assert_allclose(model.predict(others, return_std=True), twin.predict(others, return_std=True), atol=1e-6)


@pytest.mark.parametrize(("ours", "twins"), PAIRS, ids=repr)
def test_gradient_of_the_likelihood_is_the_twins(ours, twins):
    model = GaussianProcessRegressor(twins, optimizer=None).fit(X, Y)
    twin = Twin(twins, optimizer=None).fit(X, Y)
    np.testing.assert_allclose(model.theta_, twin.kernel_.theta)
    theta = twin.kernel_.theta + 0.1
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    expected, expected_gradient = twin.log_marginal_likelihood(theta, eval_gradient=True)
    assert value == pytest.approx(expected)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-8)


def test_gradient_agrees_with_finite_differences_in_every_hyperparameter():
    kernel = 1.5 * Matern([0.5, 2.0]) + Linear([1.0, 3.0], bias=0.5) + 0.5 * White(0.2)
    model = GaussianProcessRegressor(kernel, optimizer=None).fit(X, np.column_stack([Y, Y**2]))
    _, gradient = model.log_marginal_likelihood(model.theta_, eval_gradient=True)
    assert len(gradient) == 8
    for i in range(8):
        step = 1e-5 * np.eye(8)[i]
        up, down = (model.log_marginal_likelihood(model.theta_ + s) for s in (step, -step))
        assert (up - down) / 2e-5 == pytest.approx(gradient[i], rel=1e-5, abs=1e-6)


def test_learning_finds_the_twins_hyperparameters():
    _, twins = PAIRS[0]
    model = GaussianProcessRegressor(twins, n_restarts_optimizer=1, random_state=0).fit(X, Y)
    twin = Twin(twins, n_restarts_optimizer=1, random_state=0).fit(X, Y)
    np.testing.assert_allclose(model.theta_, twin.kernel_.theta, atol=1e-3)
    np.testing.assert_allclose(model.kernel_.theta, model.theta_)
    assert type(model.kernel_) is type(twin.kernel_)


def test_frozen_bounded_and_prior_hyperparameters():
    noise = White(Parameter(0.05, frozen=True))
    kernel = Parameter(2.0, frozen=True) * RBF(Parameter(0.8, bounds=(0.5, 0.9))) + noise
    with pytest.warns(ConvergenceWarning, match="parameter left__kernel__lengthscale is close to the specified upper"):
        model = GaussianProcessRegressor(kernel).fit(X, 0.01 * Y + X[:, 0])
    learnt = {h.path: float(h.value) for h in model.kernel_.hyperparameters()}
    assert learnt["left__scale"] == 2.0
    assert learnt["left__kernel__lengthscale"] == pytest.approx(0.9)
    believed = RBF(Parameter(1.0, prior=LogNormal(math.log(3.0), 0.01))) + White(0.05)
    length = GaussianProcessRegressor(believed).fit(X, Y).kernel_.left.lengthscale.value
    assert length == pytest.approx(3.0, rel=0.05)


def test_a_bias_of_0_stays_0_and_the_argument_is_left_alone():
    kernel = RBF() + Linear() + White(0.1)
    text = repr(kernel)
    model = GaussianProcessRegressor(kernel).fit(X, Y)
    assert repr(kernel) == text
    assert repr(model.kernel_) != text
    assert float(model.kernel_.left.right.hyperparameter("bias")) == 0.0


def test_deviation_is_0_at_noise_free_training_points_and_the_priors_far_away():
    model = GaussianProcessRegressor("4.0 * RBF(0.5)", optimizer=None).fit(X, Y)
    _, at_points = model.predict(X, return_std=True)
    _, far = model.predict(X + 100.0, return_std=True)
    assert at_points.max() < 1e-4
    np.testing.assert_allclose(far, 2.0)


def test_a_variance_is_never_negative_where_round_off_makes_it_so(monkeypatch):
    exact = MercerCovariance.diagonal
    monkeypatch.setattr(MercerCovariance, "diagonal", lambda *a, **k: exact(*a, **k) - 1e-6)
    model = GaussianProcessRegressor(RBF(), optimizer=None).fit(X, Y)
    deviations = model.predict(X, return_std=True)[1], model.predict(X, return_cov=True)[1].diagonal()
    np.testing.assert_array_equal(deviations, 0.0)


def test_the_best_of_several_starts_is_kept():
    tried = []

    def stay(objective, start, bounds):
        tried.append((objective(start, eval_gradient=False), start))
        return start, tried[-1][0]

    model = GaussianProcessRegressor(RBF() + White(0.1), optimizer=stay, n_restarts_optimizer=3, random_state=0).fit(
        X, Y
    )
    assert len(tried) == 4
    np.testing.assert_allclose(model.theta_, min(tried, key=lambda pair: pair[0])[1])
    assert model.log_marginal_likelihood() == pytest.approx(-min(tried, key=lambda pair: pair[0])[0])


def test_what_include_noise_adds():
    model = GaussianProcessRegressor(RBF() + White(0.3), alpha=0.2, noise=0.5, optimizer=None).fit(X, Y)
    variance = {
        include: model.predict(Z, return_std=True, include_noise=include)[1] ** 2 for include in (None, False, True)
    }
    np.testing.assert_allclose(variance[None] - variance[False], 0.3)
    np.testing.assert_allclose(variance[True] - variance[False], 0.3 + 0.2 + 0.5)
    known = np.linspace(0.1, 1.0, 9)
    np.testing.assert_allclose(
        model.predict(Z, return_std=True, include_noise=known)[1] ** 2 - variance[False], 0.5 + known
    )
    joint = model.predict(Z, return_cov=True, include_noise=True)[1]
    np.testing.assert_allclose(np.diag(joint), variance[True])


@pytest.mark.parametrize("kernel", [RBF() + White(0.3), theirs.RBF() + theirs.WhiteKernel(0.3)], ids=repr)
def test_include_noise_of_kernels_that_only_scikit_learn_has(kernel):
    plain = GaussianProcessRegressor(kernel, optimizer=None).fit(X, Y)
    periodic = (
        theirs.RBF() + theirs.WhiteKernel(0.3) + theirs.ConstantKernel(1e-12) * theirs.PairwiseKernel(metric="rbf")
    )
    theirs_only = GaussianProcessRegressor(periodic, optimizer=None).fit(X, Y)
    for include in (None, False):
        np.testing.assert_allclose(
            theirs_only.predict(Z, return_std=True, include_noise=include),
            plain.predict(Z, return_std=True, include_noise=include),
            atol=1e-6,
        )


def test_known_noise_is_in_units_of_y():
    noise = np.linspace(0.01, 0.5, 40)
    K = RBF()(X).to_dense().numpy()
    expected = RBF()(Z, X).to_dense().numpy() @ np.linalg.solve(K + np.diag(noise + 1e-10), Y)
    model = GaussianProcessRegressor(RBF(), noise=noise, optimizer=None).fit(X, Y)
    np.testing.assert_allclose(model.predict(Z), expected, atol=1e-10)
    scaled = GaussianProcessRegressor(RBF(), noise=noise * 100, optimizer=None, normalize_y=True).fit(X, 10 * Y)
    same = GaussianProcessRegressor(RBF(), noise=noise, optimizer=None, normalize_y=True).fit(X, Y)
    np.testing.assert_allclose(scaled.predict(Z), 10 * same.predict(Z), rtol=1e-6)


def test_hyperparameters_learnt_on_a_stated_subset():
    model = GaussianProcessRegressor(RBF() + White(0.1), subset=25, random_state=0).fit(X, Y)
    rows = model.subset_indices_
    assert len(np.unique(rows)) == 25
    alone = GaussianProcessRegressor(RBF() + White(0.1)).fit(X[rows], Y[rows])
    np.testing.assert_allclose(model.theta_, alone.theta_, atol=1e-6)
    assert model.log_marginal_likelihood() == pytest.approx(alone.log_marginal_likelihood())
    assert model.alpha_.shape == (40,)


def test_a_subset_that_is_no_number_of_rows_is_refused():
    with pytest.raises(ValueError, match=r"subset must be a whole number >= 1 or None, not 2\.5"):
        GaussianProcessRegressor(RBF(), subset=2.5).fit(X, Y)


def test_beyond_the_exact_limit_likelihood_and_predictions_agree_with_it(monkeypatch):
    kernel = RBF() + White(0.3)
    exact = GaussianProcessRegressor(kernel, optimizer=None).fit(X, Y)
    value, gradient = exact.log_marginal_likelihood(exact.theta_, eval_gradient=True)
    mean, deviation = exact.predict(Z, return_std=True)
    joint = exact.predict(Z, return_cov=True)[1]
    for module in (marginal_likelihood, posterior):
        monkeypatch.setattr(module, "EXACT", 10)
    monkeypatch.setattr(posterior.Posterior, "_fits", lambda self: False)
    large = GaussianProcessRegressor(kernel, optimizer=None).fit(X, Y)
    estimate, slope = large.log_marginal_likelihood(large.theta_, eval_gradient=True)
    assert estimate == pytest.approx(value, abs=0.5)
    np.testing.assert_allclose(slope, gradient, atol=1.0)
    np.testing.assert_allclose(large.predict(Z, return_std=True), (mean, deviation), atol=1e-5)
    np.testing.assert_allclose(large.predict(Z, return_cov=True)[1], joint, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_in_tensors_out(dtype):
    model = GaussianProcessRegressor(RBF() + White(0.1)).fit(torch.from_numpy(X).to(dtype), torch.from_numpy(Y))
    found = model.predict(torch.from_numpy(Z).to(dtype), return_std=True)
    assert all(isinstance(part, torch.Tensor) and part.dtype == dtype for part in found)
    assert isinstance(model.alpha_, torch.Tensor)
    assert isinstance(model.L_, torch.Tensor)
    assert isinstance(model.sample_y(torch.from_numpy(Z).to(dtype)), torch.Tensor)
    expected = GaussianProcessRegressor(RBF() + White(0.1)).fit(X, Y).predict(Z, return_std=True)
    np.testing.assert_allclose(found, expected, atol=1e-4 if dtype == torch.float32 else 1e-8)


def test_samples_have_the_posteriors_mean_and_covariance():
    model = GaussianProcessRegressor(RBF() + White(0.1), optimizer=None).fit(X, np.column_stack([Y, 2 * Y + 1]))
    mean, joint = model.predict(Z, return_cov=True, include_noise=False)
    draws = model.sample_y(Z, 20_000, random_state=0, include_noise=False)
    assert draws.shape == (9, 2, 20_000)
    np.testing.assert_allclose(draws.mean(-1), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(draws[:, 1]), joint[..., 1], atol=0.02)
    np.testing.assert_array_equal(model.sample_y(Z, 2, random_state=3), model.sample_y(Z, 2, random_state=3))


def test_columns_by_name_of_a_table():
    import pandas as pd

    table, others = (pd.DataFrame(points, columns=["a", "b"]) for points in (X, Z))
    kernel = RBF().on(["b"]) + RBF(2.0).on(["a"]) + White(0.1)
    named = GaussianProcessRegressor(kernel, optimizer=None).fit(table, Y)
    placed = GaussianProcessRegressor(RBF().on([1]) + RBF(2.0).on([0]) + White(0.1), optimizer=None).fit(X, Y)
    np.testing.assert_allclose(named.predict(others, return_std=True), placed.predict(Z, return_std=True))


def test_prior_predictions():
    model = GaussianProcessRegressor(4.0 * RBF() + White(0.5), n_targets=2)
    mean, deviation = model.predict(Z, return_std=True)
    assert mean.shape == deviation.shape == (9, 2)
    np.testing.assert_allclose(deviation, math.sqrt(4.5))
    np.testing.assert_allclose(model.predict(Z, return_std=True, include_noise=False)[1], 2.0)
    assert model.sample_y(Z, 5).shape == (9, 2, 5)


@pytest.mark.slow(reason="200 data sets, each with a search for hyperparameters")
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_intervals_cover_95_percent_over_200_data_sets():
    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        points = rng.uniform(0, 5, size=(80, 1))
        K = (2.0 * RBF(0.7))(points).to_dense().numpy()
        y = np.linalg.cholesky(K + 0.09 * np.eye(80)) @ rng.normal(size=80)
        model = GaussianProcessRegressor(RBF(0.5) * 1.0 + White(0.2)).fit(points[:50], y[:50])
        _, lower, upper = model.predict(points[50:], interval=0.95)
        covered.append(np.mean((lower <= y[50:]) & (y[50:] <= upper)))
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kernel": 3}, TypeError, "kernel must be a kernel of mercer, its text, or a kernel object"),
        ({"kernel": "RBF("}, ValueError, "RBF"),
        ({"alpha": np.ones(3)}, ValueError, r"same number of entries as y, 40; it has shape \(3,\)"),
        ({"noise": -1.0}, ValueError, "noise must not be negative"),
        ({"optimizer": "adam"}, ValueError, "optimizer must be 'fmin_l_bfgs_b', a function or None, not 'adam'"),
        (
            {"kernel": Linear(), "optimizer": None, "alpha": 0.0},
            np.linalg.LinAlgError,
            "not returning a positive definite",
        ),
        ({"n_targets": 2}, ValueError, "number of targets seen in `y` is 1, but n_targets=2"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        GaussianProcessRegressor(**arguments).fit(X, Y)


def test_bad_requests():
    model = GaussianProcessRegressor(RBF() + White(0.1), noise=np.full(40, 0.1), optimizer=None).fit(X, Y)
    with pytest.raises(RuntimeError, match="At most one of return_std or return_cov"):
        model.predict(Z, return_std=True, return_cov=True)
    with pytest.raises(RuntimeError, match="with interval"):
        model.predict(Z, return_std=True, interval=0.9)
    with pytest.raises(ValueError, match="known for the training rows only: give include_noise=array"):
        model.predict(Z, interval=0.9)
    with pytest.raises(ValueError, match="True, False, None or 9 variances"):
        model.predict(Z, return_std=True, include_noise=[1.0])
    with pytest.raises(ValueError, match="Gradient can only be evaluated for theta!=None"):
        model.log_marginal_likelihood(eval_gradient=True)
    with pytest.raises(ValueError, match="targets of one scale"):
        GaussianProcessRegressor(noise=1.0, normalize_y=True).fit(X, np.column_stack([Y, 9 * Y]))


def test_a_search_that_ends_early_warns():
    def stop(objective, start, bounds):
        return start, objective(start, eval_gradient=False)

    kept = GaussianProcessRegressor(RBF(0.7) + White(0.1), optimizer=stop).fit(X, Y)
    np.testing.assert_allclose(kept.theta_, np.log([0.7, 0.1]))
    flat = RBF(Parameter(1e3, bounds=(1e-300, 1e300))) + White(Parameter(1e-9, bounds=(1e-300, 1e300)))
    with pytest.warns(ConvergenceWarning, match="L-BFGS-B stopped early after"):
        GaussianProcessRegressor(flat).fit(X, 1e150 * Y)


def test_the_covariance_of_many_points_does_not_fit_the_budget():
    from mercer import config
    from mercer.errors import MemoryBudgetError

    model = GaussianProcessRegressor(RBF() + White(0.1), optimizer=None).fit(X, Y)
    config.set_memory_budget(1_000_000)
    with pytest.raises(MemoryBudgetError, match=r"covariance of 500 points.*return_std"):
        model.predict(np.zeros((500, 2)), return_cov=True)
