import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.gaussian_process import kernels as theirs

from mercer.kernels import RBF, White
from mercer.learn import GaussianProcessRegressor, MultiTaskGaussianProcess
from mercer.learn.multi_task import CompleteTasks, GappyTasks, TaskParameters

RNG = np.random.default_rng(0)
N = 25
X = RNG.uniform(0, 6, size=(N, 1))
F = np.sin(X[:, 0])
Y = np.column_stack([F, 2 * F + 1, -F]) + 0.1 * RNG.normal(size=(N, 3))
GAPS = np.where(RNG.random(Y.shape) < 0.3, np.nan, Y)
Z = np.linspace(0.2, 5.8, 6)[:, None]
FACTOR, VARIANCE, NOISE = np.array([[1.0], [0.8], [-0.7]]), np.array([0.2, 0.3, 0.1]), np.array([0.05, 0.02, 0.1])
FIXED = {"task_factor": FACTOR, "task_variance": VARIANCE, "noise": NOISE, "optimizer": None, "normalize_y": False}
B = FACTOR @ FACTOR.T + np.diag(VARIANCE)


def by_definition(y):
    """Likelihood, means and variances from the whole matrix of the known values."""
    rows, tasks = np.nonzero(~np.isnan(y))
    K = np.exp(-0.5 * (X - X.T) ** 2)
    matrix = B[np.ix_(tasks, tasks)] * K[np.ix_(rows, rows)] + np.diag(NOISE[tasks])
    known = y[rows, tasks]
    value = -0.5 * (known @ np.linalg.solve(matrix, known) + np.linalg.slogdet(2 * np.pi * matrix)[1])
    cross = np.exp(-0.5 * (Z - X.T) ** 2)
    mean, variance = np.empty((len(Z), 3)), np.empty((len(Z), 3))
    for t in range(3):
        C = cross[:, rows] * B[t, tasks]
        mean[:, t] = C @ np.linalg.solve(matrix, known)
        variance[:, t] = B[t, t] - (C * np.linalg.solve(matrix, C.T).T).sum(1)
    return value, mean, variance


@pytest.mark.parametrize("y", [Y, GAPS], ids=["complete", "gaps"])
def test_likelihood_and_predictions_are_their_definition(y):
    model = MultiTaskGaussianProcess(RBF(), **FIXED).fit(X, y)
    value, mean, variance = by_definition(y)
    assert model.log_marginal_likelihood() == pytest.approx(value, rel=1e-9)
    found_mean, deviation = model.predict(Z, return_std=True)
    np.testing.assert_allclose(found_mean, mean, atol=1e-9)
    np.testing.assert_allclose(deviation**2, variance, atol=1e-9)
    _, lower, upper = model.predict(Z, interval=0.9)
    np.testing.assert_allclose((upper - lower) / (2 * 1.6448536269514722), np.sqrt(variance + NOISE))


@pytest.mark.parametrize("y", [Y, GAPS], ids=["complete", "gaps"])
def test_gradient_agrees_with_finite_differences(y):
    model = MultiTaskGaussianProcess(1.3 * RBF(0.8), **FIXED).fit(X, y)
    theta = model.theta_
    assert len(theta) == 2 + 3 + 3 + 3
    _, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    for i, step in enumerate(1e-5 * np.eye(len(theta))):
        up, down = (model.log_marginal_likelihood(theta + s) for s in (step, -step))
        assert (up - down) / 2e-5 == pytest.approx(gradient[i], rel=1e-5, abs=1e-5)


def test_kronecker_algebra_and_the_whole_matrix_agree():
    K = RBF()(torch.from_numpy(X)).to_dense()
    tasks = TaskParameters(torch.from_numpy(FACTOR), torch.from_numpy(VARIANCE).log(), torch.from_numpy(NOISE).log())
    fast, slow = CompleteTasks(K, torch.from_numpy(Y), tasks), GappyTasks(K, torch.from_numpy(Y), tasks)
    np.testing.assert_allclose(fast.log_likelihood(), slow.log_likelihood())
    np.testing.assert_allclose(fast.weights(), slow.weights(), atol=1e-9)
    np.testing.assert_allclose(fast.explained(K[:, :5]), slow.explained(K[:, :5]), atol=1e-9)


def test_the_likelihood_is_gpytorchs_at_equal_parameters():
    gpytorch = pytest.importorskip("gpytorch")
    kernel = gpytorch.kernels.MultitaskKernel(gpytorch.kernels.RBFKernel(), num_tasks=3, rank=1).double()
    kernel.data_covar_module.lengthscale = 1.0
    kernel.task_covar_module.covar_factor.data = torch.from_numpy(FACTOR)
    kernel.task_covar_module.var = torch.from_numpy(VARIANCE)
    matrix = kernel(torch.from_numpy(X)).to_dense() + torch.from_numpy(np.tile(NOISE, N)).diag()
    normal = torch.distributions.MultivariateNormal(torch.zeros(3 * N, dtype=torch.float64), matrix)
    expected = float(normal.log_prob(torch.from_numpy(Y.ravel())).detach())
    model = MultiTaskGaussianProcess(RBF(), **FIXED).fit(X, Y)
    assert model.log_marginal_likelihood() == pytest.approx(expected, rel=1e-9)


def test_one_target_is_a_gaussian_process():
    arguments = {"task_factor": [[1.0]], "task_variance": [0.5], "noise": [0.05], "optimizer": None}
    model = MultiTaskGaussianProcess(RBF(), **arguments, normalize_y=False).fit(X, Y[:, 0])
    exact = GaussianProcessRegressor(1.5 * RBF(), alpha=0.05, optimizer=None).fit(X, Y[:, 0])
    for found, expected in zip(model.predict(Z, return_std=True), exact.predict(Z, return_std=True), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)
    assert model.log_marginal_likelihood() == pytest.approx(exact.log_marginal_likelihood())


def test_one_target_tells_of_another():
    y = Y.copy()
    y[X[:, 0] > 3, 1] = np.nan
    points = np.linspace(3.5, 5.5, 5)[:, None]
    model = MultiTaskGaussianProcess("RBF()").fit(X, y)
    alone = GaussianProcessRegressor("RBF() + White(0.1)", normalize_y=True)
    alone.fit(X[X[:, 0] <= 3], y[X[:, 0] <= 3, 1])
    truth = 2 * np.sin(points[:, 0]) + 1
    assert abs(model.predict(points)[:, 1] - truth).max() < 0.3 < abs(alone.predict(points) - truth).max()
    correlation = model.task_covariance_ / np.sqrt(np.outer(*2 * [np.diag(model.task_covariance_)]))
    assert correlation[0, 1] > 0.9
    assert correlation[0, 2] < -0.9
    assert (model.noise_ < 0.1).all()


def test_units_of_the_targets_do_not_matter():
    model = MultiTaskGaussianProcess(RBF(), optimizer=None).fit(X, Y)
    scaled = MultiTaskGaussianProcess(RBF(), optimizer=None).fit(X, 1000 * Y + 7)
    np.testing.assert_allclose(scaled.predict(Z), 1000 * model.predict(Z) + 7)
    np.testing.assert_allclose(scaled.task_covariance_, 1e6 * model.task_covariance_)
    np.testing.assert_allclose(scaled.noise_, 1e6 * model.noise_)


@pytest.mark.parametrize(
    ("arguments", "y", "error", "message"),
    [
        ({"rank": 4}, Y, ValueError, "rank must be a whole number from 0 to the 3 targets, not 4"),
        ({}, np.where([True, True, False], Y, np.nan), ValueError, "Input y contains NaN only in column 2"),
        ({"noise": [0.1]}, Y, ValueError, r"noise must have shape \(3,\), not \(1,\)"),
        ({"noise": [0.1, 0.0, 0.1]}, Y, ValueError, "noise must be positive"),
        ({"kernel": RBF() + White()}, Y, ValueError, "leave it out, every target has its own noise"),
        ({"kernel": theirs.PairwiseKernel(metric="rbf")}, Y, TypeError, "has no twin here"),
    ],
)
def test_mistakes_are_named(arguments, y, error, message):
    with pytest.raises(error, match=message):
        MultiTaskGaussianProcess(**arguments).fit(X, y)


def test_deviation_and_interval_are_not_asked_for_together():
    model = MultiTaskGaussianProcess(RBF(), optimizer=None).fit(X, Y)
    with pytest.raises(RuntimeError, match="At most one of return_std and interval"):
        model.predict(Z, return_std=True, interval=0.9)


def test_tables_tensors_and_single_precision():
    table = pd.DataFrame(X, columns=["a"])
    model = MultiTaskGaussianProcess(RBF().on("a"), optimizer=None).fit(table, pd.DataFrame(Y))
    assert model.predict(table).shape == (N, 3)
    single = MultiTaskGaussianProcess(RBF(), optimizer=None).fit(X.astype(np.float32), Y)
    assert single.predict(Z.astype(np.float32)).dtype == np.float32
    tensors = MultiTaskGaussianProcess(RBF(), optimizer=None).fit(torch.from_numpy(X), torch.from_numpy(GAPS))
    assert isinstance(tensors.predict(torch.from_numpy(Z)), torch.Tensor)
    assert isinstance(tensors.task_covariance_, torch.Tensor)


@pytest.mark.parametrize("y", [Y, GAPS, Y[:, 0]], ids=["complete", "gaps", "one"])
def test_saved_and_loaded(y, tmp_path):
    model = MultiTaskGaussianProcess(RBF(), optimizer=None).fit(X, y)
    model.save(tmp_path / "model")
    loaded = MultiTaskGaussianProcess.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(Z), model.predict(Z))
    assert loaded.log_marginal_likelihood() == pytest.approx(model.log_marginal_likelihood())
