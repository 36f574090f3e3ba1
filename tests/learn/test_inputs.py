import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import BaseEstimator

from mercer.errors import MemoryBudgetError
from mercer.learn.inputs import as_weights, check_data, densify


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floating_types_are_kept_and_answers_come_in_them(dtype):
    given = check_data(BaseEstimator(), np.ones((3, 2), dtype=dtype), reset=True)
    assert given.answer(torch.ones(3, dtype=torch.float64)).dtype == dtype
    assert given.keep().dtype == dtype
    assert given.coefficients(torch.ones(3, dtype=torch.float64)).dtype == np.float64


def test_integers_become_float64():
    assert check_data(BaseEstimator(), [[1, 2], [3, 4]], reset=True).points.dtype == torch.float64
    assert check_data(BaseEstimator(), torch.tensor([[1, 2], [3, 4]]), reset=True).points.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_tensor_comes_back_as_one_of_its_type(dtype):
    given = check_data(BaseEstimator(), torch.ones(3, 2, dtype=dtype), reset=True)
    answer = given.answer(torch.ones(3, dtype=torch.float64))
    assert isinstance(answer, torch.Tensor)
    assert answer.dtype == dtype


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (torch.ones(3), torch.ones(3), "Expected 2D array, got 1D array instead.*reshape"),
        (torch.ones(0, 2), torch.ones(0), "at least one row and one column"),
        (torch.full((3, 2), torch.nan), torch.ones(3), "X contains NaN"),
        (torch.ones(3, 2, dtype=torch.complex64), torch.ones(3), "Complex data not supported"),
        (torch.ones(3, 2), torch.ones(4), "inconsistent numbers of samples: X has 3, y has 4"),
        (torch.ones(3, 2), torch.full((3,), torch.inf), "y contains infinity"),
        (torch.ones(3, 2), torch.ones(3, 2), "y should be a 1d array"),
        (np.ones((3, 2)), np.ones((3, 2)), "y should be a 1d array"),
        (torch.ones(3, 2), None, "requires y to be passed"),
        (np.ones((3, 2)), None, "requires y to be passed"),
        (np.full((3, 2), np.nan), np.ones(3), "NaN"),
    ],
)
def test_bad_data_is_refused_alike_for_tensors_and_arrays(X, y, message):
    from sklearn.base import RegressorMixin

    class Estimator(RegressorMixin, BaseEstimator):
        pass

    with pytest.raises(ValueError, match=message):
        check_data(Estimator(), X, y, reset=True, y_numeric=True)


def test_targets_of_a_type_that_numpy_lacks_are_taken():
    _, y = check_data(BaseEstimator(), torch.ones(3, 2), torch.ones(3, dtype=torch.bfloat16), reset=True)
    np.testing.assert_array_equal(y, np.ones(3))


def test_other_columns_than_at_fit_are_refused():
    estimator = BaseEstimator()
    check_data(estimator, torch.ones(3, 2), reset=True)
    with pytest.raises(ValueError, match="3 features, but BaseEstimator is expecting 2"):
        check_data(estimator, torch.ones(3, 3), reset=False)


def test_weights():
    given = check_data(BaseEstimator(), np.ones((3, 2)), reset=True)
    assert as_weights(None, given) is None
    assert as_weights(1.0, given) is None
    assert as_weights(2.0, given).tolist() == [2.0, 2.0, 2.0]
    assert as_weights(torch.tensor([1.0, 0.0, 2.0]), given).tolist() == [1.0, 0.0, 2.0]
    with pytest.raises(ValueError, match="must not be negative, but 1 of 3 are"):
        as_weights([1.0, -1.0, 1.0], given)
    with pytest.raises(ValueError, match="at least one non-zero"):
        as_weights(np.zeros(3), given)


def test_a_sparse_matrix_is_made_dense_within_the_budget_only():
    from mercer import config

    X = sparse.eye(100, format="csr")
    assert densify(X, why="RBF()").shape == (100, 100)
    config.set_memory_budget(50_000)
    with pytest.raises(MemoryBudgetError, match=r"dense copy of the sparse X, 100 x 100, for RBF\(\).*TruncatedSVD"):
        densify(X, why="RBF()")
