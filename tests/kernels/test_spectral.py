"""Spectral mixtures: arguments, starting values from data, GPyTorch's numbers."""

import math

import numpy as np
import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import RBF, Matern, SpectralMixture, parse

DOUBLE = torch.float64
X = torch.randn(9, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
Y = torch.randn(6, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("d", [1, 2])
def test_the_separable_form_is_the_kernel_of_gpytorch(d):
    gpytorch = pytest.importorskip("gpytorch")
    kernel = gpytorch.kernels.SpectralMixtureKernel(num_mixtures=3, ard_num_dims=d).double()
    for parameter in kernel.parameters():
        torch.nn.init.normal_(parameter)
    ours = SpectralMixture(
        3,
        weights=kernel.mixture_weights.detach(),
        frequencies=kernel.mixture_means.detach().squeeze(-2),
        lengthscale=0.5 / (math.pi * kernel.mixture_scales.detach().squeeze(-2)),
        separable=True,
    )
    expected = kernel(X[:, :d], Y[:, :d]).to_dense().detach()
    torch.testing.assert_close(ours(X[:, :d], Y[:, :d]).to_dense(), expected, rtol=1e-10, atol=1e-12)


def test_both_forms_are_one_for_a_single_column():
    joint = SpectralMixture(3, max_frequency=2.0)
    separable = SpectralMixture(3, max_frequency=2.0, separable=True)
    x = X[:, :1]
    torch.testing.assert_close(joint(x).to_dense(), separable(x).to_dense(), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("envelope", "plain"), [("gaussian", RBF(0.7)), ("student_t", Matern(0.7, nu=2.5))])
def test_a_wave_of_frequency_0_is_its_envelope(envelope, plain):
    kernel = SpectralMixture(1, weights=[2.0], frequencies=[0.0], lengthscale=0.7, envelope=envelope)
    torch.testing.assert_close(kernel(X, Y).to_dense(), 2.0 * plain(X, Y).to_dense(), rtol=1e-12, atol=1e-13)


def test_defaults_are_equal_weights_and_frequencies_up_to_the_highest():
    kernel = SpectralMixture(3, max_frequency=4.0)
    found = {h.path: h.value for h in kernel.hyperparameters()}
    assert found["weights"].tolist() == pytest.approx([1 / 3] * 3)
    assert found["frequencies"].tolist() == [[0.0], [2.0], [4.0]]
    assert found["lengthscale"].tolist() == [[1.0]] * 3
    assert parse(repr(kernel)) == kernel
    moved = kernel.with_values({"frequencies": torch.tensor([[1.0], [2.0], [3.0]])})
    assert moved.hyperparameter("frequencies").tolist() == [[1.0], [2.0], [3.0]]


def test_a_flat_vector_as_estimators_keep_it_is_the_table_row_by_row():
    table = [[0.1, 0.2], [0.3, 0.4]]
    flat = SpectralMixture(2, frequencies=[0.1, 0.2, 0.3, 0.4], lengthscale=1.0)
    assert flat.hyperparameter("frequencies").tolist() == table
    torch.testing.assert_close(flat(X).to_dense(), SpectralMixture(2, frequencies=table)(X).to_dense())


def test_one_lengthscale_for_all_waves_is_one_hyperparameter_and_one_exponential():
    kernel = SpectralMixture(4, lengthscale=0.5)
    assert kernel.hyperparameter("lengthscale").numel() == 1
    each = SpectralMixture(4, lengthscale=[0.5] * 4)
    torch.testing.assert_close(kernel(X).to_dense(), each(X).to_dense(), rtol=1e-14, atol=1e-14)
    (term,) = kernel(X).spec.terms
    assert repr(term).count("theta") > 0
    from mercer.operators.maps import postorder

    assert sum(node.op == "exp" for node in postorder([term])) == 1


def test_a_phase_of_many_turns_keeps_its_digits_between_near_points():
    x = torch.tensor([[1e4], [1e4 + 0.01]], dtype=DOUBLE)
    wave = SpectralMixture(1, weights=[1.0], frequencies=[1e5], lengthscale=1e6)
    z = float(x[1] - x[0])
    assert float(wave(x, x)[0, 1]) == pytest.approx(math.cos(2.0 * math.pi * math.fmod(1e5 * z, 1.0)), abs=1e-11)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "it must be a whole number >= 1"),
        ({"n_components": 2, "envelope": "box"}, ValueError, "choose from gaussian, student_t"),
        ({"n_components": 2, "max_frequency": -1.0}, ValueError, "it must be >= 0 and finite"),
        ({"n_components": 2, "weights": [1.0, -1.0]}, ValueError, "weights must be >= 0"),
        ({"n_components": 2, "lengthscale": 0.0}, ValueError, "lengthscale must be > 0"),
        ({"n_components": 2, "frequencies": [1.0, 2.0, 3.0]}, ShapeError, "2 components need 2 values"),
        ({"n_components": 2, "weights": 0.5}, ShapeError, "2 components need 2 values"),
    ],
)
def test_what_is_no_mixture_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        SpectralMixture(**arguments)


def test_values_for_other_columns_are_refused_at_binding():
    with pytest.raises(ShapeError, match="values for 3 columns, but the kernel sees 2"):
        SpectralMixture(2, frequencies=np.ones((2, 3)))(X)


def test_waves_are_found_in_points_that_lie_anywhere():
    generator = np.random.default_rng(3)
    x = np.sort(generator.uniform(0.0, 10.0, 300))
    y = 5.0 + np.sin(2.0 * np.pi * 7.3 * x) + 0.5 * np.cos(2.0 * np.pi * 2.1 * x) + 0.1 * generator.normal(size=300)
    kernel = SpectralMixture.from_data(x[:, None], y, 2, max_frequency=12.0)
    np.testing.assert_allclose(np.ravel(kernel.frequencies), [7.3, 2.1], atol=0.01)
    np.testing.assert_allclose(kernel.weights, [0.5, 0.125], rtol=0.15)
    assert sum(kernel.weights) == pytest.approx(y.var())
    # a line is as wide as 10 units of data can tell
    assert (np.ravel(kernel.lengthscale) > 2.0).all()
    assert (np.ravel(kernel.lengthscale) < 10.0).all()


def test_a_broad_peak_gives_a_short_lengthscale():
    x = np.linspace(0.0, 25.0, 200)
    truth = SpectralMixture(1, weights=[1.0], frequencies=[1.5], lengthscale=1.0)
    K = truth(torch.from_numpy(x)[:, None]).to_dense().numpy() + 1e-8 * np.eye(200)
    y = np.linalg.cholesky(K) @ np.random.default_rng(0).normal(size=200)
    found = SpectralMixture.from_data(x[:, None], y, 1, max_frequency=4.0)
    line = SpectralMixture.from_data(x[:, None], np.sin(2.0 * np.pi * 1.5 * x), 1, max_frequency=4.0)
    assert float(found.frequencies[0, 0]) == pytest.approx(1.5, abs=0.3)
    assert found.lengthscale[0, 0] <= line.lengthscale[0, 0]


def test_a_wave_in_two_columns_is_one_component():
    points = np.random.default_rng(0).uniform(0.0, 3.0, (200, 2))
    y = np.sin(2.0 * np.pi * 2.2 * points[:, 0]) * np.cos(2.0 * np.pi * 3.7 * points[:, 1])
    kernel = SpectralMixture.from_data(points, y, 1, max_frequency=6.0)
    np.testing.assert_allclose(kernel.frequencies, [[2.2, 3.7]], atol=0.05)


@pytest.mark.parametrize(
    ("points", "y", "error", "message"),
    [
        (np.zeros(5), np.zeros(5), ShapeError, r"X \(n, d\) and y \(n,\)"),
        (np.zeros((3, 1)), np.zeros(3), ValueError, "a wave needs at least 4"),
        (np.zeros((5, 1)), np.zeros(5), ValueError, "column 0 of X, counted from 0, is constant"),
        (np.full((5, 1), np.nan), np.zeros(5), ValueError, "NaN or infinity"),
        (np.eye(7), np.zeros(7), ValueError, "no more than 6 columns"),
    ],
)
def test_data_without_waves_is_refused(points, y, error, message):
    with pytest.raises(error, match=message):
        SpectralMixture.from_data(points, y, 2)
    with pytest.raises(ValueError, match="it must be > 0 and finite"):
        SpectralMixture.from_data(np.arange(5.0)[:, None], np.ones(5), 2, max_frequency=0.0)
