"""Scales of targets that are known: functions of one patch, of two neighbours, of the whole point."""

import numpy as np
import pytest
import torch

from mercer.data import multisphere
from mercer.errors import ShapeError
from mercer.learn import scale_of_target

X = multisphere(300, 4, 2, random_state=0)
ANGLES = np.arctan2(X[:, 1::2], X[:, ::2])  # (n, 4)
TARGETS = [
    np.sin(2 * ANGLES[:, 0]) + np.cos(ANGLES[:, 3]),
    np.cos(ANGLES[:, 0] + ANGLES[:, 1]),
    np.cos(ANGLES[:, 0] + ANGLES[:, 2]),
]


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_target_lives_at_its_own_scale(layer):
    found = scale_of_target(X, TARGETS[layer], (2, 2, 2), n_bootstrap=20)
    assert found.sizes == (2, 4, 8)
    assert int(found.shares.argmax()) == layer
    assert found.shares[layer] > (0.99, 0.8, 0.3)[layer]  # larger scales take more rows to be learnt
    assert (found.shares[:layer] < 0.05).all()
    assert found.shares.sum() + found.unexplained == pytest.approx(1.0)


def test_shares_of_a_sum_are_those_of_its_parts():
    found = scale_of_target(X, TARGETS[0] / TARGETS[0].std() + TARGETS[1] / TARGETS[1].std(), (2, 2, 2))
    assert found.shares[0] == pytest.approx(0.5, abs=0.06)
    assert 0.3 < found.shares[1] < 0.56
    assert (found.standard_errors[:2] > 0.005).all()
    assert (found.standard_errors < 0.1).all()


def test_few_rows_of_noise_have_no_scale():
    draws = [np.random.default_rng(seed).normal(size=20) for seed in range(10)]
    shares = [scale_of_target(X[:20], y, (2, 2, 2), n_bootstrap=2).shares for y in draws]
    assert (np.array(shares) >= 0.0).all()
    assert np.mean(np.sum(shares, 1)) < 0.05  # the mean of the others instead of all, as it was: 0.12


def test_noise_is_unexplained_and_labels_become_indicators():
    draw = np.random.default_rng(0)
    noise = scale_of_target(X, draw.normal(size=300), (2, 2), n_bootstrap=5)
    assert noise.unexplained > 0.95
    labels = scale_of_target(X, np.where(X[:, 0] > 0, "right", "left"), (2, 2, 2), n_bootstrap=5)
    assert labels.shares[0] > 0.6
    assert labels.shares[1:].sum() < 0.15  # a jump has all frequencies, and some are found in larger patches first
    both = scale_of_target(torch.from_numpy(X), torch.from_numpy(TARGETS[0]), (2, 2, 2), n_bootstrap=5)
    np.testing.assert_allclose(both.shares, scale_of_target(X, TARGETS[0], (2, 2, 2), n_bootstrap=5).shares)


def test_images_have_patches_of_squares():
    draw = np.random.default_rng(1)
    images = draw.normal(size=(120, 1, 4, 4))
    corner = images[:, 0, :2, :2].reshape(120, -1)
    y = corner[:, 0] / np.linalg.norm(corner, axis=1)
    found = scale_of_target(images, y, (2, 2), ndim=2, n_bootstrap=5)
    assert found.sizes == (4, 16)
    assert found.shares[0] > 0.9


def test_shares_are_drawn():
    pytest.importorskip("matplotlib").use("Agg")
    axes = scale_of_target(X[:60], TARGETS[0][:60], (2, 2), n_bootstrap=3).plot()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4", "unexplained"]


@pytest.mark.parametrize(
    ("X", "y", "filters", "error", "message"),
    [
        (X, TARGETS[0][:9], (2, 2), ShapeError, "300 rows, y has 9"),
        (X, np.ones(300), (2, 2), ValueError, "does not vary"),
        (X, TARGETS[0], (3, 2), ShapeError, "do not divide"),
        (X[:0], TARGETS[0][:0], (2,), ShapeError, "two and more"),
        (X, TARGETS[0], (), ValueError, "one whole number >= 1 a layer"),
        (X, TARGETS[0], 2, ValueError, "one whole number >= 1 a layer"),
    ],
)
def test_what_has_no_scale_is_refused(X, y, filters, error, message):
    with pytest.raises(error, match=message):
        scale_of_target(X, y, filters)


def test_counts_are_numbers_where_they_are_floats_and_labels_where_they_are_whole():
    counts = np.round(3.0 * TARGETS[0])
    options = {"n_bootstrap": 5}
    found = scale_of_target(X, counts, (2, 2), **options)
    np.testing.assert_allclose(found.shares, scale_of_target(X, counts[:, None], (2, 2), **options).shares)
    labels = scale_of_target(X, counts.astype(int), (2, 2), **options)
    np.testing.assert_allclose(
        labels.shares, scale_of_target(X, counts.astype(int).astype(str), (2, 2), **options).shares
    )
    assert abs(labels.shares[0] - found.shares[0]) > 0.01


def test_images_that_are_no_squares_are_read_as_they_are():
    images = np.random.default_rng(1).normal(size=(60, 1, 4, 8))
    options = {"ndim": 2, "n_bootstrap": 5}
    found = scale_of_target(images, images[:, 0, 0, 0], (2, 2), **options)
    rows = scale_of_target(images.reshape(60, -1), images[:, 0, 0, 0], (2, 2), shape=(4, 8), **options)
    np.testing.assert_allclose(found.shares, rows.shares)
