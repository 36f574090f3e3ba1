"""Paper 21: the claims of closed forms are measured; the rest is looked at for what would make it vacuous."""

import numpy as np
import pytest

from mercer.data import permutation_task
from mercer.papers import Verdict, catalog, judge, measure, registry
from mercer.papers.p21_exact_permutations import _every_number_of_ones, _from_which_on, _of_the_law

paper = registry.load(catalog()[21])


@pytest.mark.parametrize("name", ["sign", "log-size", "one-input", "all-inputs", "official"])
def test_claims_of_closed_forms_hold(name):
    claim = paper.claims[name]
    assert judge(claim, measure(claim, seeds=[0]).values) is Verdict.HOLDS


@pytest.mark.slow(reason="trains 256 networks")
def test_half_way_two_networks_suffice():
    claim = paper.claims["midpoint"]
    assert judge(claim, measure(claim, seeds=[0]).values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there():
    card = {"gaussian", "sign", "log-size", "one-input", "all-inputs", "official", "midpoint"}
    assert set(paper.claims) == card | {"trained", "counted", "rerun"}
    assert {id for way in paper.sabotages for id in way.breaks} == set(paper.claims) - {"rerun"}


@pytest.mark.parametrize(
    ("right", "size"), [([0.0, 1.0, 0.5, 1.0, 1.0], 4), ([1.0, 1.0], 1), ([1.0, 0.9], 3), ([0.0], 2)]
)
def test_what_counts_is_the_size_from_which_on_all_are_right(right, size):
    assert _from_which_on(np.array(right)) == size


def test_the_bound_half_way_is_that_of_the_law_at_both_sizes():
    assert _of_the_law(10, permutation_task(10, 2), "midpoint") == 2
    assert _of_the_law(100, _every_number_of_ones(100, 0), "midpoint") == 60


def test_the_full_task_has_every_number_of_ones_under_one_permutation():
    task = _every_number_of_ones(6, 0)
    assert np.unique(task.X_test.sum(1)).tolist() == [2, 3, 4, 5, 6]
    moved = np.empty_like(task.X_test)
    moved[:, task.permutation] = task.X_test
    np.testing.assert_array_equal(moved, task.Y_test)
