"""Data that are generated or quoted: what they hold, and that the seed decides."""

import numpy as np
import pytest

from mercer.data import noisy_labels, noisy_split, spiked_regression, toy_sine


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


def test_a_split_has_wrong_labels_everywhere_but_in_the_test():
    X, y = np.arange(3000.0)[:, None], np.repeat(np.arange(3), 1000)
    fit, choose, test = noisy_split(X, y, 0.6, n_fit=1000, n_choose=500, random_state=1)
    rows = np.concatenate([part[:, 0] for part, _ in (fit, choose, test)]).astype(int)
    assert sorted(rows) == list(range(3000))
    shares = [np.mean(labels != y[part[:, 0].astype(int)]) for part, labels in (fit, choose, test)]
    assert shares == pytest.approx([0.4, 0.4, 0.0], abs=0.05)
    again = noisy_split(X, y, 0.6, n_fit=1000, n_choose=500, random_state=1)
    np.testing.assert_array_equal(again[0][1], fit[1])


@pytest.mark.parametrize(("n_fit", "n_choose"), [(3, 1), (0, 0), (-1, 2)])
def test_a_split_must_leave_rows_to_test(n_fit, n_choose):
    with pytest.raises(ValueError, match="must leave some of the 4 rows to test"):
        noisy_split(np.eye(4), [0, 1, 0, 1], 0.5, n_fit=n_fit, n_choose=n_choose)


def test_spiked_columns_have_the_variances_asked_for():
    frame = spiked_regression(
        20_000, spikes=[9.0, 4.0], weights=[0.0, 2.0], n_columns=3, background=0.5, noise=1.5
    ).frame
    np.testing.assert_allclose(frame[["x0", "x1", "x2"]].var(), [9.0, 4.0, 0.5], rtol=0.05)
    np.testing.assert_allclose(frame["mean"], 2.0 * frame["x1"])
    assert (frame["y"] - frame["mean"]).std() == pytest.approx(1.5, rel=0.03)
    with pytest.raises(ValueError, match="1 spikes and 2 weights for 60 columns; give a weight for each spike"):
        spiked_regression(10, spikes=[1.0], weights=[1.0, 2.0])
