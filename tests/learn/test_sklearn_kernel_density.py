"""scikit-learn's own tests of KernelDensity, run with ours in its place."""

import numpy as np
import pytest
import sklearn.neighbors.tests.test_kde as theirs
from sklearn.neighbors import KernelDensity as Twin

from mercer.learn import KernelDensity


@pytest.fixture(autouse=True)
def _ours_in_its_place(monkeypatch):
    monkeypatch.setattr(theirs, "KernelDensity", KernelDensity)


def test_there_are_tests():
    assert len([name for name in dir(theirs) if name.startswith("test_")]) >= 10


# Theirs asks that four kernels cannot be sampled; ours can. What else it asks is asked in the test below.
CAN_SAMPLE = "test_kernel_density_sampling"

globals().update(
    {name: value for name, value in vars(theirs).items() if name.startswith("test_") and name != CAN_SAMPLE}
)


@pytest.mark.parametrize("kernel", ["gaussian", "tophat"])
def test_draws_are_those_of_scikit_learn(kernel):
    X = np.random.RandomState(0).randn(100, 3)
    weights = np.random.RandomState(1).rand(100)
    for w in (None, weights):
        ours = KernelDensity(bandwidth=0.2, kernel=kernel).fit(X, sample_weight=w).sample(100, random_state=3)
        peer = Twin(bandwidth=0.2, kernel=kernel).fit(X, sample_weight=w).sample(100, random_state=3)
        np.testing.assert_allclose(ours, peer, rtol=1e-12)
    assert KernelDensity().fit(X[:4, :1]).sample().shape == (1, 1)
