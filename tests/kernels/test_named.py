"""The strings of scikit-learn mean what they mean there."""

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import pairwise_kernels

from mercer.kernels import RBF, Constant, Laplacian, Linear, Pairwise, Polynomial, from_name
from mercer.kernels.named import NAMES

POINTS = np.abs(np.random.default_rng(0).normal(size=(9, 4)))
OTHERS = np.abs(np.random.default_rng(1).normal(size=(5, 4)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"gamma": 0.3},
        {"gamma": 0.3, "degree": 2, "coef0": 0.5},
        {"gamma": 0.3, "degree": 2.5, "coef0": 0.5},
        {"gamma": 0.3, "degree": 3, "coef0": -0.5},
        {"gamma": 0.0},
    ],
)
def test_every_name_agrees_with_scikit_learn(name, arguments):
    if name == "chi2" and arguments.get("gamma") == 0.0:
        pytest.skip("scikit-learn wants gamma > 0 here")
    kernel = from_name(name, n_features=4, **arguments)
    expected = pairwise_kernels(POINTS, OTHERS, metric=name, filter_params=True, **arguments)
    np.testing.assert_allclose(kernel(POINTS, OTHERS).to_dense().numpy(), expected, rtol=1e-12, atol=1e-13)
    square = pairwise_kernels(POINTS, metric=name, filter_params=True, **arguments)
    np.testing.assert_allclose(kernel(POINTS).to_dense().numpy(), square, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(kernel(POINTS).diagonal().numpy(), square.diagonal(), rtol=1e-12, atol=1e-13)


def test_names_become_kernels_of_ones_own_where_there_are():
    assert from_name("rbf", n_features=2) == RBF(1.0)
    assert from_name("laplacian", n_features=4, gamma=0.5) == Laplacian(2.0)
    assert from_name("linear", n_features=4) == Linear()
    assert from_name("poly", n_features=4) == Polynomial(3, 1.0, 2.0)
    assert from_name("polynomial", n_features=4, degree=2.0, coef0=0) == Polynomial(2, 0, 2.0)
    assert from_name("rbf", n_features=4, gamma=0) == Constant(1.0)
    assert from_name("chi2", n_features=4) == Pairwise("chi2", 1.0)
    assert from_name("sigmoid", n_features=4) == Pairwise("sigmoid", 0.25)


@pytest.mark.parametrize("metric", ["sigmoid", "cosine", "chi2", "additive_chi2", "polynomial"])
def test_similarities_without_a_class_have_gradients_in_the_points(metric):
    X = torch.tensor(POINTS[:3, :2]).requires_grad_(True)
    Y = torch.tensor(OTHERS[:2, :2]).requires_grad_(True)
    kernel = Pairwise(metric, gamma=0.4)
    assert torch.autograd.gradcheck(lambda X, Y: kernel(X, Y).to_dense(), (X, Y))
    assert torch.autograd.gradgradcheck(lambda X, Y: kernel(X, Y) @ torch.ones(2, dtype=X.dtype), (X, Y))
    assert torch.autograd.gradcheck(lambda X: kernel(X).to_dense(), (X,))


def test_zero_vectors_and_empty_histograms_give_what_scikit_learn_gives():
    X = np.array([[0.0, 0.0], [1.0, 2.0]])
    for name in ("cosine", "chi2", "additive_chi2"):
        expected = pairwise_kernels(X, metric=name)
        np.testing.assert_allclose(from_name(name, n_features=2)(X).to_dense().numpy(), expected)


def test_unknown_names_and_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"There is no kernel 'gauss'. Choose from: additive_chi2, chi2.* object"):
        from_name("gauss", n_features=2)
    with pytest.raises(ValueError, match=r"kernel 'rbf' with gamma=-1.0: gamma must be >= 0"):
        from_name("rbf", n_features=2, gamma=-1.0)
    with pytest.raises(ValueError, match=r"Pairwise\('rbf'\): there is no such metric. Choose from: additive_chi2"):
        Pairwise("rbf")
    with pytest.raises(ValueError, match="the chi2 kernel compares histograms: X and Y must not be negative"):
        Pairwise("chi2")(np.array([[1.0], [-1.0]]))
