"""The Hermite kernel beyond what every kernel has: its features, and how kernels divide over degrees."""

import math

import numpy as np
import pytest
import torch
from scipy.special import binom, roots_genlaguerre

from mercer.kernels import RBF, HermitePolynomial, Linear, Polynomial, hermite_degree_shares
from mercer.kernels.degrees import _gauss_rule
from mercer.kernels.features import ExactFeatures
from mercer.kernels.hermite import hermite_exponents, hermite_products, hermite_values
from mercer.learn import KernelRidge

DOUBLE = torch.float64


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_recursion_over_degrees_is_the_product_of_the_features(degree, d):
    X, Y = torch.randn(2, 7, d, dtype=DOUBLE)
    kernel = HermitePolynomial(degree)
    phi = ExactFeatures(kernel, d=d)
    assert phi.n_features == math.comb(d + degree, degree)
    torch.testing.assert_close(kernel(X, Y).to_dense(), phi(X) @ phi(Y).mT, rtol=1e-10, atol=1e-10)


def test_values_are_numpys_normalised():
    x = torch.linspace(-3.0, 3.0, 13, dtype=DOUBLE)
    found = hermite_values(x, 6)
    for j in range(7):
        expected = np.polynomial.hermite_e.hermeval(x.numpy(), np.eye(7)[j]) / math.sqrt(math.factorial(j))
        np.testing.assert_allclose(found[:, j], expected, atol=1e-12)


def test_products_follow_their_exponents():
    X = torch.randn(5, 3, dtype=DOUBLE)
    exponents = hermite_exponents(3, 4)
    assert exponents.sum(1).tolist() == sorted(exponents.sum(1).tolist())
    values = hermite_values(X, 4)  # (5, 3, 5)
    expected = [values[:, torch.arange(3), a].prod(1) for a in exponents]
    torch.testing.assert_close(hermite_products(X, 4), torch.stack(expected, 1), rtol=1e-12, atol=1e-12)


def test_few_products_are_solved_over_features_with_the_same_answer():
    X, y = torch.randn(60, 2, dtype=DOUBLE), torch.randn(60, dtype=DOUBLE)
    over_features = KernelRidge(0.3, kernel=HermitePolynomial(2)).fit(X, y)
    assert "over 6 features" in over_features.solver_
    K = HermitePolynomial(2)(X).to_dense()
    direct = K @ torch.linalg.solve(K + 0.3 * torch.eye(60, dtype=DOUBLE), y)
    torch.testing.assert_close(over_features.predict(X), direct, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("degree", [0, -1, 2.0, True])
def test_a_degree_is_a_whole_number(degree):
    with pytest.raises(ValueError, match="whole number >= 1"):
        HermitePolynomial(degree)


@pytest.mark.parametrize(("d", "lengthscale"), [(2, 0.8), (5, 1.5), (20, 4.0)])
def test_shares_of_a_gaussian_kernel_are_those_of_its_closed_form(d, lengthscale):
    # E k(x, rho x + sqrt(1 - rho^2) x') = (1 + 2 (1 - rho) / l^2)^(-d/2), a power series in rho.
    a = 2.0 / lengthscale**2
    j = np.arange(7)
    expected = (1.0 + a) ** (-0.5 * d) * binom(0.5 * d + j - 1.0, j) * (a / (1.0 + a)) ** j
    np.testing.assert_allclose(hermite_degree_shares(RBF(lengthscale), d, max_degree=6), expected, atol=1e-9)


def test_shares_of_polynomials_are_exact_and_end_with_the_degree():
    # x.y and its square: the degrees of (x.y)^2 are 2 |P_2|^2 and the mean of x_i^2.
    np.testing.assert_allclose(hermite_degree_shares(Linear(), 4, max_degree=3), [0.0, 1.0, 0.0, 0.0], atol=1e-12)
    square = hermite_degree_shares(Polynomial(2, offset=0.0), 4, max_degree=3)
    np.testing.assert_allclose(square, [4.0 / 24.0, 0.0, 20.0 / 24.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("d", [344, 345, 1000])
def test_shares_in_many_columns_are_those_of_the_closed_form(d):
    a, j = 2.0 / d, np.arange(4)
    expected = (1.0 + a) ** (-0.5 * d) * binom(0.5 * d + j - 1.0, j) * (a / (1.0 + a)) ** j
    np.testing.assert_allclose(hermite_degree_shares(RBF(d**0.5), d, max_degree=3), expected, rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 19.0])
@pytest.mark.parametrize("n", [1, 2, 7, 48])
def test_gauss_rules_are_scipys(alpha, n):
    i = np.arange(1.0, n)
    nodes, weights = _gauss_rule(2.0 * np.arange(n) + 1.0 + alpha, i * (i + alpha))
    expected = roots_genlaguerre(n, alpha)
    np.testing.assert_allclose(nodes, expected[0], rtol=1e-12)
    np.testing.assert_allclose(weights, expected[1] / expected[1].sum(), rtol=1e-12)


@pytest.mark.parametrize("kernel", ["RBF(2.0)", "Matern(1.0, 0.5)"])
def test_shares_from_as_few_nodes_as_are_allowed_are_not_negative(kernel):
    for degree in range(1, 9):
        assert hermite_degree_shares(kernel, 5, max_degree=degree, n_nodes=degree + 1).min() >= 0.0
        with pytest.raises(ValueError, match=f"Give n_nodes > {degree}"):
            hermite_degree_shares(kernel, 5, max_degree=degree, n_nodes=degree)


def test_shares_of_a_text_and_a_number_of_numpy():
    found = hermite_degree_shares("RBF(2.0)", np.int64(3))
    np.testing.assert_array_equal(found, hermite_degree_shares(RBF(2.0), 3))


def test_shares_need_a_rotation_invariant_kernel():
    with pytest.raises(ValueError, match="not rotation invariant in 3 columns"):
        hermite_degree_shares(RBF([1.0, 2.0, 3.0]), 3)
    with pytest.raises(ValueError, match="d >= 2"):
        hermite_degree_shares(RBF(), 1)
