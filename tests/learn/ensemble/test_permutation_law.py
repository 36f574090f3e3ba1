"""The closed forms against the kernel solve, exhaustive sums, and numbers of the paper's code."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from mercer.data import permutation_task
from mercer.kernels import NNGP, NTK
from mercer.learn.ensemble import EnsembleLaw, PermutationLaw, ensemble_size
from mercer.learn.ensemble.counting import fewest, log_failure

KERNELS = {"ntk": NTK(depth=2, sigma_b=0.0), "last_layer": NNGP(depth=2, sigma_b=0.0)}


@pytest.mark.parametrize("regime", KERNELS)
@pytest.mark.parametrize("k", [2, 5, 30])
def test_the_closed_form_is_the_kernel_solve(k, regime):
    task = permutation_task(k, n_samples=None if k < 30 else 200, random_state=k)
    ones = task.X_test.sum(1)
    law, solved = PermutationLaw(k, regime), EnsembleLaw(KERNELS[regime], task.X_train, task.Y_train)
    X = task.X_test / np.sqrt(ones)[:, None]
    on, off = law.levels(ones)
    expected = np.where(task.Y_test == 1, on[:, None], off[:, None])
    np.testing.assert_allclose(solved.mean(X).numpy(), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(solved.std(X).numpy(), law.std(ones), rtol=1e-9, atol=1e-12)


def test_numbers_that_trained_networks_gave():
    # The pilot of card 21: 1000 networks of width 512 at k = 10, m = 2; standard errors 0.0026.
    for regime, on, off, std in [("ntk", 0.5749, -0.0109, 0.0810), ("last_layer", 0.6176, -0.0230, 0.0809)]:
        law = PermutationLaw(10, regime)
        np.testing.assert_allclose([*law.levels(2), law.std(2)], [on, off, std], rtol=0, atol=0.012)


@pytest.mark.parametrize("k", [2, 3, 50, 100_000])
@pytest.mark.parametrize("regime", KERNELS)
def test_means_have_the_signs_of_the_answer(k, regime):
    on, off = PermutationLaw(k, regime).levels(np.arange(1, k + 1))
    assert (on > 0).all()
    assert (off[1:] < 0).all()
    assert on[0] == pytest.approx(1.0, abs=1e-12)
    assert off[0] == pytest.approx(0.0, abs=1e-12)


def test_training_points_are_certain():
    law = PermutationLaw(100)
    assert law.std(1) == 0.0
    assert law.accuracy(1, 1) == 1.0
    assert law.ensemble_size(1, delta=1e-9, simultaneous=True) == 1


@pytest.mark.parametrize("threshold", ["zero", "midpoint"])
def test_accuracy_multiplies_over_the_bits(threshold):
    law, m, n = PermutationLaw(7), 3, 40
    on, off = law.levels(m)
    level = 0.0 if threshold == "zero" else (on + off) / 2
    spread = law.std(m) / math.sqrt(n)
    expected = norm.cdf((on - level) / spread) ** m * norm.cdf((level - off) / spread) ** (7 - m)
    assert law.accuracy(m, n, threshold=threshold) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("threshold", ["zero", "midpoint"])
@pytest.mark.parametrize("simultaneous", [False, True])
def test_the_size_is_the_least_that_suffices(threshold, simultaneous):
    law = PermutationLaw(9)
    ones = np.arange(1, 10)
    n = law.ensemble_size(delta=0.02, threshold=threshold, simultaneous=simultaneous)

    def mistake(n_models):
        wrong = 1.0 - law.accuracy(ones, n_models, threshold=threshold)
        return sum(math.comb(9, m) * w for m, w in zip(ones, wrong, strict=True)) if simultaneous else wrong.max()

    assert mistake(n) <= 0.02
    assert n == 1 or mistake(n - 1) > 0.02


def test_the_bound_is_the_formula_of_the_paper_and_above_the_exact_size():
    law = PermutationLaw(12, "last_layer")
    on, off = law.levels(np.arange(2, 13))
    gap = np.minimum(on, np.where(np.arange(2, 13) < 12, -off, np.inf))
    worst = (2.0 * law.std(np.arange(2, 13)) ** 2 / gap**2).max()
    for simultaneous, inputs in [(False, 1.0), (True, 2.0**12)]:
        expected = math.ceil(worst * math.log(inputs * 2 * 12 / 0.1))
        assert law.ensemble_size(delta=0.1, method="bound", simultaneous=simultaneous) == expected
        assert law.ensemble_size(delta=0.1, simultaneous=simultaneous) < expected
    some = law.ensemble_size([2, 3], delta=0.1, method="bound", simultaneous=True)
    assert some == math.ceil(worst * math.log((66 + 220) * 24 / 0.1))


def test_sizes_of_the_card():
    # Networks for 90 % of the inputs with two ones, as tabulated from the formulas when the card was written.
    found = {r: [PermutationLaw(k, r).ensemble_size(2, delta=0.1) for k in (10, 15, 20, 25, 30)] for r in KERNELS}
    assert found == {"ntk": [333, 454, 579, 708, 840], "last_layer": [58, 89, 121, 155, 190]}


def test_a_million_bits():
    law = PermutationLaw(10**6)
    assert law.training_size == 10**6
    assert law.n_inputs == 2**10**6 - 1
    assert law.ensemble_size(2, delta=1e-3, threshold="midpoint") < 10
    # All e^693000 inputs with half of the bits: the logarithm of a probability keeps its digits where it has none left.
    exact, bound = (law.ensemble_size(500_000, simultaneous=True, method=method) for method in ("exact", "bound"))
    assert 0.9999 * bound < exact < bound


@pytest.mark.parametrize("threshold", ["zero", "midpoint"])
def test_the_general_tool_gives_the_same_sizes(threshold):
    task = permutation_task(6, random_state=1)
    ones = task.X_test.sum(1)
    law = PermutationLaw(6)
    levels = law.threshold(ones, threshold)[:, None]
    train, X = (task.X_train, task.Y_train), task.X_test / np.sqrt(ones)[:, None]
    beyond = ones > 1  # on the training points themselves a mean is on the threshold 0
    for simultaneous in (False, True):
        found = ensemble_size(
            KERNELS["ntk"], *train, X[beyond], delta=0.1, threshold=levels[beyond], simultaneous=simultaneous
        )
        assert found.n_models == law.ensemble_size(
            range(2, 7), delta=0.1, threshold=threshold, simultaneous=simultaneous
        )


def test_log_failure_keeps_its_digits():
    z = np.array([[0.3, -1.0], [4.0, 7.0], [8.5, 9.0], [30.0, 31.0]])
    direct = np.log(1.0 - norm.cdf(z[:2]).prod(1))
    np.testing.assert_allclose(log_failure(z)[:2], direct, rtol=1e-10)
    np.testing.assert_allclose(log_failure(z)[2:], norm.logsf(z[2:]).max(1), rtol=2e-3)
    np.testing.assert_allclose(log_failure(z[:, :1], [3.0]), log_failure(z[:, [0, 0, 0]]), rtol=1e-12)
    assert log_failure(np.array([np.inf, np.inf])) == -np.inf
    assert log_failure(np.array([-50.0]))[()] == pytest.approx(0.0, abs=1e-12)


def test_the_fewest_are_found_by_halving():
    asked = []
    assert fewest(lambda n: asked.append(n) or -n / 100, math.exp(-12.345)) == 1235
    assert len(asked) < 30
    assert fewest(lambda n: -5.0, 0.5) == 1
    for guess in (1, 1234, 1235, 1236, 10**6):
        assert fewest(lambda n: -n / 100, math.exp(-12.345), guess=guess) == 1235
    with pytest.raises(ValueError, match="no number of networks suffices"):
        fewest(lambda n: 0.0, 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PermutationLaw(1), "k must be a whole number >= 2"),
        (lambda: PermutationLaw(4, "lazy"), "regime='lazy': choose one of ntk, last_layer"),
        (lambda: PermutationLaw(4).levels(5), r"m=5: .* from 1 to k = 4"),
        (lambda: PermutationLaw(4).levels(1.5), "whole number"),
        (lambda: PermutationLaw(4).threshold(2, "half"), "choose one of zero, midpoint"),
        (lambda: PermutationLaw(4).ensemble_size(delta=0.0), "lies between 0 and 1"),
        (lambda: PermutationLaw(4).ensemble_size(method="best"), "choose one of exact, bound"),
        (lambda: PermutationLaw(4).accuracy(2, 0), "n_models must be a whole number >= 1"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
