import math
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from mercer.errors import NotConverged, ShapeError
from mercer.kernels import IndefiniteGram, gram_kernel
from mercer.learn import (
    DeepGramMachine,
    GaussianProcessRegressor,
    deep_linear_gram_matrices,
    sample_wide_dgp,
)
from mercer.nn import gram_divergence

X = np.linspace(-1.5, 1.5, 8)[:, None]
Y = np.sin(2.5 * X[:, 0])
PLAIN = {"learn_hyperparameters": False, "standardize": False}
LINEAR = {"depth": 3, "kernel": "linear", "noise": 0.0, "jitter": 0.0, **PLAIN}
RNG = np.random.default_rng(0)
X_WIDE, Y_WIDE = RNG.normal(size=(5, 9)), RNG.normal(size=(5, 8))


def distance(G, reference):
    return np.linalg.norm(G - reference) / np.linalg.norm(reference)


@cache
def free():
    return DeepGramMachine(nu=1.0, **PLAIN).fit(X, Y)


def test_the_objective_is_the_written_one():
    model, small = free(), 1e-8 * np.eye(8)
    chain = [X @ X.T, *model.gram_matrices_]
    kernels = [np.exp(G - 0.5 * np.add.outer(np.diag(G), np.diag(G))) + small for G in chain]
    total = 0.0
    for G, K in zip(chain[1:], kernels[:-1], strict=True):
        ratio = np.linalg.solve(K, G)
        total -= 0.5 * (np.trace(ratio) - np.linalg.slogdet(ratio)[1] - 8)
    S = kernels[-1] + 0.1 * np.eye(8)
    total -= 0.5 * (Y @ np.linalg.solve(S, Y) + np.linalg.slogdet(S)[1] + 8 * np.log(2 * np.pi))
    # 1e-6: the kernel of X has eigenvalues down to its jitter, 1e-8.
    assert model.objective_ == pytest.approx(total, abs=1e-6)
    assert model.objective() == pytest.approx(model.objective_, abs=1e-6)


def test_no_small_change_of_a_gram_matrix_is_better():
    for layer in range(2):
        for _ in range(5):
            move = np.eye(8) + 0.01 * RNG.normal(size=(8, 8))
            other = list(free().gram_matrices_)
            other[layer] = move @ other[layer] @ move.T
            assert free().objective(other) < free().objective_


def test_infinite_nu_is_the_gaussian_process_of_a_wide_network():
    model = DeepGramMachine(depth=1, kernel="relu", nu=math.inf, **PLAIN).fit(X_WIDE, Y_WIDE[:, 0])
    K = gram_kernel(gram_kernel(torch.from_numpy(X_WIDE @ X_WIDE.T / 9), "relu"), "relu").numpy()
    expected = K @ np.linalg.solve(K + 0.1 * np.eye(5), Y_WIDE[:, 0])
    np.testing.assert_allclose(model.predict(X_WIDE), expected, rtol=1e-6)
    np.testing.assert_allclose(model.kernel_matrices_[-1], K, rtol=1e-6)


def test_forecasts_are_those_of_a_gaussian_process_with_the_last_kernel():
    model = DeepGramMachine(depth=1, nu=math.inf, noise=0.05, **PLAIN).fit(X, Y)
    G = model.kernel_matrices_[0]
    K = np.exp(G - 0.5 * np.add.outer(np.diag(G), np.diag(G)))
    exact = GaussianProcessRegressor("Linear()", alpha=0.05, optimizer=None)
    exact.fit(np.linalg.cholesky(K + 1e-8 * np.eye(8)), Y)
    mean, deviation = exact.predict(np.linalg.cholesky(K + 1e-8 * np.eye(8)), return_std=True)
    found = model.predict(X, return_std=True)
    np.testing.assert_allclose(found[0], mean, atol=1e-5)
    np.testing.assert_allclose(found[1], np.sqrt(deviation**2 + 0.05), atol=1e-5)


@pytest.mark.slow(reason="L-BFGS to 1e-5, twice")
def test_the_linear_machine_has_a_closed_form_whatever_nu_is():
    for nu in (8.0, [3.0, 5.0, 2.0]):
        exact = DeepGramMachine(nu=nu, closed_form=True, **LINEAR).fit(X_WIDE, Y_WIDE)
        found = DeepGramMachine(nu=nu, **LINEAR).fit(X_WIDE, Y_WIDE)
        assert max(map(distance, found.gram_matrices_, exact.gram_matrices_)) < 1e-5
        assert exact.objective_ == pytest.approx(found.objective_, abs=1e-7)


def test_a_random_start_ends_at_the_same_place():
    drawn = DeepGramMachine(nu=1.0, init="random", random_state=1, **PLAIN).fit(X, Y)
    assert max(map(distance, drawn.gram_matrices_, free().gram_matrices_)) < 1e-4


def test_equal_nu_are_equal_steps_and_sweeps_find_them_too():
    from mercer.learn.deep_linear import _sweep

    low, high = torch.eye(3).double(), torch.diag(torch.tensor([1.0, 8.0, 27.0])).double()
    first, second = deep_linear_gram_matrices(low, high, [2.0, 2.0, 2.0])
    torch.testing.assert_close(first.diagonal(), torch.tensor([1.0, 2.0, 3.0]).double())
    swept = _sweep(low, high, [low, high], [2.0] * 3, 1e-12)
    torch.testing.assert_close(swept[1], second, rtol=1e-10, atol=1e-12)
    with pytest.raises(NotConverged, match="still change by"):
        _sweep(low, high, [low, high], [2.0] * 3, -1.0)


def test_large_nu_holds_and_small_nu_frees():
    held = DeepGramMachine(nu=1e4, **PLAIN).fit(X, Y)
    assert max(map(distance, held.gram_matrices_, held.kernel_matrices_[:-1])) < 1e-3
    assert min(map(distance, free().gram_matrices_, free().kernel_matrices_[:-1])) > 0.05


def test_hyperparameters_columns_and_targets_of_any_size():
    table = np.column_stack([1e4 + 1e3 * X[:, 0], np.full(8, 7.0)])
    model = DeepGramMachine(depth=1).fit(table, np.column_stack([1e6 * Y, Y]))
    assert model.noise_ < 0.1
    mean, deviation = model.predict(table, return_std=True)
    assert mean.shape == deviation.shape == (8, 2)
    np.testing.assert_allclose(mean[:, 0], 1e6 * mean[:, 1], rtol=1e-6)
    assert np.abs(mean[:, 1] - Y).max() < 0.2
    assert model.n_iter_ > 3


def test_tensors_singles_and_files(tmp_path):
    model = DeepGramMachine(nu=2.0, **PLAIN).fit(torch.from_numpy(X).float(), torch.from_numpy(Y))
    assert isinstance(model.gram_matrices_[0], torch.Tensor)
    assert model.predict(torch.from_numpy(X).float()).dtype == torch.float32
    model.save(tmp_path / "model")
    loaded = DeepGramMachine.load(tmp_path / "model")
    torch.testing.assert_close(loaded.predict(torch.from_numpy(X)), model.predict(torch.from_numpy(X)))
    assert loaded.objective() == model.objective()
    assert clone(model).nu == 2.0


def test_the_layers_can_be_looked_at():
    axes = free().plot_gram_matrices(Y)
    assert [ax.get_title(loc="left") for ax in axes] == ["inputs", "layer 1", "layer 2"]
    with pytest.raises(ShapeError, match="needs 3 axes"):
        free().plot_gram_matrices(axes=axes[:2])
    with pytest.raises(ShapeError, match="one value for each of the 8 rows"):
        free().plot_gram_matrices(Y[:3])


@pytest.mark.slow(reason="samples: 8 gradients a step")
def test_wide_processes_come_near_the_machine():
    draws = sample_wide_dgp(X, Y, width=64, n_samples=30, n_chains=32, random_state=0)
    assert distance(draws.gram_matrices.mean(0)[1], free().gram_matrices_[1]) < 0.05
    assert 0.6 < draws.accepted <= 1.0
    assert draws.features[0].shape == (64, 8, 64)
    again = sample_wide_dgp(X, Y, width=64, n_samples=5, nu=[1.0, 2.0], random_state=0)
    assert [f.shape[2] for f in again.features] == [64, 128]


@pytest.mark.slow(reason="samples: 8 gradients a step")
def test_without_data_the_features_are_the_priors():
    draws = sample_wide_dgp(X, Y, width=64, depth=1, noise=1e9, n_samples=40, n_chains=64, random_state=0)
    # 0.18 / sqrt(1536 / 8): half a period takes F to -F, so that neighbours have nearly one Gram matrix.
    assert distance(draws.gram_matrices.mean(0)[0], free().kernel_matrices_[0]) < 0.04


@pytest.mark.parametrize(
    "nu",
    [np.int64(3), np.float32(3.0), np.array([3.0, 3.0]), torch.tensor(3.0), torch.tensor([3, 3]), [np.int64(3), 3.0]],
)
def test_numbers_of_numpy_and_torch_are_taken_for_nu(nu):
    with pytest.warns(ConvergenceWarning):
        assert DeepGramMachine(nu=nu, max_iter=1).fit(X, Y).nu_ == [3.0, 3.0]


@pytest.mark.parametrize("y", [np.full(8, 3.0), 1e6 * np.ones(8)])
@pytest.mark.parametrize("standardize", [True, False])
def test_the_learnt_noise_has_a_floor(y, standardize):
    model = DeepGramMachine(depth=1, standardize=standardize).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-5)
    alone = DeepGramMachine(depth=1).fit(X[:1], y[:1])
    np.testing.assert_allclose(alone.predict(X[:1]), y[:1])
    assert alone.noise_ == pytest.approx(1e-6)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"nu must be one number, or one for each of the 2 layers, not \[1.0\]"):
        DeepGramMachine(nu=[1.0]).fit(X, Y)
    with pytest.raises(ValueError, match="nu='auto' is for DeepKernelMachineRegressor"):
        DeepGramMachine(nu="auto").fit(X, Y)
    for nu in (0.0, -1.0, math.nan, "large", True, np.array([True, True]), np.ones((2, 2))):
        with pytest.raises(ValueError, match="nu must be positive"):
            DeepGramMachine(nu=nu).fit(X, Y)
    with pytest.raises(ValueError, match="depth must be a whole number >= 1, not 0"):
        DeepGramMachine(depth=0).fit(X, Y)
    with pytest.raises(ValueError, match="kernel must be one of"):
        DeepGramMachine(kernel="matern").fit(X, Y)
    with pytest.raises(ValueError, match="init must be 'nngp' or 'random'"):
        DeepGramMachine(init="zero").fit(X, Y)
    with pytest.raises(ValueError, match="closed_form=True needs kernel='linear'"):
        DeepGramMachine(closed_form=True).fit(X, Y)
    with pytest.raises(IndefiniteGram, match=r"layer 1 of 2: the 3 x 3 kernel matrix is not positive definite"):
        DeepGramMachine(jitter=0.0, **PLAIN).fit(np.zeros((3, 1)), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="standardize=False"):
        DeepGramMachine(closed_form=True, **LINEAR | {"standardize": True}).fit(X_WIDE, Y_WIDE)
    with pytest.raises(IndefiniteGram, match="as many independent targets as rows, but of 5 rows there are 2"):
        DeepGramMachine(nu=1.0, closed_form=True, **LINEAR).fit(X_WIDE, Y_WIDE[:, :2])
    with pytest.raises(ValueError, match="give 2 Gram matrices, one a layer, not 1"):
        free().objective([np.eye(8)])
    with pytest.raises(IndefiniteGram, match="G is not symmetric"):
        free().objective([np.triu(np.ones((8, 8))), np.eye(8)])
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        DeepGramMachine(nu=1.0, max_iter=2, **PLAIN).fit(X, Y)
    with pytest.raises(ValueError, match="finite nu and n_warmup < n_samples"):
        sample_wide_dgp(X, Y, width=8, nu=math.inf)
    with pytest.raises(ShapeError, match=r"X must be \(n, d\)"):
        sample_wide_dgp(X, Y[:3], width=8)
    for y in (np.ones((8, 2, 2)), 1.0):
        with pytest.raises(ShapeError, match=r"X must be \(n, d\), with n >= 1, and y"):
            sample_wide_dgp(X, y, width=8)
    with pytest.raises(ShapeError, match=r"with n >= 1"):
        sample_wide_dgp(X[:0], Y[:0], width=8)
    with pytest.raises(ValueError, match="noise must be a finite number >= 0, not 'a'"):
        sample_wide_dgp(X, Y, width=8, noise="a")
    with pytest.raises(ShapeError, match=r"bottom must be a square matrix .* not of shape \(0, 0\)"):
        deep_linear_gram_matrices(np.zeros((0, 0)), np.zeros((0, 0)), [1.0, 1.0])
    with pytest.raises(ValueError, match="one for each hidden layer and the output"):
        deep_linear_gram_matrices(np.eye(2), np.eye(2), [1.0])
    with pytest.raises(ShapeError, match="bottom and top must be alike"):
        deep_linear_gram_matrices(np.eye(2), np.eye(3), [1.0, 1.0])
    assert float(gram_divergence(torch.eye(2), torch.eye(2))) == 0.0
