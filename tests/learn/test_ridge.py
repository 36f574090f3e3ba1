import numpy as np
import pytest
import torch

from mercer.errors import MemoryBudgetError, ShapeError
from mercer.kernels import RBF
from mercer.learn import ridge_path

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = RNG.normal(size=(30, 2))
K = RBF()(X).to_dense().numpy()
WEIGHTS = RNG.random(30)
WEIGHTS[4] = 0.0


def dual_by_definition(K, y, alpha, weights):
    """Rows of weight 0 take no part."""
    kept = weights > 0
    coefficients = np.zeros_like(y)
    coefficients[kept] = np.linalg.solve(K[np.ix_(kept, kept)] + np.diag(alpha / weights[kept]), y[kept])
    return coefficients


def left_out_by_definition(K, y, alpha, weights):
    """Errors of models that are really made without each row."""
    errors = np.empty_like(y)
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        c = dual_by_definition(K[np.ix_(rest, rest)], y[rest], alpha, weights[rest])
        errors[i] = y[i] - K[i, rest] @ c
    return errors


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("is_features", [False, True])
@pytest.mark.parametrize("columns", [3, 40], ids=["few features", "more features than rows"])
def test_path_and_leave_one_out_agree_with_refitting(weights, is_features, columns):
    F = RNG.normal(size=(30, columns))
    gram = F @ F.T if is_features else K
    path = ridge_path(F if is_features else K, Y, sample_weight=weights, is_features=is_features)
    plain = np.ones(30) if weights is None else weights
    for alpha in (0.1, 3.0):
        expected = dual_by_definition(gram, Y, alpha, plain)
        expected = F.T @ expected if is_features else expected
        np.testing.assert_allclose(path.coefficients(alpha), expected, atol=1e-10)
    errors = path.leave_one_out([0.1, 3.0])
    np.testing.assert_allclose(errors[1], left_out_by_definition(gram, Y, 3.0, plain), atol=1e-10)
    np.testing.assert_allclose(errors[0], path.leave_one_out(0.1), atol=1e-12)
    assert path.is_primal is (is_features and columns < 30)


def test_an_operator_and_its_matrix_give_the_same_path():
    of_operator, of_matrix = ridge_path(RBF()(X), Y[:, 0]), ridge_path(K, Y[:, 0])
    np.testing.assert_allclose(of_operator.coefficients(0.5), of_matrix.coefficients(0.5), atol=1e-12)


def test_leave_one_out_at_alpha_0_of_a_singular_matrix_is_the_limit():
    F = X[:, :2]
    expected = ridge_path(F, Y[:, 0], is_features=True).leave_one_out(0.0)
    np.testing.assert_allclose(ridge_path(F @ F.T, Y[:, 0]).leave_one_out(0.0), expected, atol=1e-6)


def test_a_vector_gives_vectors_and_a_tensor_tensors():
    path = ridge_path(torch.from_numpy(K), torch.from_numpy(Y[:, 0]))
    assert isinstance(path.coefficients(1.0), torch.Tensor)
    assert path.coefficients(1.0).shape == path.leave_one_out(1.0).shape == (30,)
    assert path.leave_one_out([1.0, 2.0]).shape == (2, 30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((K[:, :5], Y), "square kernel matrix .* say is_features=True"),
        ((K[:5, :5], Y), "a row for each of the 30 targets"),
    ],
)
def test_shapes_that_do_not_fit(arguments, message):
    with pytest.raises(ShapeError, match=message):
        ridge_path(*arguments)


def test_bad_numbers():
    with pytest.raises(ValueError, match="sample_weight must hold 30 numbers >= 0"):
        ridge_path(K, Y, sample_weight=-np.ones(30))
    with pytest.raises(ValueError, match="alpha must be a finite number >= 0, not -1"):
        ridge_path(K, Y).coefficients(-1.0)
    with pytest.raises(ValueError, match="y contains NaN"):
        ridge_path(K, np.full(30, np.nan))
    with pytest.raises(ValueError, match="A contains NaN"):
        ridge_path(np.full((30, 30), np.nan), Y)
    with pytest.raises(ValueError, match="sample_weight must hold 30 numbers >= 0"):
        ridge_path(K, Y, sample_weight=np.full(30, np.nan))


def test_what_does_not_fit_the_budget_raises_before_it_is_computed():
    from mercer import config

    config.set_memory_budget(10_000)
    with pytest.raises(MemoryBudgetError, match=r"eigenvalues of a kernel matrix of 30 rows.*n_centers"):
        ridge_path(K, Y)
