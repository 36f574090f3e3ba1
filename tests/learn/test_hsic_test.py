"""The independence test against its definition, and its level and power."""

import numpy as np
import pytest
import torch

from mercer.kernels import RBF, Matern
from mercer.learn import HSICTest, hsic_test

RNG = np.random.default_rng(0)
X = RNG.normal(size=(25, 2))
Y = X[:, :1] ** 2 + 0.1 * RNG.normal(size=(25, 1))


def by_definition(K, L, statistic):
    n = len(K)
    if statistic == "biased":
        H = np.eye(n) - 1.0 / n
        return np.trace(K @ H @ L @ H) / n**2
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))  # Song et al. 2012, eq. 5
    one = np.ones(n)
    last = one @ K @ one * (one @ L @ one) / ((n - 1) * (n - 2)) - 2.0 / (n - 2) * (one @ K @ L @ one)
    return (np.trace(K @ L) + last) / (n * (n - 3))


@pytest.mark.parametrize("statistic", ["unbiased", "biased"])
@pytest.mark.parametrize("stored", [True, False])
def test_statistics_agree_with_the_definition(statistic, stored, monkeypatch):
    if not stored:
        monkeypatch.setattr(hsic_test, "STORED", 0)
    kernel, other = RBF(1.1), Matern(0.7, nu=1.5)
    test = HSICTest(kernel, kernel_y=other, statistic=statistic, n_permutations=19, random_state=5).fit(X, Y)
    K, L = kernel(X).to_dense().numpy(), other(Y).to_dense().numpy()
    assert test.statistic_[0] == pytest.approx(by_definition(K, L, statistic), abs=1e-12)
    rng = np.random.RandomState(5)
    for found in test.null_[0]:
        p = rng.permutation(25)
        assert found == pytest.approx(by_definition(K, L[p][:, p], statistic), abs=1e-12)


@pytest.mark.parametrize("kernel", ["median", "aggregate"])
def test_dependence_without_correlation_is_found(kernel):
    x = RNG.normal(size=(60, 1))
    test = HSICTest(kernel, n_permutations=99).fit(x, x[:, 0] ** 2 + 0.1 * RNG.normal(size=60))
    assert test.rejected_ is True
    assert len(test.statistic_) == (1 if kernel == "median" else 20)


@pytest.mark.slow(reason="300 tests, each with permutations, for a rejection rate to within 2 %")
def test_the_level_holds_under_independence():
    draw = np.random.default_rng(2)
    rejected = [
        HSICTest(n_permutations=99, random_state=seed)
        .fit(draw.standard_t(4, size=(20, 2)), draw.standard_t(4, size=20))
        .rejected_
        for seed in range(300)
    ]
    assert 0.02 <= np.mean(rejected) <= 0.09


def test_saving_tensors_and_mistakes(tmp_path):
    test = HSICTest(n_permutations=39).fit(torch.from_numpy(X), torch.from_numpy(Y))
    test.save(tmp_path / "test")
    assert HSICTest.load(tmp_path / "test").p_value_ == test.p_value_ == HSICTest(n_permutations=39).fit(X, Y).p_value_
    with pytest.raises(ValueError, match="at least four rows"):
        HSICTest().fit(X[:3], Y[:3])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        HSICTest().fit(X, Y[:3])
