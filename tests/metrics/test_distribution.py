"""Distances between samples against scipy, closed forms, definitions and finite differences."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats

from mercer import config
from mercer.errors import MemoryBudgetError, NotConverged, ShapeError
from mercer.metrics import (
    energy_distance,
    floor,
    median_distance,
    mmd,
    sinkhorn_divergence,
    sliced_wasserstein,
    wasserstein,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(14, 2)), RNG.normal(size=(14, 2)) + 1.0
ALL = {
    "wasserstein": wasserstein,
    "energy": energy_distance,
    "mmd": mmd,
    "sliced": sliced_wasserstein,
    "sinkhorn": lambda a, b: sinkhorn_divergence(a, b, blur=0.5, rtol=1e-9),
}


@pytest.mark.parametrize("weighted", [False, True])
def test_one_column_agrees_with_scipy(weighted):
    x, y = RNG.normal(size=30), RNG.normal(size=41) + 0.5
    a, b = (RNG.random(30), RNG.random(41)) if weighted else (None, None)
    expected = stats.wasserstein_distance(x, y, a, b)
    assert wasserstein(x, y, X_weights=a, Y_weights=b) == pytest.approx(expected, rel=1e-12)
    assert energy_distance(x, y) == pytest.approx(stats.energy_distance(x, y), rel=1e-10)


def test_ties_and_weights_of_zero():
    assert wasserstein([0.0, 0.0, 1.0], [1.0], X_weights=[1.0, 1.0, 0.0]) == pytest.approx(1.0)
    assert wasserstein([0.0, 1.0], [1.0, 0.0]) == 0.0
    assert wasserstein(X, X[::-1].copy()) == 0.0


@pytest.mark.parametrize("sizes", [(14, 14), (9, 14)])
def test_several_columns_agree_with_scipy(sizes):
    n, m = sizes
    expected = stats.wasserstein_distance_nd(X[:n], Y[:m])
    assert wasserstein(X[:n], Y[:m]) == pytest.approx(expected, rel=1e-9)


def test_the_linear_program_agrees_with_the_assignment():
    ones = np.ones(14)
    assert wasserstein(X, Y, p=2, X_weights=ones) == pytest.approx(wasserstein(X, Y, p=2), rel=1e-9)


def test_one_column_of_order_two_is_the_distance_of_normal_quantiles():
    # W_2 of N(0, 1) and N(m, s^2) is sqrt(m^2 + (s - 1)^2); on 20 000 quantiles, off by less than the tails beyond.
    z = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    assert wasserstein(z, 0.5 + 2.0 * z, p=2) == pytest.approx(np.sqrt(0.25 + 1.0), rel=1e-3)


def test_sinkhorn_tends_to_the_exact_transport_and_is_zero_at_equal_samples():
    exact = wasserstein(X, Y, p=2) ** 2 / 2
    assert sinkhorn_divergence(X, Y, blur=0.3) == pytest.approx(exact, rel=5e-2)
    assert sinkhorn_divergence(X, Y, blur=0.05, p=1, rtol=1e-2, max_iter=500) == pytest.approx(
        wasserstein(X, Y), rel=5e-2
    )
    assert abs(sinkhorn_divergence(X, X.copy(), blur=1.0, rtol=1e-8)) < 1e-9


@pytest.mark.parametrize("p", [1, 2])
def test_sinkhorn_agrees_with_the_definition(p):
    def transport(x, y, epsilon):
        costs = np.linalg.norm(x[:, None] - y[None], axis=-1) ** p / p
        K = np.exp(-costs / epsilon)
        u, v = np.ones(len(x)), np.ones(len(y))
        for _ in range(3000):
            u = 1.0 / len(x) / (K @ v)
            v = 1.0 / len(y) / (K.T @ u)
        P = u[:, None] * K * v
        return (P * costs).sum() + epsilon * (P * np.log(P * len(x) * len(y))).sum()

    blur, Z = 0.6, Y[:9]
    expected = transport(X, Z, blur**p) - 0.5 * transport(X, X.copy(), blur**p) - 0.5 * transport(Z, Z.copy(), blur**p)
    assert sinkhorn_divergence(X, Z, blur=blur, p=p, rtol=1e-9) == pytest.approx(expected, rel=1e-7)


def test_sinkhorn_says_when_it_has_not_converged():
    with pytest.raises(NotConverged, match=r"max_iter=2 iterations .* Raise max_iter or blur=0\.01") as raised:
        sinkhorn_divergence(X, Y, blur=0.01, max_iter=2)
    assert raised.value.solution > 0.0


def test_sliced_distance_of_shifted_samples():
    # A shift by s moves every projection by <s, u>, whose mean square is |s|^2 / d.
    value = sliced_wasserstein(X, X + np.array([3.0, 4.0]), n_projections=2000, random_state=0)
    assert value == pytest.approx(5.0 / np.sqrt(2.0), rel=0.03)
    again = sliced_wasserstein(X, X + np.array([3.0, 4.0]), n_projections=2000, random_state=0)
    assert value == again
    assert sliced_wasserstein(X[:, 0], Y[:9, 0], p=1) == pytest.approx(wasserstein(X[:, 0], Y[:9, 0]), rel=1e-12)


def test_mmd_and_energy_agree_with_the_definition():
    def mean(a, b, f):
        return f(np.linalg.norm(a[:, None] - b[None], axis=-1)).mean()

    def distance(f):
        return mean(X, X, f) + mean(Y[:9], Y[:9], f) - 2.0 * mean(X, Y[:9], f)

    assert mmd(X, Y[:9], kernel="RBF(0.7)") ** 2 == pytest.approx(distance(lambda r: np.exp(-0.5 * (r / 0.7) ** 2)))
    assert energy_distance(X, Y[:9]) ** 2 == pytest.approx(-distance(lambda r: r), rel=1e-10)


def test_median_distance_is_the_median_of_the_pairs():
    pairs = np.linalg.norm(X[:, None] - X[None], axis=-1)[np.triu_indices(14, 1)]
    assert median_distance(X) == pytest.approx(np.median(pairs))
    assert median_distance(np.repeat(X, 200, 0), max_points=300) > 0.0
    with pytest.raises(ValueError, match="all points are equal"):
        median_distance(np.zeros((4, 2)))


@pytest.mark.parametrize("name", ALL)
def test_gradients_by_finite_differences(name):
    options = {"kernel": "RBF(1.3)"} if name == "mmd" else {}  # the lengthscale from the data is held fixed
    distance, move = partial(ALL[name], **options), np.zeros_like(X)
    move[3, 1] = 1e-5
    left = torch.from_numpy(X.copy()).requires_grad_(True)
    (gradient,) = torch.autograd.grad(distance(left, torch.from_numpy(Y)), left)
    expected = (distance(X + move, Y) - distance(X - move, Y)) / 2e-5
    assert float(gradient[3, 1]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_kinds_in_and_out(name):
    value = ALL[name](X, Y)
    assert isinstance(value, float)
    single = ALL[name](torch.from_numpy(X).float(), Y)
    assert single.dtype == torch.float32
    assert single.shape == ()
    assert float(single) == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_a_true_difference_stands_out_of_the_floor(name):
    sample = RNG.normal(size=(60, 2))
    noise = floor(ALL[name], sample, n_splits=5)
    assert 0.0 < noise < 0.5 * ALL[name](sample, sample + 2.0)
    assert noise == floor(ALL[name], sample, n_splits=5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: wasserstein(X, Y[:, :1]), ShapeError, "X has 2 columns and Y has 1"),
        (lambda: wasserstein(X, Y, p=0.5), ValueError, "must be a finite number >= 1"),
        (lambda: wasserstein(X, Y, X_weights=-np.ones(14)), ValueError, "X_weights must be >= 0"),
        (lambda: wasserstein(X, Y, Y_weights=np.ones(3)), ShapeError, r"Y_weights must be one a point, \(14,\)"),
        (lambda: wasserstein(X * np.nan, Y), ValueError, "X contains NaN"),
        (lambda: wasserstein(np.zeros((0, 2)), Y), ShapeError, "X must be"),
        (lambda: sinkhorn_divergence(X, Y, blur=0.0), ValueError, "must be a length > 0"),
        (lambda: sinkhorn_divergence(X, Y, p=3), ValueError, "must be one of 1, 2"),
        (lambda: sliced_wasserstein(X, Y, n_projections=0), ValueError, "whole number >= 1"),
        (lambda: floor(mmd, X[:1]), ValueError, "at least two points"),
        (lambda: floor(mmd, X, n_splits=0), ValueError, "n_splits=0: it must be a whole number >= 1"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_costs_that_do_not_fit_are_refused():
    config.set_memory_budget(1_000)
    with pytest.raises(MemoryBudgetError, match="sliced_wasserstein or sinkhorn"):
        wasserstein(X, Y)
