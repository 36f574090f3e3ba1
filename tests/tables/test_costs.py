"""Predicted seconds grow with the work, and choices stay within them."""

import numpy as np
import pytest

from mercer import config
from mercer.kernels import RBF
from mercer.tables.costs import Costs

X = np.zeros((3000, 4), dtype=np.float32)


@pytest.fixture
def costs():
    found = Costs()
    assert 0.2 <= found.slowness <= 10.0
    found.slowness = 1.0
    return found


def test_more_work_takes_longer(costs):
    kernel = RBF()
    assert costs.exact(kernel, X, 1) > costs.exact(kernel, X[:500], 1) > 0.0
    assert costs.centers(kernel, X, 1000, 1) > costs.centers(kernel, X, 100, 1)
    assert costs.learning(3000, 5, 20) > 8 * costs.learning(1000, 5, 20)
    assert costs.boosting(10_000, 10, 3) > costs.boosting(1000, 10, 1)
    assert costs.ridge(10_000, 50, 1) > costs.ridge(1000, 50, 1)
    assert costs.transforms(10**6) > costs.transforms(10**3)


def test_a_slower_machine_takes_longer(costs):
    before = costs.exact(RBF(), X, 1)
    costs.slowness = 10.0
    assert costs.exact(RBF(), X, 1) > 5 * before


def test_centres_are_as_many_as_time_and_memory_allow(costs):
    assert costs.most_centers(RBF(), X, 1, seconds=1e6) == 2000
    assert costs.most_centers(RBF(), X, 1, seconds=0.0) == 500
    config.set_memory_budget(24 * 1000**2)
    assert costs.most_centers(RBF(), X, 1, seconds=1e6) == 1000
