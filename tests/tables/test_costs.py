"""Predicted seconds grow with the work, and choices stay within them."""

import numpy as np
import pytest

from mercer import config
from mercer.kernels import RBF
from mercer.tables.costs import Costs

X = np.zeros((3000, 4), dtype=np.float32)


@pytest.fixture
def costs(monkeypatch):
    found = Costs()
    assert 0.2 <= found.slowness <= 10.0
    found.slowness = 1.0
    monkeypatch.setattr(found, "pair", lambda *_: 1e-9)
    return found


def test_more_work_takes_longer(costs):
    kernel = RBF()
    assert costs.exact(kernel, X, 1) > costs.exact(kernel, X[:500], 1) > 0.0
    assert costs.centers(kernel, X, 1000, 1) > costs.centers(kernel, X, 100, 1)
    assert costs.learning(3000, 5, 20) > 8 * costs.learning(1000, 5, 20)
    assert costs.boosting(10_000, 10, 3) > costs.boosting(1000, 10, 1)
    assert costs.ridge(10_000, 50, 1) > costs.ridge(1000, 50, 1)
    assert costs.transforms(10**6) > costs.transforms(10**3)


def test_a_slower_machine_takes_longer(costs, monkeypatch):
    before = costs.exact(RBF(), X, 1)
    costs.slowness = 10.0
    monkeypatch.setattr(costs, "pair", lambda *_: 1e-8)
    assert costs.exact(RBF(), X, 1) > 5 * before


def test_the_time_of_a_kernel_entry_is_measured_once_for_a_form_of_kernel():
    costs = Costs()
    first = costs.pair(RBF([1.0, 2.0, 3.0, 4.0]), X, 1)
    assert 1e-12 < first < 1e-6
    assert costs.pair(RBF([1.5, 2.0, 3e-3, 4.0]), X, 1) == first
    assert costs.pair(RBF(), X, 1) > 0.0
    assert len(costs._pairs) == 2


def test_centres_are_as_many_as_time_and_memory_allow(costs):
    assert costs.most_centers(RBF(), X, 1, seconds=1e6) == 2000
    assert costs.most_centers(RBF(), X, 1, seconds=0.0) == 500
    config.set_memory_budget(24 * 1000**2)
    assert costs.most_centers(RBF(), X, 1, seconds=1e6) == 1000
