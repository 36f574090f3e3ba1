import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.gaussian_process import kernels as theirs

from mercer.errors import ShapeError
from mercer.kernels import RBF, White
from mercer.learn import (
    GaussianProcessClassifier,
    GaussianProcessRegressor,
    LaplaceGaussianProcess,
    SparseGaussianProcessClassifier,
    SparseGaussianProcessRegressor,
)
from mercer.learn.collapsed_bound import CollapsedBound
from mercer.learn.covariance import as_covariance
from mercer.learn.inducing import choose_inducing
from mercer.learn.variational import JITTER, Variational, whiten
from mercer.nn.functional import expected_log_softmax, softmax_probabilities

RNG = np.random.default_rng(0)
N = 50
X = RNG.uniform(0, 6, size=(N, 1))
F = np.sin(2 * X[:, 0])
Y = F + 0.2 * RNG.normal(size=N)
Z = np.linspace(0.2, 5.8, 9)[:, None]
KERNEL = 1.5 * RBF(0.7)
NOISE = {"noise": 0.05}


def standardised(y):
    return (y - y.mean()) / y.std()


EXACT = GaussianProcessRegressor(KERNEL, alpha=0.05, optimizer=None).fit(X, standardised(Y))


def sparse(**arguments):
    options = {"optimizer": None, "likelihood_params": NOISE, "n_inducing": N, "random_state": 0}
    return SparseGaussianProcessRegressor(KERNEL, **(options | arguments))


@pytest.mark.parametrize("batch_size", [None, N], ids=["closed form", "natural gradients"])
def test_with_all_rows_as_inducing_points_the_model_is_exact(batch_size):
    model = sparse(batch_size=batch_size, max_epochs=2).fit(X, Y)
    # What is left is the jitter of k(Z, Z) over the noise: 50 * 1.5e-9 / 0.1.
    assert model.bound_ == pytest.approx(EXACT.log_marginal_likelihood(), abs=1e-6)
    assert model.lower_bound(X, Y) == pytest.approx(model.bound_, abs=1e-8)
    mean, deviation = EXACT.predict(Z, return_std=True)
    found_mean, found_variance = model.latent_mean_and_variance(Z)
    np.testing.assert_allclose(found_mean, Y.mean() + Y.std() * mean, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(found_variance), Y.std() * deviation, atol=1e-6)


@pytest.mark.parametrize("n_inducing", [1, 4, 12])
def test_the_bound_is_below_the_evidence(n_inducing):
    model = sparse(n_inducing=n_inducing).fit(X, Y)
    assert model.bound_ < EXACT.log_marginal_likelihood() - 1e-3
    # The best distribution over inducing values is the one that was inserted: no step of natural gradients betters it.
    stepped = sparse(n_inducing=n_inducing, batch_size=N, max_epochs=1).fit(X, Y)
    assert stepped.lower_bound(X, Y) == pytest.approx(model.bound_, abs=1e-7)


def test_gradient_of_the_bound_agrees_with_finite_differences():
    covariance = as_covariance(KERNEL, None)
    points, y = torch.from_numpy(X), torch.from_numpy(standardised(Y))
    bound = CollapsedBound(points, y, points[:5].clone(), True, True, torch.tensor(-3.0, dtype=torch.float64))
    theta = np.concatenate([covariance.theta, [-2.5], X[:5, 0]])
    _, gradient = bound(covariance, theta)
    for i, step in enumerate(1e-6 * np.eye(len(theta))):
        difference = (bound(covariance, theta + step)[0] - bound(covariance, theta - step)[0]) / 2e-6
        assert difference == pytest.approx(gradient[i], rel=1e-5, abs=1e-5)


def test_learning_reaches_the_exact_models_evidence():
    model = SparseGaussianProcessRegressor(KERNEL, n_inducing=15, random_state=0).fit(X, Y)
    exact = GaussianProcessRegressor(KERNEL + White(0.05)).fit(X, standardised(Y))
    assert exact.log_marginal_likelihood() - 0.5 < model.bound_ <= exact.log_marginal_likelihood() + 1e-6
    assert np.mean((model.predict(Z) - np.sin(2 * Z[:, 0])) ** 2) < 0.02


def test_minibatches_come_near_the_closed_form():
    options = {"n_inducing": 12, "learn_inducing": False, "random_state": 0, "optimizer": "auto"}
    model = sparse(**options, batch_size=25, max_epochs=60, learning_rate=0.05).fit(X, Y)
    best = sparse(**options).fit(X, Y)
    assert model.n_iter_ == len(model.bounds_) > 3
    assert model.bounds_[-1] > model.bounds_[0]
    assert best.bound_ - 2.0 < model.lower_bound(X, Y) <= best.bound_ + 1e-6


def test_a_stalled_bound_stops_the_training():
    model = sparse(batch_size=N, max_epochs=50, n_iter_no_change=3).fit(X, Y)
    assert model.n_iter_ == 4  # the first epoch is the optimum


def test_partial_fit_goes_on():
    options = {"n_inducing": 12, "batch_size": 25, "optimizer": "auto", "learning_rate": 0.05}
    model = sparse(**options).partial_fit(X[:25], Y[:25], n_samples=N)
    early = model.lower_bound(X, Y)
    for _ in range(10):
        model.partial_fit(X[25:], Y[25:]).partial_fit(X[:25], Y[:25])
    assert model.n_samples_ == N
    assert model.lower_bound(X, Y) > early
    assert len(model.bounds_) == 21
    labels = SparseGaussianProcessClassifier(KERNEL, n_inducing=5, random_state=0)
    labels.partial_fit(X[:20], np.zeros(20), classes=[0.0, 1.0]).partial_fit(X, (F > 0).astype(float))
    assert labels.predict_proba(Z).shape == (9, 2)
    with pytest.raises(ValueError, match=r"y has the class 7\.0, which was not there at the first call"):
        labels.partial_fit(X, np.full(N, 7.0))


def test_further_rows_may_have_no_counts_at_all():
    y = np.random.default_rng(0).poisson(np.exp(F))
    model = SparseGaussianProcessRegressor(KERNEL, likelihood="poisson", n_inducing=5, random_state=0)
    model.partial_fit(X, y).partial_fit(X[:5], np.zeros(5))
    assert np.isfinite(model.bound_)
    with pytest.raises(ValueError, match="3 of 3 targets are negative"):
        model.lower_bound(X[:3], -np.ones(3))
    with pytest.raises(ValueError, match="n_samples must be a whole number >= 1 or None, not 0"):
        model.partial_fit(X, y, n_samples=0)


@pytest.mark.parametrize("name", ["student_t", "poisson", "negative_binomial"])
def test_other_likelihoods_agree_with_laplaces_approximation(name):
    rng = np.random.default_rng(1)
    y = {
        "student_t": 3 * F + 5 + 0.3 * rng.standard_t(3, size=N),
        "poisson": rng.poisson(np.exp(3 + F)),
        "negative_binomial": rng.negative_binomial(9, 9 / (9 + np.exp(3 + F))),
    }[name]
    options = {"likelihood": name, "optimizer": None}
    near = LaplaceGaussianProcess(KERNEL, **options).fit(X, y)
    model = SparseGaussianProcessRegressor(
        KERNEL, **options, n_inducing=N, batch_size=N, natural_rate=0.5, max_epochs=60, tol=1e-9
    ).fit(X, y)
    # Two approximations of one posterior: they differ by a part of its deviation.
    mean, variance = near.latent_mean_and_variance(Z)
    found_mean, found_variance = model.latent_mean_and_variance(Z)
    assert (abs(found_mean - mean) < 0.35 * np.sqrt(variance)).all()
    np.testing.assert_allclose(np.sqrt(found_variance), np.sqrt(variance), rtol=0.35)
    assert model.lower_bound(X, y) == pytest.approx(model.bound_, abs=1e-3)


def test_two_classes_agree_with_laplaces_approximation():
    y = np.where(F + 0.3 * RNG.normal(size=N) > 0, "up", "down")
    near = GaussianProcessClassifier(KERNEL, optimizer=None).fit(X, y)
    model = SparseGaussianProcessClassifier(KERNEL, optimizer=None, n_inducing=N, natural_rate=0.5).fit(X, y)
    assert (model.predict(X) == near.predict(X)).mean() > 0.95
    np.testing.assert_allclose(model.predict_proba(Z), near.predict_proba(Z), atol=0.05)
    assert near.log_marginal_likelihood() == pytest.approx(model.bound_, abs=1.0)


def test_three_classes_are_learnt():
    y = np.digitize(F, [-0.4, 0.4])
    model = SparseGaussianProcessClassifier(
        4.0 * RBF(0.7), n_inducing=12, max_epochs=30, natural_rate=0.5, random_state=0
    ).fit(X, y)
    assert model.score(X, y) > 0.9
    np.testing.assert_allclose(model.predict_proba(Z).sum(1), 1.0)
    assert model.bounds_[-1] > model.bounds_[0]
    assert model.latent_mean_and_variance(Z)[0].shape == (9, 3)


def test_softmax_expectations_are_those_of_many_draws():
    mean = torch.tensor([[0.3, -1.0, 1.2], [2.0, 0.0, 0.0]], dtype=torch.float64)
    variance = torch.tensor([[0.5, 1.0, 0.2], [0.1, 2.0, 0.7]], dtype=torch.float64)
    draws = mean + variance.sqrt() * torch.randn(400_000, 2, 3, dtype=torch.float64)
    expected = torch.log_softmax(draws, 2).mean(0)
    for code in range(3):
        codes = torch.full((2,), code)
        np.testing.assert_allclose(expected_log_softmax(codes, mean, variance), expected[:, code], atol=0.02)
    np.testing.assert_allclose(softmax_probabilities(mean, variance), torch.softmax(draws, 2).mean(0), atol=3e-3)


def test_the_divergence_is_torchs():
    draw = torch.randn(2, 5, 5, dtype=torch.float64)
    q = Variational(torch.randn(2, 5, dtype=torch.float64), torch.eye(5) + draw @ draw.mT)
    normal = torch.distributions.MultivariateNormal
    prior = normal(torch.zeros(5, dtype=torch.float64), torch.eye(5, dtype=torch.float64))
    expected = sum(
        torch.distributions.kl_divergence(normal(m, precision_matrix=P), prior)
        for m, P in zip(q.mean(), q.precision, strict=True)
    )
    assert float(q.divergence()) == pytest.approx(float(expected))


def test_the_bound_is_gpytorchs_at_equal_parameters():
    gpytorch = pytest.importorskip("gpytorch")
    inducing = torch.linspace(0, 6, 7, dtype=torch.float64)[:, None]
    points, y = torch.from_numpy(X), torch.from_numpy(Y)
    root = torch.eye(7, dtype=torch.float64) + 0.1 * torch.randn(7, 7, dtype=torch.float64).tril()
    location = torch.randn(7, dtype=torch.float64)

    class Theirs(gpytorch.models.ApproximateGP):
        def __init__(self):
            q = gpytorch.variational.CholeskyVariationalDistribution(7)
            super().__init__(gpytorch.variational.VariationalStrategy(self, inducing, q, False))
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    theirs, noise = Theirs().double(), gpytorch.likelihoods.GaussianLikelihood().double()
    # As tensors: GPyTorch rounds numbers to single precision, a lengthscale of 0.7 by 1.7e-8 of itself.
    scale, lengthscale, variance = torch.tensor([1.5, 0.7, 0.05], dtype=torch.float64)
    theirs.covar_module.outputscale, theirs.covar_module.base_kernel.lengthscale = scale, lengthscale
    noise.noise = variance
    theirs.variational_strategy.variational_params_initialized.fill_(1)
    q = theirs.variational_strategy._variational_distribution
    with torch.no_grad():
        q.variational_mean.copy_(location)
        q.chol_variational_covar.copy_(root)
    theirs.train()
    noise.train()
    bound = gpytorch.mlls.VariationalELBO(noise, theirs, num_data=N)
    with gpytorch.settings.variational_cholesky_jitter(double_value=1.5 * JITTER), torch.no_grad():
        # GPyTorch adds its jitter to the variances at the rows too, which costs the bound half of it over the noise.
        expected = N * float(bound(theirs(points), y)) + N * 1.5 * JITTER / (2 * 0.05)
    precision = torch.linalg.inv(root @ root.mT)
    ours = Variational((precision @ location)[None], precision[None])
    model = sparse(n_inducing=2).fit(X, Y)
    model._scale = [0.0, 1.0]
    state = model._state()
    state.Z, state.q = inducing, ours
    with torch.no_grad():
        # Apart by at most 1e-15 on 12 seeds.
        assert float(state.bound(points, y, N)) == pytest.approx(expected, rel=1e-13)


def test_whitened_features_reproduce_the_kernel_at_inducing_points():
    A, left = whiten(KERNEL, torch.from_numpy(Z), torch.from_numpy(Z))
    np.testing.assert_allclose(A.mT @ A, KERNEL(torch.from_numpy(Z)).to_dense(), atol=1e-7)
    np.testing.assert_allclose(left, 0.0, atol=1e-7)


@pytest.mark.parametrize("how", ["kmeans++", "pivoted_cholesky"])
def test_inducing_points_start_at_different_rows(how):
    points = torch.from_numpy(X)
    found = choose_inducing(KERNEL, points, 8, how, np.random.RandomState(0))
    assert found.shape == (8, 1)
    assert torch.isin(found, points).all()
    assert len(found.unique()) == 8


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"likelihood": "bernoulli"}, ValueError, "likelihood must be one of 'gaussian'"),
        ({"optimizer": "sgd"}, ValueError, "optimizer must be 'auto' or None, not 'sgd'"),
        ({"batch_size": 0}, ValueError, "batch_size must be a whole number >= 1"),
        ({"max_epochs": None}, ValueError, "max_epochs must be a whole number >= 1, not None"),
        ({"natural_rate": 2.0}, ValueError, "natural_rate must be above 0 and at most 1"),
        ({"n_inducing": 0}, ValueError, "n_inducing must be a whole number >= 1"),
        ({"inducing": "random"}, ValueError, "inducing must be 'kmeans\\+\\+', 'pivoted_cholesky' or an array"),
        ({"inducing": np.zeros((3, 2))}, ShapeError, r"inducing must be \(M, 1\) points"),
        (
            {"kernel": RBF() + White()},
            ValueError,
            r"has noise \(White\): leave it out, inducing points cannot carry it",
        ),
        ({"kernel": theirs.PairwiseKernel(metric="rbf")}, TypeError, "has no twin here"),
    ],
)
def test_mistakes_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        sparse().set_params(**arguments).fit(X, Y)


def test_intervals_tables_tensors_and_single_precision():
    model = sparse(n_inducing=15).fit(X, Y)
    mean, lower, upper = model.predict(X, interval=0.9)
    assert ((lower < Y) & (upper > Y)).mean() == pytest.approx(0.9, abs=0.08)
    np.testing.assert_allclose(model.predict(X, return_std=True)[1], (upper - lower) / (2 * 1.6448536), rtol=1e-6)
    table = pd.DataFrame(X, columns=["a"])
    named = clone(model).set_params(kernel=KERNEL.on("a")).fit(table, Y)
    np.testing.assert_allclose(named.predict(table), mean)
    assert clone(model).fit(X.astype(np.float32), Y).predict(X.astype(np.float32)).dtype == np.float32
    tensors = clone(model).fit(torch.from_numpy(X), torch.from_numpy(Y))
    assert isinstance(tensors.predict(torch.from_numpy(X)), torch.Tensor)
    assert isinstance(tensors.inducing_points_, torch.Tensor)


@pytest.mark.parametrize(
    ("model", "targets"),
    [
        (sparse(n_inducing=10), Y),
        (sparse(n_inducing=10, optimizer="auto", batch_size=25, max_epochs=2), Y),
        (SparseGaussianProcessClassifier(RBF(), n_inducing=10, max_epochs=2), np.where(F > 0, "a", "b")),
    ],
    ids=["closed form", "minibatches", "classes"],
)
def test_saved_and_loaded(model, targets, tmp_path):
    model.fit(X, targets).save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(Z), model.predict(Z))
    np.testing.assert_array_equal(loaded.latent_mean_and_variance(Z), model.latent_mean_and_variance(Z))
    assert loaded.partial_fit(X, targets).n_samples_ == N
