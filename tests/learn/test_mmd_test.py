"""The two-sample test against its definition, and its level and power."""

import numpy as np
import pytest
import torch

from mercer import config
from mercer.kernels import RBF, Laplacian
from mercer.learn import MMDTest
from mercer.learn.permutation import p_values

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(17, 2)), RNG.normal(size=(12, 2)) + 0.5


@pytest.mark.parametrize("statistic", ["unbiased", "biased"])
def test_statistics_agree_with_mean_embeddings(statistic):
    kernel = RBF(1.3)
    test = MMDTest(kernel, statistic=statistic, n_permutations=19, random_state=3).fit(X, Y)
    unbiased = statistic == "unbiased"

    def square(left, right):
        return float(kernel.mean_embedding(left).squared_distance(kernel.mean_embedding(right), unbiased=unbiased))

    assert test.statistic_[0] == pytest.approx(square(X, Y), abs=1e-12)
    rng, both = np.random.RandomState(3), np.concatenate([X, Y])
    for found in test.null_[0]:
        order = rng.permutation(29)
        rest = np.setdiff1d(np.arange(29), order[:17])
        assert found == pytest.approx(square(both[order[:17]], both[rest]), abs=1e-12)
    assert test.p_value_ == (1 + (test.null_[0] >= test.statistic_[0]).sum()) / 20


def test_a_small_memory_budget_takes_more_passes_and_changes_nothing():
    whole = MMDTest(n_permutations=99).fit(X, Y)
    config.set_memory_budget(64 * 29 * 7)
    parts = MMDTest(n_permutations=99).fit(X, Y)
    np.testing.assert_allclose(parts.null_, whole.null_, atol=1e-14)
    assert parts.p_value_ == whole.p_value_


def test_several_kernels_are_no_worse_than_the_worst_and_ties_count():
    same = np.array([[3.0, 1.0, 2.0, 3.0], [3.0, 1.0, 2.0, 3.0 + 1e-14]])
    value, own = p_values(same)
    assert value == 0.5
    assert own.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("kernel", ["median", "aggregate", [RBF(0.3), Laplacian(1.0)], "RBF(0.7)"], ids=str)
def test_a_shift_is_found_and_said_where(kernel):
    left, right = RNG.normal(size=(60, 1)), RNG.normal(size=(50, 1)) + 1.2
    test = MMDTest(kernel, n_permutations=199).fit(left, right)
    assert test.rejected_ is True
    assert test.p_value_ <= 0.05
    witness = test.witness(np.array([[-1.0], [2.2]]))
    assert witness[0] > 0.0 > witness[1]
    again = MMDTest(kernel, n_permutations=199).fit(left, right)
    np.testing.assert_array_equal(again.null_, test.null_)


@pytest.mark.slow(reason="300 tests, each with permutations, for a rejection rate to within 2 %")
@pytest.mark.parametrize("kernel", ["median", "aggregate"])
def test_the_level_holds_under_the_null_hypothesis(kernel):
    draw = np.random.default_rng(1)
    rejected = []
    for seed in range(300):
        left, right = draw.standard_t(4, size=(20, 2)), draw.standard_t(4, size=(15, 2))
        rejected.append(MMDTest(kernel, n_permutations=99, random_state=seed).fit(left, right).rejected_)
    assert 0.02 <= np.mean(rejected) <= 0.09


def test_saving_tensors_and_tables(tmp_path):
    import pandas as pd

    test = MMDTest("aggregate", n_permutations=39).fit(pd.DataFrame(X), pd.DataFrame(Y))
    test.save(tmp_path / "test")
    loaded = MMDTest.load(tmp_path / "test")
    assert loaded.p_value_ == test.p_value_
    np.testing.assert_array_equal(loaded.witness(X), test.witness(X))
    tensors = MMDTest("aggregate", n_permutations=39).fit(torch.from_numpy(X), torch.from_numpy(Y))
    assert tensors.p_value_ == test.p_value_
    assert isinstance(tensors.witness(torch.from_numpy(X)), torch.Tensor)


def test_pictures_of_one_and_two_columns():
    for d in (1, 2):
        ax = MMDTest(n_permutations=19).fit(X[:, :d], Y[:, :d]).plot_witness()
        assert [t.get_text() for t in ax.get_legend().get_texts()] == ["X", "Y"]
    with pytest.raises(ValueError, match="one or two columns, not 3"):
        MMDTest(n_permutations=19).fit(RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))).plot_witness()


@pytest.mark.parametrize(
    ("options", "samples", "error", "message"),
    [
        ({}, (X, Y[:1]), ValueError, "at least two points in each sample, and has 17 and 1"),
        ({}, (X, Y[:, :1]), ValueError, "features"),
        ({"statistic": "best"}, (X, Y), ValueError, "'unbiased' or 'biased'"),
        ({"level": 0.0}, (X, Y), ValueError, "between 0 and 1"),
        ({"n_permutations": 10}, (X, Y), ValueError, "needs at least 19"),
        ({"n_permutations": 99.5}, (X, Y), ValueError, "n_permutations must be a whole number"),
        ({"kernel": []}, (X, Y), TypeError, "or a list of kernels"),
        ({"kernel": 3.0}, (X, Y), TypeError, "must be 'median'"),
        ({"kernel": "aggregate"}, (X * 0.0, Y * 0.0), ValueError, "all points are equal"),
    ],
)
def test_mistakes_are_named(options, samples, error, message):
    with pytest.raises(error, match=message):
        MMDTest(**options).fit(*samples)
