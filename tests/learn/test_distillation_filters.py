"""Pure functions of self-distillation against their definitions: refits, grid searches, limits."""

import numpy as np
import pytest
import torch

from mercer.errors import ShapeError
from mercer.learn import distill_filter, distill_limit, joint_weights, optimal_weight


def refits(K, y, lam, alphas, *, teacher):
    """Every round's predictions at the training points, by solving each system."""
    hat = K @ np.linalg.inv(K + lam * np.eye(len(K)))
    fits = [hat @ y]
    for alpha in alphas[1:]:
        before = fits[-1] if teacher == "previous" else fits[0]
        fits.append(hat @ (alpha * y + (1.0 - alpha) * before))
    return np.array(fits)


def problem(n=9):
    draw = np.random.default_rng(0)
    X = draw.normal(size=(n, 2))
    K = np.exp(-0.5 * ((X[:, None] - X) ** 2).sum(-1))
    return K, draw.normal(size=n)


@pytest.mark.parametrize("teacher", ["previous", "first"])
def test_filters_give_what_refits_give(teacher):
    K, y = problem()
    d, V = np.linalg.eigh(K)
    alphas = [0.3, 0.7, 0.0, 1.0, 1.4, -0.5]
    filters = distill_filter(d, 0.3, alphas, teacher=teacher)
    np.testing.assert_allclose(
        (V * filters[:, None]) @ (V.T @ y), refits(K, y, 0.3, alphas, teacher=teacher), rtol=1e-11
    )


def test_a_tensor_gives_a_tensor_like_it():
    d = torch.tensor([2.0, 1.0], dtype=torch.float32)
    filters = distill_filter(d, 1.0, [1.0, 0.5])
    assert filters.dtype == torch.float32
    assert torch.allclose(filters, torch.tensor(distill_filter([2.0, 1.0], 1.0, [1.0, 0.5])).float())
    assert distill_limit(d, 1.0, 0.5).dtype == torch.float32


def test_eigenvalues_that_are_zero_are_left_out_without_a_penalty():
    assert distill_filter([3.0, 0.0], 0.0, [1.0, 0.2]).tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert distill_filter([3.0], 1.0, []).shape == (0, 1)


@pytest.mark.parametrize("teacher", ["previous", "first"])
@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_many_rounds_reach_the_limit(alpha, teacher):
    d = np.array([5.0, 1.0, 1e-3])
    last = distill_filter(d, 2.0, [alpha] * 300, teacher=teacher)[-1]
    np.testing.assert_allclose(distill_limit(d, 2.0, alpha, teacher=teacher), last, rtol=1e-12, atol=1e-40)


def test_the_limit_is_ridge_regression_with_an_amplified_penalty():
    d = np.array([5.0, 1.0, 1e-3])
    np.testing.assert_allclose(distill_limit(d, 2.0, 0.25), d / (d + 8.0), rtol=1e-14)


def test_rounds_that_do_not_converge_have_no_limit():
    with pytest.raises(ValueError, match=r"alpha = 3 does not converge: each round multiplies .* by 1.67"):
        distill_limit([5.0], 1.0, 3.0)


@pytest.mark.parametrize(
    ("d", "lam", "teacher", "message"),
    [
        ([[1.0]], 1.0, "previous", r"one row \(n,\), not \(1, 1\)"),
        ([np.nan], 1.0, "previous", "d contains NaN"),
        ([1.0], -1.0, "previous", "lam must be a finite number >= 0, not -1.0"),
        ([1.0], 1.0, "last", "teacher must be 'previous' or 'first', not 'last'"),
    ],
)
def test_what_is_no_spectrum_is_refused(d, lam, teacher, message):
    with pytest.raises(ValueError, match=message):
        distill_filter(d, lam, [0.5, 0.5], teacher=teacher)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(30,), (20, 3)])
def test_no_weight_is_better_than_the_optimal_one(shape, seed):
    v, u, g = np.random.default_rng(seed).normal(size=(3, *shape))

    def error(alpha):
        return np.sum((v - alpha * u - (1.0 - alpha) * g) ** 2)

    best = optimal_weight(v, u, g)
    grid = np.linspace(-3.0, 3.0, 4001)
    assert abs(grid[np.argmin([error(a) for a in grid])] - best) <= grid[1] - grid[0]
    assert error(best) <= min(error(best - 1e-4), error(best + 1e-4))
    assert best == pytest.approx(1.0 - np.sum((v - u) * (g - u)) / np.sum((u - g) ** 2), rel=1e-12)


def test_two_predictions_that_agree_have_the_weight_one():
    u = np.array([1.0, 3.0])
    assert optimal_weight([5.0, 5.0], u, u) == 1.0
    assert optimal_weight([5.0, 5.0], u, u * (1.0 + 2e-16)) == 1.0


def test_optimal_weight_says_which_shapes_differ():
    with pytest.raises(ShapeError, match=r"same shape, not \(2,\), \(2,\) and \(3,\)"):
        optimal_weight([1.0, 2.0], [1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="student contains NaN"):
        optimal_weight([1.0], [1.0], [np.nan])


def test_joint_weights_find_the_sum_that_is_there():
    P = np.random.default_rng(0).normal(size=(4, 60, 2))
    true = np.array([0.4, -0.3, 0.7, 0.2])
    np.testing.assert_allclose(joint_weights(np.tensordot(true, P, 1), P), true, atol=1e-10)
    weights = joint_weights(torch.tensor(P[0]), torch.tensor(P))
    assert torch.allclose(weights, torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64), atol=1e-12)


def test_joint_weights_leave_rounds_alone_that_say_nothing():
    draw = np.random.default_rng(0)
    v = draw.normal(size=200)
    rounds = np.stack([v, v + draw.normal(size=200)])
    assert joint_weights(v, rounds).tolist() == pytest.approx([1.0, 0.0], abs=1e-9)


def test_joint_weights_need_rounds_in_the_shape_of_the_target():
    with pytest.raises(ShapeError, match=r"rounds must be \(T, 3\), not \(2, 4\)"):
        joint_weights(np.zeros(3), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="n_folds must lie between 2 and the 3 validation points, not 5"):
        joint_weights(np.zeros(3), np.zeros((2, 3)))
