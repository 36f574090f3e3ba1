"""Deep kernel machines on images: what places are worth, a look inside, files, and refusals."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.base import clone

from mercer.errors import ShapeError
from mercer.learn import DeepKernelMachineClassifier, DeepKernelMachineRegressor


def bars(n, seed=0, side=6):
    """Images of one bar of three pixels at any place, lying (0) or standing (1), in noise."""
    rng = np.random.default_rng(seed)
    images, y = 0.2 * rng.normal(size=(n, side, side)), rng.integers(2, size=n)
    for image, standing in zip(images, y, strict=True):
        i, j = rng.integers(side, size=2), rng.integers(side - 2)
        if standing:
            image[j : j + 3, i[0]] += 1.0
        else:
            image[i[0], j : j + 3] += 1.0
    return images.reshape(n, -1), y


X, Y = bars(120)
TEST, TRUTH = bars(200, seed=1)
SETTINGS = {"depth": 1, "nu": 10.0, "n_inducing": 16, "max_epochs": 30, "learning_rate": 0.05, "random_state": 0}
IMAGES = {**SETTINGS, "kernel": "relu", "image_shape": (6, 6)}


@cache
def fitted():
    return DeepKernelMachineClassifier(**IMAGES).fit(X, Y)


def test_what_is_alike_at_other_places_is_found():
    rows = DeepKernelMachineClassifier(**SETTINGS).fit(X, Y)
    assert fitted().score(TEST, TRUTH) > 0.9
    assert rows.score(TEST, TRUTH) < 0.8  # pixels as columns
    assert fitted().objective_curve_[-1] > fitted().objective_curve_[0]


def test_a_look_inside():
    assert fitted().inducing_points_.shape == (16, 1, 3, 3)
    assert [G.shape for G in fitted().gram_matrices_] == [(16, 16)]
    assert len(fitted().kernel_matrices_) == 2
    features = fitted().features(TEST)
    G = fitted().gram_matrix(TEST)
    assert features.shape == (200, 16)
    off = ~np.eye(200, dtype=bool)
    np.testing.assert_allclose((features @ features.T)[off], G[off], rtol=1e-10)
    np.testing.assert_allclose(np.diag(G), np.diag(features @ features.T), rtol=1e-9)
    assert fitted().gram_matrix(TEST[:5], layer=0).shape == (5, 5)
    # the mean over places does not notice a shift of what is far from the border
    middle = np.zeros((2, 6, 6))
    middle[0, 2, 1:4], middle[1, 3, 2:5] = 1.0, 1.0
    one, two = fitted().latent_mean_and_variance(middle.reshape(2, -1))[0]
    assert one == pytest.approx(two, rel=0.2)


def test_the_fixed_kernel_keeps_its_gram_matrices():
    model = DeepKernelMachineClassifier(**{**IMAGES, "nu": np.inf, "max_epochs": 2}).fit(X, Y)
    scale = np.abs(model.kernel_matrices_[0]).max()
    np.testing.assert_allclose(model.gram_matrices_[0], model.kernel_matrices_[0], atol=1e-9 * scale)


def test_images_are_saved_and_loaded(tmp_path):
    fitted().save(tmp_path / "model.safetensors")
    loaded = DeepKernelMachineClassifier.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(TEST), fitted().predict_proba(TEST))
    np.testing.assert_array_equal(loaded.inducing_points_, fitted().inducing_points_)
    assert clone(loaded).get_params()["patch_size"] == 3


def test_regression_with_channels_and_given_patches():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(60, 2, 5, 4))
    y = np.abs(images[:, 0, :, 1:] - images[:, 1, :, :-1]).mean((1, 2))
    patches = rng.normal(size=(10, 2, 3, 3))
    options = {**IMAGES, "kernel": "rbf", "image_shape": (2, 5, 4), "max_epochs": 5}
    found = [
        DeepKernelMachineRegressor(**{**options, "depth": 2, "inducing": given}).fit(images.reshape(60, -1), y)
        for given in (patches, patches.reshape(10, -1))
    ]
    assert found[0].inducing_points_.shape == (10, 2, 3, 3)
    np.testing.assert_allclose(*(m.predict(images.reshape(60, -1)) for m in found))
    still = DeepKernelMachineRegressor(**{**options, "inducing": patches, "learn_inducing": False, "max_epochs": 1})
    np.testing.assert_allclose(still.fit(images.reshape(60, -1), y).inducing_points_, patches)
    given = torch.from_numpy(images.reshape(60, -1)).float()
    assert still.fit(given, torch.from_numpy(y)).predict(given).dtype == torch.float32


def test_predictions_do_not_depend_on_what_is_predicted_together(monkeypatch):
    expected = fitted().predict_proba(TEST), fitted().features(TEST)
    monkeypatch.setattr("mercer.learn.deep_kernel_model._PLACES_AT_ONCE", 36 * 7)
    np.testing.assert_allclose(fitted().predict_proba(TEST), expected[0], rtol=1e-9)
    np.testing.assert_allclose(fitted().features(TEST), expected[1], rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_shape": (6,)}, ValueError, "image_shape must be"),
        ({"image_shape": (0, 6)}, ValueError, "image_shape must be"),
        ({"image_shape": "6x6"}, ValueError, "image_shape must be"),
        ({"patch_size": 2}, ValueError, "patch_size must be odd"),
        ({"patch_size": 99}, ValueError, "patch_size=99 is beyond what a patch sees of"),
        ({"image_shape": (6, 7)}, ShapeError, "rows of 42 pixels, but X has 36 columns"),
        ({"inducing": np.ones((4, 36))}, ShapeError, r"inducing must be \(M, 9\)"),
    ],
)
def test_other_shapes_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        DeepKernelMachineClassifier(**{**IMAGES, **options}).fit(X, Y)
