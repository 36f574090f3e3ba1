import copy
import math
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, make_moons

from mercer.errors import ShapeError
from mercer.kernels import IndefiniteGram
from mercer.learn import DeepGramMachine, DeepKernelMachineClassifier, DeepKernelMachineRegressor

RNG = np.random.default_rng(0)
N = 80
X = RNG.uniform(-2.0, 2.0, size=(N, 2))
F = np.where(X[:, 0] > 0.0, np.sin(6.0 * X[:, 0]), 0.0)
Y = 5.0 + 3.0 * F + 0.1 * RNG.normal(size=N)
QUICK = {"n_inducing": 20, "max_epochs": 40, "learning_rate": 0.05, "random_state": 0}
PLAIN = {"learn_hyperparameters": False, "standardize": False, "learn_inducing": False}


@cache
def fitted():
    return DeepKernelMachineRegressor(**QUICK).fit(X, Y)


def test_infinite_nu_is_titsias_bound_of_the_stacked_kernel():
    Z = np.stack(np.meshgrid([-1.5, 0.0, 1.5], [-1.5, 0.0, 1.5]), -1).reshape(9, 2)
    model = DeepKernelMachineRegressor(depth=1, nu=math.inf, inducing=Z, likelihood_params={"noise": 0.2}, **PLAIN)
    model.set_params(max_epochs=1).fit(X, F)

    def kernel(A, B):
        first = np.exp(-0.25 * ((A[:, None] - B[None]) ** 2).sum(2))  # G_0 is X X' / 2
        return np.exp(first - 1.0)

    small = 1e-8 * np.eye(9)
    cross = kernel(X, Z)
    Q = cross @ np.linalg.solve(kernel(Z, Z) + small, cross.T)
    S = Q + 0.2 * np.eye(N)
    bound = -0.5 * (F @ np.linalg.solve(S, F) + np.linalg.slogdet(S)[1] + N * np.log(2 * np.pi))
    bound -= 0.5 * np.trace(kernel(X, X) - Q) / 0.2
    # What is left is jitter on 80 variances over the noise, 80 * 2e-8 / 0.4, and in the first layer.
    assert model.objective(X, F) == pytest.approx(bound, abs=1e-5)
    mean = kernel(X, Z) @ np.linalg.solve(0.2 * (kernel(Z, Z) + small) + cross.T @ cross, cross.T @ F)
    np.testing.assert_allclose(model.predict(X), mean, atol=1e-5)


def test_with_every_row_inducing_the_objective_is_the_full_machines():
    rows, y = X[:30], F[:30]
    model = DeepKernelMachineRegressor(nu=3.0, inducing=rows, likelihood_params={"noise": 0.1}, **PLAIN)
    model.set_params(max_epochs=15).fit(rows, y)
    full = DeepGramMachine(nu=3.0, noise=0.1, learn_hyperparameters=False, standardize=False).fit(rows, y)
    assert model.objective(rows, y) == pytest.approx(full.objective(model.gram_matrices_), rel=1e-6)
    assert full.objective_ > model.objective(rows, y)


def test_learning_the_kernel_is_better_than_the_fixed_one():
    fixed = DeepKernelMachineRegressor(nu=math.inf, **QUICK).fit(X, Y)
    assert fitted().objective_ > fixed.objective_ + 10.0
    test = np.random.default_rng(1).uniform(-2.0, 2.0, size=(200, 2))
    truth = 5.0 + 3.0 * np.where(test[:, 0] > 0.0, np.sin(6.0 * test[:, 0]), 0.0)
    errors = [np.sqrt(np.mean((model.predict(test) - truth) ** 2)) for model in (fitted(), fixed)]
    assert errors[0] < 0.9 * errors[1]


@pytest.mark.parametrize("more", [{}, {"batch_size": 30}, {"likelihood": "student_t"}, {"natural_rate": 0.5}])
def test_the_objective_is_that_of_what_was_learnt(more):
    model = DeepKernelMachineRegressor(**QUICK | {"max_epochs": 4} | more).fit(X, Y)
    assert model.objective_ == model.objective(X, Y)
    labels = DeepKernelMachineClassifier(depth=1, **QUICK | {"max_epochs": 2}).fit(X, F > 0.1)
    assert labels.objective_ == labels.objective(X, F > 0.1)


def test_the_objective_does_not_depend_on_how_many_rows_are_looked_at_together(monkeypatch):
    before = fitted().objective(X, Y)
    monkeypatch.setattr(DeepKernelMachineRegressor, "_rows_at_once", lambda self: 30)
    assert fitted().objective(X, Y) == pytest.approx(before, rel=1e-13)


def test_the_bound_and_the_forecast_are_those_of_gpytorchs_sgpr():
    gpytorch = pytest.importorskip("gpytorch")
    Z, noise = torch.from_numpy(X[::8].copy()), 0.2

    class Stacked(gpytorch.kernels.Kernel):
        def forward(self, A, B, diag=False, **_):
            distance = self.covar_dist(A, B, square_dist=True, diag=diag)
            return (torch.exp(-0.25 * distance) - 1.0).exp()

    class Theirs(gpytorch.models.ExactGP):
        def __init__(self, points, y, likelihood):
            super().__init__(points, y, likelihood)
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.InducingPointKernel(Stacked(), Z, likelihood)

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    likelihood.noise = torch.tensor(noise, dtype=torch.float64)
    points, y = torch.from_numpy(X), torch.from_numpy(F)
    theirs = Theirs(points, y, likelihood).double()
    bound = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, theirs)
    with torch.no_grad():
        expected = N * float(bound(theirs(points), y))
        theirs.eval()
    # The correction makes the forecast another approximation's, that of independent residuals.
    with torch.no_grad(), gpytorch.settings.sgpr_diagonal_correction(False):
        mean = theirs(points + 0.05).mean
    model = DeepKernelMachineRegressor(
        depth=1, nu=math.inf, inducing=Z, likelihood_params={"noise": noise}, max_epochs=1, **PLAIN
    ).fit(X, F)
    # 1e-6: our jitter of 1e-8 on 80 variances, in two kernels, over twice the noise.
    assert model.objective_ == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(model.predict(X + 0.05), mean, atol=1e-6)


@pytest.mark.parametrize("kind", ["gaussian", "student_t", "poisson"])
def test_several_targets_share_the_kernel(kind, tmp_path):
    both = np.column_stack([Y, 100.0 * X[:, 0]])
    if kind == "poisson":
        both = np.random.default_rng(0).poisson(np.exp(1.0 + np.column_stack([F, X[:, 0]])))
    model = DeepKernelMachineRegressor(depth=1, likelihood=kind, **QUICK).fit(X, both)
    mean, deviation = model.predict(X, return_std=True)
    assert mean.shape == deviation.shape == (N, 2)
    assert model.score(X, both) > 0.4  # after 40 steps
    assert model.predict(X, quantiles=[0.1, 0.5])[1].shape == (N, 2, 2)
    assert np.isfinite(model.log_predictive_density(X, both)).sum() == N
    assert model.objective_ == model.objective(X, both)
    model.save(tmp_path / "model")
    loaded = DeepKernelMachineRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), mean)
    assert loaded.objective(X, both) == model.objective_


def test_a_target_beside_others_is_forecast_as_alone():
    fixed = {"nu": math.inf, "inducing": X[:20], "max_epochs": 1, **PLAIN, "standardize": True}
    both = np.column_stack([Y, 100.0 * X[:, 0]])
    together = DeepKernelMachineRegressor(**fixed).fit(X, both)
    alone = [DeepKernelMachineRegressor(**fixed).fit(X, y) for y in both.T]
    for j, model in enumerate(alone):
        for asked in ({"return_std": True}, {"interval": 0.9}, {"quantiles": [0.2, 0.5]}):
            for a, b in zip(together.predict(X, **asked), model.predict(X, **asked), strict=True):
                np.testing.assert_allclose(a[:, j], b, rtol=1e-10)
        assert together.likelihood_params_["noise"][j] == pytest.approx(model.likelihood_params_["noise"])
    assert together.objective_ == pytest.approx(sum(model.objective_ for model in alone), rel=1e-12)
    density = sum(model.log_predictive_density(X, y) for model, y in zip(alone, both.T, strict=True))
    np.testing.assert_allclose(together.log_predictive_density(X, both), density, rtol=1e-10)
    column = DeepKernelMachineRegressor(**fixed).fit(X, Y[:, None])
    np.testing.assert_allclose(column.predict(X), alone[0].predict(X)[:, None], rtol=1e-12)


def test_more_inducing_points_than_rows_are_all_rows():
    options = {"depth": 1, "max_epochs": 1}
    with pytest.warns(UserWarning, match="n_inducing=90, but there are 80 points to choose from"):
        model = DeepKernelMachineRegressor(n_inducing=90, **options).fit(X, Y)
    assert len(model.inducing_points_) == N
    assert len(DeepKernelMachineRegressor(n_inducing=N, **options).fit(X, Y).inducing_points_) == N
    assert len(DeepKernelMachineRegressor(**options).fit(X, Y).inducing_points_) == N


def test_forecasts_have_errors_of_the_right_size():
    mean, lower, upper = fitted().predict(X, interval=0.9)
    assert ((lower < Y) & (upper > Y)).mean() > 0.85
    assert (np.abs(mean - Y) < 3.0 * fitted().predict(X, return_std=True)[1]).mean() > 0.95
    assert np.isfinite(fitted().log_predictive_density(X, Y)).all()


def test_rows_do_not_depend_on_units():
    other = DeepKernelMachineRegressor(**QUICK).fit(1e4 + 1e3 * X, 1e6 * Y)
    # 1e-4: round-off of the shifted columns, 1e-16 * 1e4 / 1e3, grows along the 40 steps.
    np.testing.assert_allclose(other.predict(1e4 + 1e3 * X), 1e6 * fitted().predict(X), rtol=1e-4)


def test_minibatches_counts_and_a_seed():
    options = QUICK | {"batch_size": 40, "max_epochs": 8}
    model = DeepKernelMachineRegressor(depth=1, **options).fit(X, Y)
    assert model.objective_curve_[-1] > model.objective_curve_[0]
    again = DeepKernelMachineRegressor(depth=1, **options).fit(X, Y)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    counts = np.random.default_rng(0).poisson(np.exp(1.0 + F))
    rates = DeepKernelMachineRegressor(depth=1, likelihood="poisson", **QUICK).fit(X, counts)
    assert np.corrcoef(rates.predict(X), np.exp(1.0 + F))[0, 1] > 0.8


@pytest.mark.slow(reason="seven fits, twice")
def test_nu_is_chosen_by_rows_left_out():
    model = DeepKernelMachineRegressor(nu="auto", **QUICK | {"max_epochs": 8}).fit(X, Y)
    assert [nu for nu, _ in model.nu_path_] == [math.inf, 100.0, 30.0, 10.0, 3.0, 1.0]
    assert model.nu_ == [max(model.nu_path_, key=lambda pair: pair[1])[0]] * 2
    assert model.nu_[0] < math.inf  # this function has two lengthscales
    labels = DeepKernelMachineClassifier(nu="auto", depth=1, **QUICK | {"max_epochs": 1}).fit(X, F > 0.1)
    assert len(labels.nu_path_) == 6


def test_two_classes_by_text():
    points, codes = make_moons(120, noise=0.1, random_state=0)
    names = np.array(["left", "right"])[codes]
    model = DeepKernelMachineClassifier(**QUICK).fit(points, names)
    assert model.score(points, names) > 0.97
    proba = model.predict_proba(points)
    np.testing.assert_allclose(proba.sum(1), 1.0)
    assert model.objective(points, names) < 0.0
    with pytest.raises(ValueError, match="y has the class 'up'"):
        model.objective(points, np.full(120, "up"))


def test_images_of_three_digits():
    data = load_digits(n_class=3)
    order = np.random.default_rng(0).permutation(537)  # of the same writers
    train, test = order[:350], order[350:]
    options = {"n_inducing": 30, "max_epochs": 10, "learning_rate": 0.05, "random_state": 0, "batch_size": 100}
    model = DeepKernelMachineClassifier(depth=1, natural_rate=0.3, **options)
    model.fit(data.images[train].reshape(350, -1), data.target[train])
    assert model.score(data.data[test], data.target[test]) > 0.95


def test_the_learnt_gram_matrices_are_there_to_see():
    shapes = {G.shape for G in (*fitted().gram_matrices_, *fitted().kernel_matrices_)}
    assert shapes == {(20, 20)}
    assert (len(fitted().gram_matrices_), len(fitted().kernel_matrices_)) == (2, 3)
    assert fitted().inducing_points_.shape == (20, 2)
    # At the inducing points a layer's Gram matrix of rows is the attribute, but for the jitter.
    for layer in (1, 2):
        found = fitted().gram_matrix(fitted().inducing_points_, layer=layer)
        np.testing.assert_allclose(found, fitted().gram_matrices_[layer - 1], atol=2e-6)
    columns = fitted().features(X[:9])
    assert columns.shape == (9, 20)
    off = ~np.eye(9, dtype=bool)
    np.testing.assert_allclose((columns @ columns.T)[off], fitted().gram_matrix(X[:9])[off], atol=1e-9)
    assert fitted().gram_matrix(X[:9], layer=0).shape == (9, 9)
    axes = fitted().plot_gram_matrices(X[:9], Y[:9])
    assert len(axes) == 3
    for layer in (0, 3, -3, 1.0, True):
        with pytest.raises(ValueError, match="layer must be 1 to 2, or -1 for the last"):
            fitted().features(X, layer=layer)


@pytest.mark.parametrize("kernel", ["relu", "normalized_gaussian", "erf", "gelu", "linear", "identity"])
def test_every_kernel_trains(kernel):
    model = DeepKernelMachineRegressor(kernel=kernel, nu=[5.0, 20.0], **QUICK | {"max_epochs": 5}).fit(X, Y)
    assert model.objective_curve_[-1] > model.objective_curve_[0]


@pytest.mark.parametrize("model", [DeepKernelMachineRegressor(**QUICK), DeepKernelMachineClassifier(depth=1, **QUICK)])
def test_a_saved_machine_is_the_same(model, tmp_path):
    y = Y if isinstance(model, DeepKernelMachineRegressor) else np.digitize(Y, [3.0, 6.0])
    model = clone(model).set_params(max_epochs=3).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    loaded = type(model).load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(loaded.gram_matrices_[0], model.gram_matrices_[0])
    assert loaded.objective(X, y) == model.objective(X, y)


def test_tensors_in_tensors_out():
    single = DeepKernelMachineRegressor(**QUICK | {"max_epochs": 3}).fit(
        torch.from_numpy(X).float(), torch.from_numpy(Y)
    )
    found = single.predict(torch.from_numpy(X).float())
    assert found.dtype == torch.float32
    assert isinstance(single.gram_matrices_[0], torch.Tensor)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="nu must be positive"):
        DeepKernelMachineRegressor(nu=-1.0).fit(X, Y)
    with pytest.raises(ValueError, match="nu must be positive"):
        DeepKernelMachineRegressor(nu="automatic").fit(X, Y)
    with pytest.raises(ValueError, match="one for each of the 2 layers"):
        DeepKernelMachineRegressor(nu=(1.0, 2.0, 3.0)).fit(X, Y)
    with pytest.raises(ValueError, match="tol must be a finite number >= 0, not nan"):
        DeepKernelMachineRegressor(tol=math.nan).fit(X, Y)
    with pytest.raises(ValueError, match="batch_size must be a whole number"):
        DeepKernelMachineRegressor(batch_size=0).fit(X, Y)
    with pytest.raises(ValueError, match="learning_rate must be a finite number >= 0"):
        DeepKernelMachineClassifier(learning_rate=-1.0).fit(X, F > 0)
    with pytest.raises(ShapeError, match=r"inducing must be \(M, 2\) points"):
        DeepKernelMachineRegressor(inducing=X[:5, :1]).fit(X, Y)
    with pytest.raises(ValueError, match=r"1 sample.*nu='auto' needs at least 2"):
        DeepKernelMachineRegressor(nu="auto").fit(X[:1], Y[:1])
    with pytest.raises(ValueError, match=r"shape of the prediction, \(80,\), not \(80, 1\)"):
        fitted().log_predictive_density(X, Y[:, None])
    broken = copy.deepcopy(fitted())
    broken._log_parameters = [math.nan]
    with pytest.raises(IndefiniteGram, match=r"objective is nan.*in layer . of 2"):
        broken.objective(X, Y)
    with pytest.raises(ValueError, match="at least two classes"):
        DeepKernelMachineClassifier().fit(X, np.zeros(N))
