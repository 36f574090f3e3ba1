"""Data that are generated or quoted: what they hold, and that the seed decides."""

import math

import numpy as np
import pytest
import torch

from mercer.data import (
    hierarchical_polynomial,
    impulse_responses,
    mnist1d,
    noisy_labels,
    noisy_split,
    spiked_regression,
    toy_sine,
)


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


@pytest.mark.parametrize(("feature", "k"), [("diagonal", 1), ("diagonal", 2), ("parity", 3), ("quadratic", 2)])
def test_a_hidden_polynomial_is_standardised_and_of_one_degree(feature, k):
    X, y, p = hierarchical_polynomial(12, 20_000, k=k, feature=feature, random_state=3)
    assert X.shape == (20_000, 12)
    # Sums of products have heavy tails: the mean of 20 000 squares is off by a few hundredths.
    assert np.mean(p) == pytest.approx(0.0, abs=0.03)
    assert np.var(p) == pytest.approx(1.0, abs=0.06)
    lower = np.column_stack([np.ones(len(X)), X, X**2 - 1.0])[:, : 1 + 12 * (k > 1) + 12 * (k > 2)]
    coefficients = np.linalg.lstsq(lower, p, rcond=None)[0]
    assert abs(coefficients).max() < 0.06
    np.testing.assert_allclose(y, (p + (p**3 - 3.0 * p) / 6.0**0.5) / 2.0**0.5)


def test_the_link_is_in_normalised_hermite_polynomials_and_the_seed_decides():
    X, y, p = hierarchical_polynomial(4, 50, link=(1.0, 0.0, 2.0), random_state=7)
    np.testing.assert_allclose(y, 1.0 + 2.0 * (p**2 - 1.0) / 2.0**0.5)
    np.testing.assert_array_equal(X, hierarchical_polynomial(4, 50, random_state=7)[0])
    assert (hierarchical_polynomial(4, 50, random_state=8)[0] != X).any()
    draws = [hierarchical_polynomial(4, 50.0, random_state=torch.Generator().manual_seed(k))[0] for k in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d": 0, "n": 5}, "d must be a whole number >= 1, not 0"),
        ({"d": 2.5, "n": 5}, "d must be a whole number >= 1, not 2.5"),
        ({"d": 2, "n": "a"}, "n must be a whole number >= 1, not 'a'"),
        ({"d": 2, "n": 5, "k": 1.5}, "k must be a whole number >= 1, not 1.5"),
        ({"d": 2, "n": 5, "link": 3}, "link must be one or more finite coefficients of h_0, h_1, ..., not 3"),
        ({"d": 2, "n": 5, "link": ()}, "link must be one or more finite"),
        ({"d": 2, "n": 5, "link": (0.0, math.nan)}, "link must be one or more finite"),
        ({"d": 5, "n": 5, "feature": "cubic"}, "one of diagonal, parity, quadratic"),
        ({"d": 3, "n": 5, "k": 3, "feature": "parity"}, "3 columns have 1 sets of 3"),
        ({"d": 5, "n": 5, "k": 3, "feature": "quadratic"}, "has degree 2"),
    ],
)
def test_impossible_polynomials_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        hierarchical_polynomial(**arguments)


def test_filters_are_damped_cosines_and_the_noise_is_as_asked_for():
    data = impulse_responses(6, length=400, n_records=5, n_test=2, snr=4.0, random_state=2)
    np.testing.assert_allclose(np.linalg.norm(data.kernels, axis=1), 1.0)
    energy = data.kernels.reshape(6, 4, 100) ** 2
    assert (energy[:, 0].sum(1) > energy[:, 3].sum(1)).all()
    clean = np.array(
        [[np.convolve(u, k)[:400] for u, k in zip(record, data.kernels, strict=True)] for record in data.u]
    )
    assert np.var(data.y - clean) == pytest.approx(np.var(clean) / 4.0, rel=0.05)
    expected = [np.convolve(u, k)[:400] for u, k in zip(data.u_test[1], data.kernels, strict=True)]
    np.testing.assert_allclose(data.y_test[1], expected, atol=1e-12)
    np.testing.assert_array_equal(data.u, impulse_responses(6, length=400, n_records=5, n_test=2, random_state=2).u)
    with pytest.raises(ValueError, match="all are above 0"):
        impulse_responses(snr=0.0)


def test_mnist1d_follows_the_recipe_of_its_package():
    X, y = mnist1d(4000, length=40, random_state=1)
    assert np.bincount(y).tolist() == [400] * 10
    assert X.mean() == pytest.approx(0.0, abs=1e-12)
    assert X.std() == pytest.approx(1.0)
    # Of 1500 series of the package itself (seed 42): variance between digits, and correlation of neighbours.
    between = np.var([X[y == digit].mean(0) for digit in range(10)], axis=0).mean()
    neighbours = np.corrcoef(X[:, :-1].ravel(), X[:, 1:].ravel())[0, 1]
    assert (between, neighbours) == pytest.approx((0.090, 0.821), abs=0.02)
    np.testing.assert_array_equal(X[:5], mnist1d(4000, length=40, random_state=1)[0][:5])
    with pytest.raises(ValueError, match="at least one series of two points"):
        mnist1d(0)
