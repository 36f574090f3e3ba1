"""Shares of the variance by degree."""

import numpy as np
import pytest

from mercer.data import hierarchical_polynomial
from mercer.errors import ShapeError
from mercer.learn import degree_variance


def test_degrees_of_a_known_function_are_found_within_their_errors():
    def f(X):
        return X[:, 0] + 2.0 * X[:, 1] * X[:, 2] + (X[:, 3] ** 3 - 3.0 * X[:, 3]) / 6.0**0.5

    found = degree_variance(f, 4, max_degree=4, n_samples=3000)
    expected = np.array([1.0, 4.0, 1.0, 0.0]) / 6.0
    assert (abs(found.shares - expected) < 3.5 * found.errors).all()
    assert found.errors.max() < 0.1
    assert abs(found.rest) < 0.2


def test_mehlers_identity_gives_the_same():
    def f(X):
        return X[:, 0] * X[:, 1] + X[:, 2]

    draw = np.random.default_rng(0)
    X, Z = draw.normal(size=(2, 200_000, 3))
    found = degree_variance(f, 3, max_degree=3, n_samples=3000).shares
    for rho in (0.3, 0.7):
        stability = np.mean(f(X) * f(rho * X + np.sqrt(1.0 - rho**2) * Z)) / np.var(f(X))
        assert stability == pytest.approx(sum(s * rho ** (j + 1) for j, s in enumerate(found)), abs=0.05)


def test_the_low_degrees_of_a_hierarchical_polynomial_are_its_plateau():
    # The card's degree-2 fit on 100 000 points at d = 10: 0.418.
    X, y, _ = hierarchical_polynomial(10, 5000, random_state=1)
    found = degree_variance(y, X, max_degree=2)
    assert found.shares.sum() == pytest.approx(0.418, abs=3.0 * float(np.hypot(*found.errors)))


@pytest.mark.parametrize("spoil", [lambda X: X + 3.0, lambda X: 10.0 * X, lambda X: 0.0 * X, lambda X: 1e200 * X])
def test_columns_that_are_not_standardised_are_refused(spoil):
    X = np.random.default_rng(0).normal(size=(500, 3))
    y = X[:, 0] * X[:, 1]
    X[:, 2] = spoil(X[:, 2])
    with pytest.raises(ValueError, match=r"column 2 has mean .* Standardise the columns"):
        degree_variance(y, X)


def test_heavy_tails_are_taken_once_standardised():
    X = np.random.default_rng(0).standard_t(3.0, size=(500, 2))
    found = degree_variance(X[:, 0], (X - X.mean(0)) / X.std(0))
    assert found.shares[0] > 0.8


def test_what_does_not_fit_is_refused():
    X = np.random.default_rng(0).normal(size=(10, 2))
    with pytest.raises(ShapeError, match=r"X must be \(n, d\) with n >= 3 and y \(n,\)"):
        degree_variance(np.ones(9), X)
    with pytest.raises(ValueError, match="y is constant"):
        degree_variance(np.ones(10), X)
    with pytest.raises(ValueError, match="X contains NaN"):
        degree_variance(np.arange(10.0), np.full((10, 2), np.nan))
    with pytest.raises(ValueError, match="max_degree must be a whole number >= 1"):
        degree_variance(np.arange(10.0), X, max_degree=0)
