import numpy as np
import pytest
import torch
from sklearn.gaussian_process import kernels as theirs

from mercer.errors import ShapeError
from mercer.kernels import RBF, ArcCosine, Linear, Matern, White
from mercer.kernels.features import RandomFourier
from mercer.learn import GaussianProcessRegressor

RNG = np.random.default_rng(0)
X = RNG.random((12, 2))
Y = np.sin(5 * X[:, 0]) + X[:, 1]
Z = np.vstack([RNG.random((3, 2)), [[1.0, 1.4]]])
DRAWS = 6000
CASES = {
    "waves": (1.3 * RBF(0.6) + White(0.1), None),
    "rough waves": (Matern([0.5, 0.8]) + 0.1 * White(1.0), None),
    "features": (Linear(bias=1.0) + White(0.1), None),
    "sum": (0.5 * (RBF(0.6) + Linear(bias=0.3)) + White(0.1), None),
    "series": (1.3 * RBF(0.6) + White(0.1), 1e-6),
}


@pytest.mark.parametrize(("kernel", "tolerance"), CASES.values(), ids=CASES)
def test_draws_have_the_posteriors_mean_and_covariance(kernel, tolerance):
    model = GaussianProcessRegressor(kernel, optimizer=None, normalize_y=True, tolerance=tolerance).fit(X, Y)
    mean, joint = model.predict(Z, return_cov=True, include_noise=False)
    values = model.sample_functions(DRAWS, random_state=1, n_features=32, within=Z)(Z)
    assert values.shape == (4, DRAWS)
    deviation = np.sqrt(np.diag(joint))
    np.testing.assert_array_less(np.abs(values.mean(1) - mean), 4.5 * deviation / DRAWS**0.5 + 1e-6)
    # the standard error of a covariance, a little larger for draws that are only nearly normal
    spread = np.sqrt((np.outer(deviation, deviation) ** 2 + joint**2) / DRAWS)
    np.testing.assert_array_less(np.abs(np.cov(values) - joint), 5.0 * spread + 1e-6)


@pytest.mark.parametrize("tolerance", [None, 1e-6], ids=["waves", "series"])
def test_a_function_is_the_same_at_every_call_and_differentiable(tolerance):
    model = GaussianProcessRegressor(RBF(0.6) + White(0.01), optimizer=None, tolerance=tolerance).fit(X, Y)
    functions = model.sample_functions(4, random_state=3)
    inside = X[:5]
    together = functions(inside)
    np.testing.assert_allclose(np.vstack([functions(inside[i : i + 1]) for i in range(5)]), together, atol=1e-9)
    np.testing.assert_array_equal(functions(inside), together)
    again = model.sample_functions(4, random_state=3)(inside)
    np.testing.assert_allclose(again, together, atol=1e-9)
    point = torch.tensor([[0.4, 0.6]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(functions, point, atol=1e-5)
    assert functions(point.detach().float()).dtype == torch.float32


def test_several_targets_have_functions_of_their_own():
    model = GaussianProcessRegressor(RBF(0.6) + White(0.01), optimizer=None).fit(X, np.stack([Y, 10.0 - Y], 1))
    values = model.sample_functions(5)(X)
    assert values.shape == (12, 2, 5)
    np.testing.assert_allclose(values.mean(-1), np.stack([Y, 10.0 - Y], 1), atol=0.5)


def test_a_kernel_of_features_is_drawn_exactly():
    features = RandomFourier(RBF(0.6), 10, d=2, random_state=0)
    kernel = features.as_kernel() + White(0.1)
    model = GaussianProcessRegressor(kernel, optimizer=None).fit(X, Y)
    values = model.sample_functions(DRAWS, random_state=0)(Z)
    joint = model.predict(Z, return_cov=True, include_noise=False)[1]
    np.testing.assert_allclose(np.cov(values), joint, atol=6.0 * joint.max() / DRAWS**0.5)


def test_what_cannot_be_drawn_says_what_can():
    model = GaussianProcessRegressor(RBF(0.6) + White(0.1), optimizer=None)
    with pytest.raises(ValueError, match="fit first"):
        model.sample_functions()
    with pytest.raises(ShapeError, match=r"take points \(m, 2\)"):
        model.fit(X, Y).sample_functions()(np.zeros((3, 1)))
    for kernel in (ArcCosine() + White(0.1), theirs.PairwiseKernel(metric="rbf") + theirs.WhiteKernel(0.1)):
        with pytest.raises(TypeError, match="sample_y"):
            GaussianProcessRegressor(kernel, optimizer=None).fit(X, Y).sample_functions()
    series = GaussianProcessRegressor(RBF(0.6) + White(0.1), optimizer=None, tolerance=1e-6).fit(X, Y)
    with pytest.raises(ValueError, match="some points are outside"):
        series.sample_functions()(np.full((1, 2), 3.0))
