"""The task of paper 21."""

from math import comb

import numpy as np
import pytest

from mercer.data import permutation_task
from mercer.errors import MemoryBudgetError


@pytest.mark.parametrize(("m", "count"), [(None, 2**7 - 1), (1, 7), (3, comb(7, 3)), (7, 1)])
def test_without_a_number_every_input_is_there_once(m, count):
    task = permutation_task(7, m, random_state=2)
    assert len(np.unique(task.X_test, axis=0)) == len(task.X_test) == count
    assert (task.X_test.sum(1) == m).all() if m else (task.X_test.sum(1) >= 1).all()


@pytest.mark.parametrize("arguments", [{}, {"m": 2}, {"n_samples": 9}, {"m": 3, "n_samples": 9}])
def test_outputs_are_moved_inputs(arguments):
    task = permutation_task(6, **arguments, random_state=5)
    P = task.Y_train.T  # P e_i is row i of Y_train
    np.testing.assert_array_equal(task.X_test @ P.T, task.Y_test)
    assert [row.argmax() for row in task.Y_train] == task.permutation.tolist()
    np.testing.assert_array_equal(task.X_train, np.eye(6))


def test_drawn_inputs_have_a_bit_and_depend_on_the_seed():
    task = permutation_task(2, n_samples=500)
    counts = np.unique(task.X_test, axis=0, return_counts=True)[1]
    assert len(counts) == 3
    assert counts.min() > 120  # 167 expected, standard deviation 10.5
    assert permutation_task(40, 3, n_samples=5, random_state=1).X_test.sum(1).tolist() == [3] * 5
    other = permutation_task(40, n_samples=5, random_state=1)
    assert not np.array_equal(other.X_test, permutation_task(40, n_samples=5, random_state=2).X_test)


def test_what_does_not_fit_is_named():
    wrong = [
        {"k": 4, "m": 5},
        {"k": 5.5},
        {"k": 1},
        {"k": 5, "m": 2.0},
        *({"k": 5, "n_samples": n} for n in (2.5, 0, -1)),
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match=r"whole numbers, k >= 2, m from 1 to k, n_samples >= 1"):
            permutation_task(**arguments)
    with pytest.raises(TypeError, match="random_state must be an int or a NumPy generator, not str"):
        permutation_task(5, random_state="a")
    with pytest.raises(MemoryBudgetError, match=r"permutation_task\(k=1000000\) needs .*\.fit\(None, permutation\)"):
        permutation_task(10**6, 2, n_samples=3)
    with pytest.raises(ValueError, match=r"33554431 inputs to test on\. Give n_samples"):
        permutation_task(25)
