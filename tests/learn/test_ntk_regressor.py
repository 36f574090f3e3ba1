"""Trained infinite networks: against ensembles of linear models, Gaussian processes, refits, and neural-tangents."""

import math

import numpy as np
import pytest
import torch

from mercer.kernels import NNGP, NTK, RBF, HierarchicalConv, InfiniteNetwork, parse, to_text
from mercer.kernels.neural.layers import Activation, Conv, Dense, GlobalAvgPool, ReLU
from mercer.learn import GaussianProcessRegressor, KernelRidge, NTKClassifier, NTKRegressor
from mercer.learn.ntk_network import network_kernels
from mercer.operators import GradientFlow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = np.sin(2.0 * X[:, 0]) + 0.1 * RNG.normal(size=30)
NEW = RNG.normal(size=(7, 3))
NETWORK = InfiniteNetwork(Dense(), ReLU(), Dense(), sigma_w=1.4, sigma_b=0.2)


def test_rows_of_the_card_of_neural_tangents():
    points = np.random.RandomState(0).randn(5, 7)
    rows = {
        "relu": ((1.07514641033, 0.207557278571, 0.270391513322), (0.279411602583, 0.10098872894, 0.151468409637)),
        "erf": ((1.41429992919, 0.365970228132, 0.107309772301), (0.294183174009, 0.102933091593, 0.039054377513)),
    }
    for activation, (ntk, nngp) in rows.items():
        for kernel, expected in ((NTK, ntk), (NNGP, nngp)):
            K = kernel(depth=4, activation=activation)(torch.from_numpy(points)).to_dense()
            np.testing.assert_allclose(K[0, :3], expected, rtol=2e-11)  # as many digits as are given


def test_the_end_of_training_is_kernel_ridge_regression():
    for alpha in (0.0, 0.1):
        ridge = KernelRidge(alpha, kernel=NETWORK.ntk).fit(X, Y).predict(NEW)
        np.testing.assert_allclose(NTKRegressor(NETWORK, alpha=alpha).fit(X, Y).predict(NEW), ridge, atol=1e-6)


def test_training_the_last_layer_to_the_end_is_the_posterior_of_the_prior():
    mean, std = NTKRegressor(NETWORK, kind="nngp", alpha=0.05).fit(X, Y).predict(NEW, return_std=True)
    _, cov = NTKRegressor(NETWORK, kind="nngp", alpha=0.05).fit(X, Y).predict(NEW, return_cov=True)
    process = GaussianProcessRegressor(NETWORK.nngp, alpha=0.05, optimizer=None).fit(X, Y)
    expected, deviation = process.predict(NEW, return_std=True)
    np.testing.assert_allclose(mean, expected, atol=1e-8)
    np.testing.assert_allclose(std, deviation, atol=1e-7)
    np.testing.assert_allclose(cov, process.predict(NEW, return_cov=True)[1], atol=1e-8)


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
@pytest.mark.parametrize("alpha", [0.0, 0.2])
@pytest.mark.parametrize("discrete", [False, True])
def test_mean_and_covariance_are_those_of_an_ensemble_of_linear_models(kind, alpha, discrete):
    # Each starts from a draw f_0 of the prior and follows the kernel: f_t = f_0 + A (y - f_0(X)), so the covariance is
    # that of f_0 through a matrix, here by the definition and in discrete time by steps.
    kernels = network_kernels(NETWORK)
    both = torch.from_numpy(np.concatenate([X, NEW]))
    S, T = kernels["nngp"](both).to_dense(), kernels[kind](both).to_dense()
    time, rate, n = 40, 1.5, 30
    response = torch.zeros(37, 30, dtype=torch.float64)  # of f_t by y - f_0(X)
    steps = time if discrete else time * 4000
    c = torch.zeros(30, 30, dtype=torch.float64)
    pace = rate * time / steps / n
    M = torch.eye(30, dtype=torch.float64) - pace * (T[:30, :30] + alpha * torch.eye(30, dtype=torch.float64))
    power, total = torch.linalg.matrix_power(M, steps), T[:30, :30] + alpha * torch.eye(30, dtype=torch.float64)
    c = torch.linalg.solve(total, torch.eye(30, dtype=torch.float64) - power)
    response = T[:, :30] @ c
    through = torch.eye(37, dtype=torch.float64)
    through[:, :30] -= response
    expected = (through @ S @ through.mT)[30:, 30:]
    model = NTKRegressor(NETWORK, time=time, learning_rate=rate, kind=kind, alpha=alpha, discrete=discrete).fit(X, Y)
    mean, cov = model.predict(NEW, return_cov=True)
    tolerance = {"atol": 1e-9} if discrete else {"atol": 1e-4}  # the steps of 1 / 4000 follow the flow to that
    np.testing.assert_allclose(mean, response[30:] @ torch.from_numpy(Y), **tolerance)
    np.testing.assert_allclose(cov, expected, **tolerance)
    np.testing.assert_allclose(model.predict(NEW, return_std=True)[1] ** 2, np.diag(cov), atol=1e-12)


def test_leave_one_out_is_that_of_models_fitted_without_each_row():
    model = NTKRegressor(NETWORK, time=300.0).fit(X, Y)
    for i in (0, 11, 29):
        rest = np.delete(np.arange(30), i)
        # the rate for each row stays eta / 30
        refit = NTKRegressor(NETWORK, time=300.0 * 29 / 30).fit(X[rest], Y[rest])
        assert model.leave_one_out()[i] == pytest.approx(Y[i] - refit.predict(X[i : i + 1])[0], abs=1e-9)
    assert model.leave_one_out([0.0, 3.0, None]).shape == (3, 30)


def test_the_time_is_chosen_by_leave_one_out():
    rows = np.linspace(-2.0, 2.0, 40)[:, None]
    noisy = np.sin(2.0 * rows[:, 0]) + 0.5 * np.random.default_rng(0).normal(size=40)
    model = NTKRegressor(NETWORK, time="loo").fit(rows, noisy)
    assert 0.0 < model.time_ < math.inf
    errors = (model.leave_one_out(model.loo_times_) ** 2).mean(1)
    np.testing.assert_allclose(errors, model.loo_errors_, rtol=1e-6)
    assert model.time_ == model.loo_times_[errors.argmin()]
    again = NTKRegressor(NETWORK, time=model.time_).fit(rows, noisy)
    np.testing.assert_allclose(model.predict(rows), again.predict(rows))
    assert not hasattr(model.set_params(time=3.0).fit(X, Y), "loo_times_")


def test_the_curve_of_training_starts_at_zero_and_ends_at_the_targets():
    model = NTKRegressor(NETWORK).fit(X, np.stack([Y, -Y], 1))
    curve = model.predict_curve(X, [0.0, 1e3, math.inf])
    assert curve.shape == (3, 30, 2)
    np.testing.assert_allclose(curve[0], 0.0)
    np.testing.assert_allclose(curve[2][:, 0], Y, atol=1e-8)
    at = NTKRegressor(NETWORK, time=1e3).fit(X, Y).predict(X)
    np.testing.assert_allclose(curve[1][:, 1], -at)
    mean, std = model.predict(NEW, return_std=True)
    assert mean.shape == std.shape == (7, 2)


def test_components_are_learnt_at_the_rate_of_their_eigenvalues():
    model = NTKRegressor(NETWORK, learning_rate=0.5).fit(X, Y)
    K = NETWORK.ntk(torch.from_numpy(X)).to_dense().numpy()
    np.testing.assert_allclose((model.components_.T * model.eigenvalues_) @ model.components_, K, atol=1e-10)
    np.testing.assert_allclose(model.learning_times_, 30 / (0.5 * model.eigenvalues_))
    t = model.learning_times_[1]
    left = model.components_ @ (Y - model.predict_curve(X, [t])[0])
    assert left[1] / (model.components_[1] @ Y) == pytest.approx(math.exp(-1.0), rel=1e-8)


def test_images_are_taken_as_they_are():
    images = RNG.normal(size=(6, 1, 4, 4))
    network = InfiniteNetwork(Conv(), ReLU(), GlobalAvgPool(), Dense())
    model = NTKRegressor(network).fit(images, np.arange(6.0))
    shaped = InfiniteNetwork(*network.layers, shape=(1, 4, 4))
    flat = NTKRegressor(shaped).fit(images.reshape(6, 16), np.arange(6.0))
    np.testing.assert_allclose(model.predict(images[:2]), flat.predict(images[:2].reshape(2, 16)))
    np.testing.assert_allclose(model.predict(torch.from_numpy(images[:2])), model.predict(images[:2].reshape(2, 16)))
    with pytest.raises(ValueError, match=r"rows of shape \(1, 2, 8\), but fit saw \(1, 4, 4\)"):
        model.predict(images.reshape(6, 1, 2, 8))


def test_tensors_in_tensors_out():
    model = NTKRegressor(time=5.0).fit(torch.from_numpy(X).float(), torch.from_numpy(Y))
    mean, std = model.predict(torch.from_numpy(NEW).float(), return_std=True)
    assert mean.dtype == std.dtype == torch.float32
    np.testing.assert_allclose(mean, NTKRegressor(time=5.0).fit(X, Y).predict(NEW), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "network", [None, "NTK(depth=2, activation='erf')", NNGP(depth=2), NETWORK, HierarchicalConv((3,), channels=1)]
)
def test_saved_and_loaded(network, tmp_path):
    kind = "nngp" if isinstance(network, NNGP) else "ntk"
    for model in (NTKRegressor(network, time=30.0, kind=kind), NTKClassifier(network, alpha=0.1, kind=kind)):
        model.fit(X, np.where(Y > 0, 1.0, 0.0))
        model.save(tmp_path / "model")
        loaded = type(model).load(tmp_path / "model")
        np.testing.assert_array_equal(loaded.predict(NEW), model.predict(NEW))
        if isinstance(model, NTKRegressor):
            for one, two in zip(loaded.predict(NEW, return_std=True), model.predict(NEW, return_std=True), strict=True):
                np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_errors_of_rows_left_out_of_discrete_steps_are_those_of_trainings_without_them(alpha):
    rate = 0.45 * float(GradientFlow.of(NETWORK.ntk(X), alpha=alpha).stable_rate)
    times = [0, 1, 5, 16, 60, 3000, None]
    options = {"learning_rate": rate, "alpha": alpha, "discrete": True}
    found = NTKRegressor(NETWORK, time=5, **options).fit(X, Y).leave_one_out(times)
    K, h = NETWORK.ntk(X).to_dense().numpy(), rate / len(X)
    for row in (0, 7, 29):
        rest = np.arange(len(X)) != row
        values, vectors = np.linalg.eigh(K[np.ix_(rest, rest)])
        for place, time in enumerate(times):
            left = 0.0 if time is None else (1.0 - h * (values + alpha)) ** time
            c = vectors @ ((1.0 - left) / (values + alpha) * (vectors.T @ Y[rest]))
            assert found[place, row] == pytest.approx(Y[row] - K[row, rest] @ c, abs=1e-8), (row, time)
    chosen = NTKRegressor(NETWORK, time="loo", **options).fit(X, Y)
    assert chosen.time_ == int(chosen.time_)
    assert chosen.loo_errors_.min() == pytest.approx(np.mean(chosen.leave_one_out() ** 2))


@pytest.mark.parametrize("network", [NNGP(depth=2), HierarchicalConv((3,), "nngp"), NETWORK.nngp])
def test_the_kernel_of_the_prior_is_not_trained_as_a_tangent_kernel(network):
    with pytest.raises(ValueError, match=r"kind='ntk' trains by their tangent kernel. Set kind='nngp'"):
        NTKRegressor(network, alpha=0.1).fit(X, Y)


def test_models_with_a_function_of_torch_are_saved(tmp_path):
    model = NTKRegressor(NTK(2, Activation(torch.tanh)), alpha=0.1).fit(X, Y)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(NTKRegressor.load(tmp_path / "model").predict(NEW), model.predict(NEW))


def test_images_tell_a_hierarchical_kernel_their_shape():
    images = np.random.default_rng(0).normal(size=(9, 1, 4, 16))
    network = HierarchicalConv((2, 2), ndim=2)
    found = NTKRegressor(network, alpha=0.1).fit(images, images[:, 0, 0, 0])
    told = HierarchicalConv((2, 2), ndim=2, shape=(4, 16))
    expected = NTKRegressor(told, alpha=0.1).fit(images.reshape(9, -1), images[:, 0, 0, 0])
    np.testing.assert_array_equal(found.predict(images), expected.predict(images.reshape(9, -1)))


def test_a_file_cannot_name_a_kernel_as_a_network(tmp_path):
    from mercer.errors import FileFormatError
    from mercer.learn.saving import decode

    text = to_text(NETWORK.ntk)
    assert repr(decode({"network": text}, {})) == repr(NETWORK)
    assert to_text(parse(text)) == text
    with pytest.raises(FileFormatError, match="which is no network"):
        decode({"network": "RBF()"}, {})


def test_both_kernels_of_a_network_from_either():
    assert repr(network_kernels(NNGP(depth=4))) == repr(network_kernels("NTK(depth=4)"))
    kernels = network_kernels(NETWORK.nngp)
    assert (kernels["ntk"].kind, kernels["nngp"].kind, NETWORK.nngp.kind) == ("ntk", "nngp", "nngp")
    with pytest.raises(TypeError, match="not RBF"):
        network_kernels(RBF())


def test_errors_say_what_to_do():
    twice = np.concatenate([X, X[3:5]])
    with pytest.raises(ValueError, match=r"these rows \(counted from 0\) are equal: (3, 30; 4, 31|4, 31; 3, 30), so"):
        NTKRegressor().fit(twice, np.arange(32.0))
    assert np.isfinite(NTKRegressor(alpha=1e-6).fit(twice, np.arange(32.0)).predict(NEW)).all()
    assert np.isfinite(NTKRegressor(time=10.0).fit(twice, np.arange(32.0)).predict(NEW)).all()
    assert NTKRegressor(time="loo").fit(twice, np.arange(32.0)).time_ < math.inf
    with pytest.raises(ValueError, match="or the activation is a polynomial"):
        NTKRegressor(InfiniteNetwork(Dense())).fit(X, Y)
    K = NTK()(torch.from_numpy(X)).to_dense()
    bound = 60 / float(torch.linalg.eigvalsh(K)[-1])
    with pytest.raises(ValueError, match=rf"the rate is below 2 N / \(largest eigenvalue \+ alpha\) = {bound:.4g}"):
        NTKRegressor(learning_rate=1.01 * bound, discrete=True).fit(X, Y)
    with pytest.raises(ValueError, match="depth counts layers"):
        NTKRegressor(NTK(depth=0))
    with pytest.raises(ValueError, match="kind='prior'"):
        NTKRegressor(kind="prior").fit(X, Y)
    with pytest.raises(ValueError, match="time='best'"):
        NTKRegressor(time="best").fit(X, Y)
    with pytest.raises(ValueError, match="nothing is ever learnt"):
        NTKRegressor(NTK(sigma_b=0.0), time="loo").fit(np.zeros((2, 1)), [0.0, 1.0])
    with pytest.raises(ValueError, match="below half of the stable one"):
        NTKRegressor(time="loo", learning_rate=0.9 * bound, discrete=True).fit(X, Y)
    for options in ({"alpha": "a"}, {"time": True}, {"time": [1.0]}, {"discrete": "yes"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            NTKRegressor(**options).fit(X, Y)
    model = NTKRegressor().fit(X, Y)
    for times in ([], 5.0, "loo"):
        with pytest.raises(ValueError, match="give a list of times"):
            model.predict_curve(NEW, times)
    for time in ("a", -1.0, math.nan):
        with pytest.raises(ValueError, match="time must be a number >= 0"):
            model.predict_curve(NEW, [time])
    with pytest.raises(ValueError, match="time must be a whole number"):
        NTKRegressor(NETWORK, time=3, learning_rate=0.1, discrete=True).fit(X, Y).leave_one_out([2.5])
    with pytest.raises(RuntimeError, match="At most one"):
        NTKRegressor().fit(X, Y).predict(X, return_std=True, return_cov=True)


def test_plots():
    pytest.importorskip("matplotlib")
    model = NTKRegressor(NETWORK, time=30.0).fit(X, Y)
    axes = model.plot_components(3)
    assert [line.get_label() for line in axes.lines] == ["component 1", "component 2", "component 3"]
    at = np.abs(model.components_[0] @ model._targets)[0]
    assert axes.lines[0].get_ydata()[0] == pytest.approx(at, rel=0.05)
    axes = model.plot_early_stopping()
    assert axes.lines[-1].get_xdata()[0] == model.time_
    steps = NTKRegressor(NETWORK, discrete=True, time=5).fit(X, Y).plot_early_stopping()
    assert [line.get_label() for line in steps.lines] == ["training rows", "training stops"]


def test_the_classifier_finds_classes_and_its_probabilities_are_shares_of_an_ensemble():
    labels = np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]
    model = NTKClassifier(NETWORK, time=50.0).fit(X, labels)
    assert np.mean(model.predict(X) == labels) > 0.9
    shares = model.predict_proba(NEW)
    np.testing.assert_allclose(shares.sum(1), 1.0)
    one_hot = np.array(["a", "b", "c"]) == labels[:, None]
    mean, std = NTKRegressor(NETWORK, time=50.0).fit(X, one_hot - 1 / 3).predict(NEW, return_std=True)
    np.testing.assert_allclose(model.decision_function(NEW), mean, atol=1e-12)
    draws = mean + std * np.random.default_rng(1).normal(size=(20_000, 7, 3))
    seen = (draws.argmax(2)[..., None] == np.arange(3)).mean(0)
    np.testing.assert_allclose(shares, seen, atol=0.02)  # 5 standard errors of 20,000 draws
    assert model.predict_curve(NEW, [0.0, 50.0]).shape == (2, 7, 3)


def test_two_classes_have_one_difference_and_ties_are_shared():
    labels = np.where(Y > 0, "up", "down")
    model = NTKClassifier(NETWORK, alpha=0.1).fit(X, labels)
    difference = model.decision_function(NEW)
    assert difference.shape == (7,)
    np.testing.assert_array_equal(model.predict(NEW), np.where(difference > 0, "up", "down"))
    _, std = NTKRegressor(NETWORK, alpha=0.1).fit(X, Y).predict(NEW, return_std=True)
    expected = torch.special.ndtr(torch.from_numpy(difference / (math.sqrt(2.0) * std))).numpy()
    np.testing.assert_allclose(model.predict_proba(NEW)[:, 1], expected, atol=1e-9)
    at_zero = NTKClassifier(InfiniteNetwork(Dense(), sigma_b=0.0), time=1.0).fit([[1.0], [-1.0]], [0, 1])
    np.testing.assert_allclose(at_zero.predict_proba([[0.0]]), [[0.5, 0.5]])
    with pytest.raises(ValueError, match="at least two classes"):
        NTKClassifier().fit(X, np.zeros(30, dtype=int))
