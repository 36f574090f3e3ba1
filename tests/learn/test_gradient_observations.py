import numpy as np
import pytest
import torch
from sklearn.gaussian_process import kernels as theirs

from mercer.errors import ShapeError
from mercer.kernels import RBF, Laplacian, Matern, White
from mercer.learn import GaussianProcessRegressor

RNG = np.random.default_rng(0)
X = RNG.random((15, 2))
NEW = RNG.random((40, 2))
KERNEL = 1.5 * RBF(0.6) + White(0.01)


def function(points):
    return np.sin(5 * points[:, 0]) * points[:, 1]


def gradient(points):
    return np.stack([5 * np.cos(5 * points[:, 0]) * points[:, 1], np.sin(5 * points[:, 0])], 1)


def fit(kernel=KERNEL, **arguments):
    model = GaussianProcessRegressor(kernel, **{"optimizer": None, **arguments})
    return model.fit(X, function(X), gradient(X), gradient_noise=1e-3)


def test_predictions_are_those_of_the_dense_matrix():
    model, points = fit(alpha=1e-6), torch.from_numpy(X)
    new = torch.from_numpy(NEW)

    def k(a, b):
        return 1.5 * torch.exp(-0.5 * (a - b).square().sum() / 0.6**2)

    def row(a, b):  # (value, gradient) of f(a) against (value, gradient) of f(b), by automatic differentiation
        corner = torch.func.grad(k, 1)(a, b)
        below = torch.func.grad(k, 0)(a, b)
        mixed = torch.func.jacrev(torch.func.grad(k, 1), 0)(a, b).mT
        return torch.cat([torch.cat([k(a, b)[None], corner])[None], torch.cat([below[:, None], mixed], 1)])

    blocks = torch.stack([torch.stack([row(a, b) for b in points]) for a in points])  # (n, n, 3, 3)
    M = blocks.permute(2, 0, 3, 1).reshape(45, 45)
    M = M + torch.diag(torch.cat([torch.full((15,), 0.01 + 1e-6), torch.full((30,), 1e-3 + 1e-6)]))
    C = torch.stack([torch.stack([row(a, b)[0] for b in points]) for a in new]).permute(0, 2, 1).reshape(40, 45)
    observed = torch.from_numpy(np.concatenate([function(X), *gradient(X).T]))
    mean, std = model.predict(NEW, return_std=True, include_noise=False)
    np.testing.assert_allclose(mean, C @ torch.linalg.solve(M, observed), atol=1e-8)
    variance = 1.5 - (C * torch.linalg.solve(M, C.mT).mT).sum(1)
    np.testing.assert_allclose(std, variance.sqrt(), atol=1e-8)
    np.testing.assert_allclose(
        np.diag(model.predict(NEW, return_cov=True, include_noise=False)[1]), variance, atol=1e-8
    )
    normal = torch.distributions.MultivariateNormal(torch.zeros(45, dtype=torch.float64), M)
    assert model.log_marginal_likelihood() == pytest.approx(float(normal.log_prob(observed)))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # data without noise: at its bound
def test_gradients_improve_predictions_and_hyperparameters_are_learnt_from_them():
    values = GaussianProcessRegressor(KERNEL, optimizer=None).fit(X, function(X))
    both = fit()
    error = [np.sqrt(np.mean((m.predict(NEW) - function(NEW)) ** 2)) for m in (values, both)]
    assert error[1] < 0.5 * error[0]
    learnt = fit(optimizer="fmin_l_bfgs_b")
    assert learnt.log_marginal_likelihood() > both.log_marginal_likelihood() + 1.0


def test_the_slope_of_the_likelihood_is_that_of_finite_differences():
    model = fit(Matern([0.5, 0.8], nu=2.5) + White(0.02), subset=10, random_state=0)
    _, slope = model.log_marginal_likelihood(model.theta_, eval_gradient=True)
    for i in range(3):
        step = 1e-5 * np.eye(3)[i]
        up, down = (model.log_marginal_likelihood(model.theta_ + s) for s in (step, -step))
        assert (up - down) / 2e-5 == pytest.approx(slope[i], rel=1e-5, abs=1e-5)


def test_targets_of_their_own_gradients_and_their_scale():
    y, G = np.stack([function(X), 3.0 * function(X) + 1.0], 1), np.stack([gradient(X), 3.0 * gradient(X)], 2)
    model = GaussianProcessRegressor(KERNEL, optimizer=None, normalize_y=True).fit(X, y, G)
    mean = model.predict(NEW)
    np.testing.assert_allclose(mean[:, 1], 3.0 * mean[:, 0] + 1.0, atol=1e-6)
    assert model.alpha_.shape == (45, 2)


def test_a_saved_model_keeps_its_gradients(tmp_path):
    model = fit()
    model.save(tmp_path / "model.safetensors")
    loaded = GaussianProcessRegressor.load(tmp_path / "model.safetensors")
    for options in ({}, {"return_std": True}):
        np.testing.assert_allclose(loaded.predict(NEW, **options), model.predict(NEW, **options), atol=1e-10)
    assert "gradients_train_" not in vars(loaded.fit(X, function(X)))


def test_refusals_say_why():
    model = GaussianProcessRegressor(KERNEL, optimizer=None)
    with pytest.raises(ShapeError, match=r"gradients must be \(15, 2\)"):
        model.fit(X, function(X), gradient(X)[:5])
    with pytest.raises(ValueError, match="gradient_noise"):
        model.fit(X, function(X), gradient(X), gradient_noise=-1.0)
    with pytest.raises(ValueError, match="noise alone"):
        fit(White(0.1))
    with pytest.raises(TypeError, match="kernel of mercer"):
        fit(theirs.PairwiseKernel(metric="rbf"))
    with pytest.raises((TypeError, ValueError)):
        fit(Laplacian())  # its samples have no derivative
    with pytest.raises(ValueError, match="fit again with all of them"):
        fit().partial_fit(X, function(X))
    with pytest.raises(ValueError, match="models of values alone"):
        fit().sample_functions()
    assert "gradients are observed" in fit(tolerance=1e-6).plan_.reason
