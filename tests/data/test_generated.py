"""Data that are generated or quoted: what they hold, and that the seed decides."""

import numpy as np
import pytest

from mercer.data import noisy_labels, spiked_regression, toy_sine


def test_the_toy_points_are_a_noisy_sine():
    frame = toy_sine().frame
    assert frame["x"].tolist() == pytest.approx(np.linspace(0.0, 1.0, 11).tolist())
    assert np.std(frame["y"] - np.sin(2.0 * np.pi * frame["x"])) == pytest.approx(0.44, abs=0.01)


def test_a_share_of_the_labels_is_drawn_from_all_classes():
    y = np.repeat(np.arange(4), 5000)
    noisy = noisy_labels(y, 0.4, random_state=3)
    assert np.mean(noisy != y) == pytest.approx(0.3, abs=0.01)
    np.testing.assert_array_equal(noisy, noisy_labels(y, 0.4, random_state=3))
    assert (noisy != noisy_labels(y, 0.4, random_state=4)).any()
    assert noisy_labels(["oak", "elm"], 0.0).tolist() == ["oak", "elm"]


def test_labels_and_shares_are_checked():
    with pytest.raises(ValueError, match="share must lie between 0 and 1, not 40"):
        noisy_labels([0, 1], 40)
    with pytest.raises(ValueError, match=r"one row of classes, not of shape \(1, 2\)"):
        noisy_labels([[0, 1]], 0.4)


def test_spiked_columns_have_the_variances_asked_for():
    frame = spiked_regression(
        20_000, spikes=[9.0, 4.0], weights=[0.0, 2.0], n_columns=3, background=0.5, noise=1.5
    ).frame
    np.testing.assert_allclose(frame[["x0", "x1", "x2"]].var(), [9.0, 4.0, 0.5], rtol=0.05)
    np.testing.assert_allclose(frame["mean"], 2.0 * frame["x1"])
    assert (frame["y"] - frame["mean"]).std() == pytest.approx(1.5, rel=0.03)
    with pytest.raises(ValueError, match="1 spikes and 2 weights for 60 columns; give a weight for each spike"):
        spiked_regression(10, spikes=[1.0], weights=[1.0, 2.0])
