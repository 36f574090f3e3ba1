import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.exceptions import ConvergenceWarning

from mercer.kernels import RBF
from mercer.learn import GaussianProcessRegressor, LaplaceGaussianProcess
from mercer.learn.likelihoods import LIKELIHOODS, likelihood
from mercer.learn.response import Response, Scale

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 6, size=(50, 1))
F = np.sin(2 * X[:, 0])
Z = np.linspace(0.2, 5.8, 9)[:, None]
TARGETS = {
    "student_t": 3 * F + 5 + 0.3 * RNG.standard_t(3, size=50),
    "poisson": RNG.poisson(np.exp(1.5 + F)).astype(float),
    "negative_binomial": RNG.negative_binomial(3, 3 / (3 + np.exp(1.5 + F))).astype(float),
}
NAMES = list(TARGETS)
TOLERANCE = {"student_t": 2e-5}  # its logarithm has a pole 0.6 from the real line, where quadrature converges slowly


def made(name, **values):
    return likelihood(name, values, allowed=tuple(LIKELIHOODS))


@pytest.mark.parametrize("name", NAMES)
def test_gradient_agrees_with_finite_differences(name):
    model = LaplaceGaussianProcess(1.2 * RBF(0.7), likelihood=name, optimizer=None).fit(X, TARGETS[name])
    theta = model.theta_
    assert len(theta) == 2 + len(made(name).names)
    _, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    for i, step in enumerate(1e-5 * np.eye(len(theta))):
        up, down = (model.log_marginal_likelihood(theta + s) for s in (step, -step))
        assert (up - down) / 2e-5 == pytest.approx(gradient[i], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_mode_has_no_slope_and_the_evidence_is_its_definition(name):
    model = LaplaceGaussianProcess(1.2 * RBF(0.7), likelihood=name, optimizer=None).fit(X, TARGETS[name])
    at, mode, scale = model._likelihood(), model._mode, Scale(*model._scale, is_count=name != "student_t")
    y, offset = scale.targets(torch.from_numpy(TARGETS[name]))
    K = (1.2 * RBF(0.7))(torch.from_numpy(X)).to_dense()
    f = mode.f.clone().requires_grad_(True)
    density = at.log_density(y, f + offset).sum()
    (slope,) = torch.autograd.grad(density, f)
    np.testing.assert_allclose(slope, mode.weights, atol=1e-5)
    np.testing.assert_allclose(K @ mode.weights, mode.f, atol=1e-8)
    W = at.curvature(y, mode.f + offset)
    expected = density - 0.5 * mode.f @ mode.weights - 0.5 * torch.logdet(torch.eye(50) + W[:, None] * K)
    assert model.log_marginal_likelihood() == pytest.approx(float(expected.detach()))


def test_many_degrees_of_freedom_are_the_gaussian_process():
    y = F + 0.2 * RNG.normal(size=50)
    model = LaplaceGaussianProcess(RBF(0.7), likelihood_params={"scale": 0.3, "df": 1e7}, optimizer=None).fit(X, y)
    level, width = model._scale
    exact = GaussianProcessRegressor(RBF(0.7), alpha=0.09, optimizer=None).fit(X, (y - level) / width)
    mean, deviation = exact.predict(Z, return_std=True)
    found = model.latent_mean_and_variance(Z)
    np.testing.assert_allclose(found[0], level + width * mean, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(found[1]), width * deviation, atol=1e-5)
    assert model.log_marginal_likelihood() == pytest.approx(exact.log_marginal_likelihood(), abs=1e-4)


def test_outliers_do_not_pull_the_curve():
    y = F + 0.05 * RNG.normal(size=50)
    y[::10] += 20.0
    robust = LaplaceGaussianProcess("RBF()").fit(X, y)
    plain = GaussianProcessRegressor("RBF() + White()", normalize_y=True).fit(X, y)
    truth = np.sin(2 * Z[:, 0])
    assert abs(robust.predict(Z) - truth).max() < 0.3 < abs(plain.predict(Z) - truth).max()


@pytest.mark.parametrize("name", NAMES)
def test_quantiles_moments_and_density_are_those_of_draws(name):
    values = {"df": 5.0, "scale": 0.5} if name == "student_t" else {}
    at = made(name, **values)
    mean, variance = torch.tensor([0.5, 1.5]), torch.tensor([0.2, 0.05])
    response = Response(at, Scale(0.3, 1.0, at.is_count), mean.double(), variance.double())
    rng = np.random.default_rng(1)
    f = mean.numpy() + np.sqrt(variance.numpy()) * rng.normal(size=(200_000, 2)) + (0.3 if at.is_count else 0.0)
    draws = at.distribution(f).rvs(random_state=rng) + (0.0 if at.is_count else 0.3)
    found = response.moments()
    np.testing.assert_allclose(found[0], draws.mean(0), rtol=0.02)
    np.testing.assert_allclose(found[1], draws.std(0), rtol=0.03)
    for share in (0.05, 0.5, 0.95):
        quantile = response.quantile(share).numpy()
        assert ((draws <= quantile).mean(0) >= share - 0.005).all()
        assert ((draws < quantile).mean(0) <= share + 0.005).all()
    y = np.array([1.0, 4.0])
    density = at.distribution(f)
    expected = density.pmf(y).mean(0) if at.is_count else density.pdf(y - 0.3).mean(0)
    np.testing.assert_allclose(response.log_density(torch.from_numpy(y)).exp(), expected, rtol=0.02)


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_densities_are_scipys_and_slopes_finite_differences(name):
    at = made(name)
    y = torch.tensor([1.0, -1.0, 1.0]) if name == "bernoulli" else torch.tensor([0.0, 3.0, 7.0])
    y, f = y.double(), torch.tensor([-1.0, 0.3, 2.5]).double()
    if name != "bernoulli":
        there = at.distribution(f.numpy())
        expected = there.logpmf(y) if at.is_count else there.logpdf(y)
        np.testing.assert_allclose(at.log_density(y, f), expected)
    else:
        np.testing.assert_allclose(at.log_density(y, f), stats.logistic.logcdf(y * f))
    h = 1e-5
    first, second, third = at.slopes(y, f)
    np.testing.assert_allclose(
        first.detach(), (at.log_density(y, f + h) - at.log_density(y, f - h)) / (2 * h), atol=1e-8
    )
    for value, lower in ((second, 0), (third, 1)):
        difference = (at.slopes(y, f + h)[lower] - at.slopes(y, f - h)[lower]) / (2 * h)
        np.testing.assert_allclose(value.detach(), difference.detach(), atol=1e-8)
    mean, variance = torch.tensor([0.2, -0.5, 1.0]).double(), torch.tensor([0.3, 1.0, 0.1]).double()
    nodes = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    weights = torch.exp(-0.5 * nodes**2) * (nodes[1] - nodes[0]) / np.sqrt(2 * np.pi)
    by_sum = (at.log_density(y[:, None], mean[:, None] + variance.sqrt()[:, None] * nodes) * weights).sum(1)
    np.testing.assert_allclose(at.expected_log_density(y, mean, variance), by_sum, atol=TOLERANCE.get(name, 1e-9))


@pytest.mark.parametrize(
    ("arguments", "y", "message"),
    [
        ({"likelihood": "poisson"}, -np.ones(50), "is of counts, but 50 of 50 targets are negative. Use"),
        ({"likelihood": "poisson"}, np.full(50, 0.5), "50 of 50 targets are no whole numbers. Round them"),
        ({"likelihood": "negative_binomial"}, np.zeros(50), "all 50 counts are 0"),
        ({"likelihood": "gamma"}, F, "likelihood must be one of 'student_t', 'poisson', 'negative_binomial', not"),
        ({"likelihood_params": {"nu": 3.0}}, F, "'student_t' has no parameter 'nu'; it has: scale, df"),
        ({"likelihood_params": {"df": -3.0}}, F, "df must be positive and finite"),
        ({"fixed_params": ["nu"]}, F, "fixed_params: 'student_t' has no parameter 'nu'"),
    ],
)
def test_mistakes_are_named(arguments, y, message):
    with pytest.raises(ValueError, match=message):
        LaplaceGaussianProcess(**arguments).fit(X, y)


def test_a_constant_target_is_predicted():
    model = LaplaceGaussianProcess(RBF(), optimizer=None).fit(X, np.full(50, 7.0))
    np.testing.assert_allclose(model.predict(Z), 7.0, atol=1e-6)
    counts = LaplaceGaussianProcess(RBF(), likelihood="poisson", optimizer=None).fit(X, np.full(50, 4))
    np.testing.assert_allclose(counts.predict(Z), 4.0, rtol=0.1)


def test_a_fixed_parameter_stays():
    model = LaplaceGaussianProcess(RBF(0.7), likelihood_params={"df": 3.0}, fixed_params=["df"])
    model.fit(X, TARGETS["student_t"])
    assert model.likelihood_params_["df"] == pytest.approx(3.0)
    assert model.likelihood_params_["scale"] != pytest.approx(0.3 * model._scale[1])


def test_only_one_thing_beside_the_mean():
    model = LaplaceGaussianProcess(RBF(), optimizer=None).fit(X, F)
    with pytest.raises(RuntimeError, match="At most one of return_std, interval and quantiles"):
        model.predict(Z, return_std=True, interval=0.9)
    mean, found = model.predict(Z, quantiles=[0.1, 0.9])
    np.testing.assert_allclose(model.predict(Z, interval=0.8), [mean, *found.T])
    with pytest.raises(ValueError, match="y must have the shape of the prediction, \\(9,\\)"):
        model.log_predictive_density(Z, F)


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded(name, tmp_path):
    model = LaplaceGaussianProcess(RBF(), likelihood=name, optimizer=None).fit(X, TARGETS[name])
    model.save(tmp_path / "model")
    loaded = LaplaceGaussianProcess.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(Z, interval=0.9), model.predict(Z, interval=0.9))
    assert loaded.log_marginal_likelihood() == pytest.approx(model.log_marginal_likelihood())


@pytest.mark.slow(reason="200 fits")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_intervals_of_the_t_likelihood_hold_what_they_state_over_200_data_sets():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        points = rng.uniform(0, 5, size=(50, 1))
        K = np.exp(-0.5 * (points - points.T) ** 2) + 1e-9 * np.eye(50)
        y = np.linalg.cholesky(K) @ rng.normal(size=50) + 0.2 * rng.standard_t(4, size=50)
        start = LaplaceGaussianProcess(RBF(1.0), optimizer=None, likelihood_params={"scale": 0.2, "df": 4.0})
        width = Scale.of(made("student_t"), torch.from_numpy(y[:30])).width
        start.set_params(kernel=width**-2 * RBF(1.0), likelihood_params={"scale": 0.2 / width, "df": 4.0})
        _, lower, upper = start.fit(points[:30], y[:30]).predict(points[30:], interval=0.9)
        inside.append(((lower <= y[30:]) & (y[30:] <= upper)).mean())
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


def test_too_few_newton_steps_warn():
    with pytest.warns(ConvergenceWarning, match="has not converged in 1 steps"):
        LaplaceGaussianProcess(RBF(), optimizer=None, max_iter_predict=1).fit(X, F)
