"""Trained ensembles as Gaussians, and how many of their members a decision needs."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn import gaussian_process
from sklearn.gaussian_process import kernels as theirs

from mercer.data import permutation_task
from mercer.errors import ShapeError
from mercer.kernels import NNGP, NTK, RBF, InfiniteNetwork
from mercer.kernels.neural.layers import Dense, ReLU
from mercer.learn.ensemble import EnsembleLaw, EnsembleSize, PermutationLaw, ensemble_size
from mercer.learn.ensemble.law import kernel_pair
from mercer.nn import BatchedMLP
from mercer.nn.training import half_squares, train_batched

RNG = np.random.default_rng(0)
X, Y, Z = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2)), RNG.normal(size=(9, 3))


def test_one_kernel_for_both_is_a_gaussian_process_without_noise():
    process = gaussian_process.GaussianProcessRegressor(theirs.RBF(1.5), alpha=1e-13, optimizer=None).fit(X, Y)
    law = EnsembleLaw(RBF(1.5), X, Y)
    mean, std = process.predict(Z, return_std=True)
    np.testing.assert_allclose(law.mean(Z).numpy(), mean, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(law.std(Z).numpy(), std[:, 0], rtol=1e-6)


def test_two_kernels_give_the_formula():
    T, S = NTK(3, sigma_b=0.3), NNGP(3, sigma_b=0.3)
    law = EnsembleLaw(T, X, Y)
    points = torch.from_numpy(X), torch.from_numpy(Z)
    A = T(points[1], points[0]).to_dense() @ torch.linalg.pinv(T(points[0]).to_dense())
    cross = A @ S(points[0], points[1]).to_dense()
    covariance = S(points[1]).to_dense() + A @ S(points[0]).to_dense() @ A.mT - cross - cross.mT
    np.testing.assert_allclose(law.mean(Z), A @ torch.from_numpy(Y), rtol=1e-9)
    np.testing.assert_allclose(law.std(Z) ** 2, covariance.diagonal(), rtol=1e-8)


def test_training_points_are_certain():
    law = EnsembleLaw(NTK(2), X, Y[:, 0])
    np.testing.assert_allclose(law.mean(X)[:, 0], Y[:, 0], rtol=1e-9)
    assert (law.std(X) == 0.0).all()


@pytest.mark.slow(reason="trains 300 networks")
def test_it_is_the_law_of_trained_networks():
    networks = BatchedMLP(300, (3, 256, 2), activation="erf", sigma_b=0.3, random_state=0)
    points, targets, far = (torch.from_numpy(a).float() for a in (X[:4], Y[:4], Z))
    law = EnsembleLaw(NTK(2, "erf", sigma_b=0.3), X[:4], Y[:4])
    sgd = partial(torch.optim.SGD, lr=0.6)
    train_batched(networks, points, targets, n_steps=400, optimizer=sgd, loss=half_squares, tolerance=1e-6)
    with torch.no_grad():
        outputs = networks(far).double()
    std = law.std(Z)
    # 300 networks: the mean has a standard error of 0.058 standard deviations, 18 of them; the widths add 1 / 256.
    assert ((outputs.mean(0) - law.mean(Z)) / std[:, None]).abs().max() < 0.25
    assert (outputs.std(0).mean(1) / std).log().abs().max() < 0.15


@pytest.mark.parametrize(
    ("given", "pair"),
    [
        (NTK(2, "erf", 1.5, 0.0), (NTK(2, "erf", 1.5, 0.0), NNGP(2, "erf", 1.5, 0.0))),
        (NNGP(2), (NNGP(2), NNGP(2))),
        ((RBF(1.0), RBF(2.0)), (RBF(1.0), RBF(2.0))),
    ],
    ids=repr,
)
def test_kernels_come_in_pairs(given, pair):
    assert repr(kernel_pair(given)) == repr(pair)


def test_pairs_of_layers():
    network = InfiniteNetwork(Dense(), ReLU(), Dense(), sigma_b=0.0)
    for given in (network, network.ntk):
        T, S = kernel_pair(given)
        law, same = EnsembleLaw((T, S), X, Y), EnsembleLaw(NTK(2, sigma_b=0.0), X, Y)
        torch.testing.assert_close(law.std(Z), same.std(Z))
    with pytest.raises(TypeError, match="give a mercer kernel, a pair of them, or an InfiniteNetwork"):
        kernel_pair("NTK()")


def test_what_cannot_be_solved_is_named():
    with pytest.raises(ValueError, match="on these 7 rows is singular"):
        EnsembleLaw(NTK(2), np.concatenate([X, X[:1]]), np.concatenate([Y, Y[:1]]))
    with pytest.raises(ShapeError, match=r"Y \(5, 2\) must be"):
        EnsembleLaw(NTK(2), X, Y[:5])


@pytest.mark.parametrize("simultaneous", [False, True])
def test_the_size_is_the_least_that_suffices(simultaneous):
    kernel = NTK(2)
    found = ensemble_size(kernel, X, Y, Z, delta=0.01, threshold=0.1, simultaneous=simultaneous)
    law = EnsembleLaw(kernel, X, Y)
    gaps, std = (law.mean(Z) - 0.1).abs().numpy(), law.std(Z).numpy()[:, None]

    def mistake(n):
        wrong = 1.0 - norm.cdf(gaps * math.sqrt(n) / std).prod(1)
        return wrong.sum() if simultaneous else wrong.max()

    assert mistake(found.n_models) <= 0.01 < mistake(found.n_models - 1)
    worst = (gaps / std).min(1).argmin()
    assert found.worst_input == worst
    assert found.gap == pytest.approx(gaps[worst].min())
    assert found.std == pytest.approx(std[worst, 0])
    bound = ensemble_size(kernel, X, Y, Z, delta=0.01, threshold=0.1, method="bound", simultaneous=simultaneous)
    rate = 2 * (found.std / found.gap) ** 2
    assert bound.n_models == math.ceil(rate * math.log(2 * 2 * (9 if simultaneous else 1) / 0.01)) > found.n_models


def test_votes_of_random_gaussians_are_wrong_as_often_as_said():
    found = ensemble_size(NTK(2), X, Y, Z, delta=0.3, threshold=0.1, simultaneous=False)
    law = EnsembleLaw(NTK(2), X, Y)
    means, std = law.mean(Z).numpy(), law.std(Z).numpy()[:, None]
    votes = means + std / math.sqrt(found.n_models) * RNG.normal(size=(20_000, *means.shape))
    wrong = ((votes > 0.1) != (means > 0.1)).any(2).mean(0).max()
    assert wrong == pytest.approx(0.3, abs=0.02)


def test_midpoints_lie_in_the_widest_gap():
    targets = np.eye(6)
    near = X + 1e-2
    found = ensemble_size(NTK(2), X, targets, near, threshold="midpoint")
    means = np.sort(EnsembleLaw(NTK(2), X, targets).mean(near).numpy(), axis=1)
    levels = (means[:, -1:] + means[:, -2:-1]) / 2
    assert found == ensemble_size(NTK(2), X, targets, near, threshold=levels)
    assert isinstance(found, EnsembleSize)


@pytest.mark.parametrize("regime", ["ntk", "last_layer"])
@pytest.mark.parametrize("threshold", ["zero", "midpoint"])
def test_all_inputs_of_a_permutation_need_what_its_law_says(regime, threshold):
    task, law = permutation_task(8, random_state=1), PermutationLaw(8, regime)
    points = task.X_test / np.sqrt(task.X_test.sum(1, keepdims=True))
    kernel = (NTK if regime == "ntk" else NNGP)(depth=2, sigma_b=0.0)
    found = ensemble_size(kernel, task.X_train, task.Y_train, points, threshold=threshold)
    assert found.n_models == law.ensemble_size(threshold=threshold, simultaneous=True)
    if threshold == "midpoint":  # the input of ones alone, whose outputs are all alike
        found = ensemble_size(kernel, task.X_train, task.Y_train, points[-1:], threshold="midpoint")
        assert found.gap == pytest.approx(float(law.levels(8)[0] - law.threshold(8, "midpoint")), rel=1e-9)


def test_a_mean_on_its_threshold_without_a_deviation_is_not_decided():
    kernel = NTK(2, sigma_b=0.0)
    with pytest.raises(ValueError, match="row 0 of X_test the mean of output 0 lies on its threshold"):
        ensemble_size(kernel, X, Y, np.zeros((1, 3)))
    assert ensemble_size(kernel, X, Y, np.zeros((1, 3)), threshold=0.1).n_models == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": None}, "threshold=None: choose"),
        ({"threshold": np.nan}, "threshold contains NaN"),
        ({"threshold": np.zeros(7)}, r"threshold has the shape \(7,\), which does not broadcast to \(9, 2\)"),
        ({"Y_train": Y * np.nan}, "Y contains NaN"),
        ({"X_test": Z * np.nan}, "X_test contains NaN"),
        ({"X_test": Z[:0]}, r"X_test is \(m, d\) with m >= 1"),
        ({"X_test": Z[0]}, r"X_test is \(m, d\) with m >= 1"),
        ({"X_train": X[:0], "Y_train": Y[:0]}, "n >= 1"),
        ({"delta": "a"}, "delta='a'"),
        ({"threshold": "half"}, "choose 'zero', 'midpoint' or give numbers"),
        ({"Y_train": np.ones((6, 2)), "threshold": "midpoint"}, "at row 0 of X_test all outputs are alike"),
        ({"Y_train": np.zeros((6, 2))}, "at row 0 of X_test the mean of output 0 lies on its threshold"),
        ({"delta": 1.0}, "lies between 0 and 1"),
        ({"method": "best"}, "choose one of exact, bound"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ensemble_size(NTK(2), **{"X_train": X, "Y_train": Y, "X_test": Z, **arguments})
