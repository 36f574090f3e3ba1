"""Greedy log-determinants against brute force, and coding rates against their definition."""

import itertools

import pytest
import torch

from mercer import config
from mercer.errors import MemoryBudgetError, ShapeError
from mercer.kernels import RBF
from mercer.operators import coding_rate, greedy_logdet


def points(n=14, d=6):
    return torch.randn(n, d, dtype=torch.float64)


def rate(K, chosen, noise):
    """The definition: 1/2 log det(I + K_SS / noise)."""
    rows = list(chosen)
    return 0.5 * float(torch.logdet(torch.eye(len(rows), dtype=torch.float64) + K[rows][:, rows] / noise))


def direct_greedy(K, n_select, value):
    """Every candidate's objective from scratch, the best one taken."""
    chosen = []
    for _ in range(n_select):
        chosen.append(max((i for i in range(len(K)) if i not in chosen), key=lambda i: value([*chosen, i])))
    return chosen


@pytest.mark.parametrize("noise", [1e-2, 1.0])
def test_picks_are_those_of_greedy_by_determinants(noise):
    X = points(30)
    K = RBF(lengthscale=2.0)(X)
    dense = K.to_dense()
    expected = direct_greedy(dense, 6, lambda S: rate(dense, S, noise))
    for A in (K, dense):
        found = greedy_logdet(A, 6, noise=noise)
        assert found.indices.tolist() == expected
        assert float(found.gains.sum()) == pytest.approx(rate(dense, expected, noise), rel=1e-10)
    assert (found.gains.diff() <= 1e-12).all()  # submodular


def test_greedy_is_near_the_best_subset_and_never_below_its_guarantee():
    ratios = []
    for _ in range(5):
        dense = RBF(lengthscale=2.0)(points()).to_dense()
        best = max(rate(dense, S, 0.1) for S in itertools.combinations(range(14), 4))
        ratios.append(float(greedy_logdet(dense, 4, noise=0.1).gains.sum()) / best)
    assert min(ratios) >= 0.63
    assert max(ratios) <= 1.0 + 1e-12
    assert sum(ratios) / len(ratios) >= 0.97


def test_features_give_the_same_as_their_kernel_matrix():
    Z = points(40, 5)
    found, expected = (greedy_logdet(A, 12, noise=0.1) for A in (Z, Z @ Z.mT))
    assert torch.equal(found.indices, expected.indices)
    torch.testing.assert_close(found.gains, expected.gains)
    assert len(greedy_logdet(Z, 12).indices) == 5  # the rank, at noise 0


def test_without_noise_gains_are_the_log_determinant_and_end_at_round_off():
    X = points(20, 2).repeat(2, 1)
    K = RBF(lengthscale=0.5)(X).to_dense()
    found = greedy_logdet(K, 40)
    assert len(found.indices) <= 20
    few = greedy_logdet(K, 6)
    chosen = few.indices
    assert 2.0 * float(few.gains.sum()) == pytest.approx(float(torch.logdet(K[chosen][:, chosen])), rel=1e-9)
    assert (chosen < 20).all()  # the lower of two equal rows


def test_bonus_is_added_to_the_gain_or_to_the_diagonal():
    generator = torch.Generator().manual_seed(0)
    dense = RBF(lengthscale=3.0)(torch.randn(25, 3, dtype=torch.float64, generator=generator)).to_dense()
    bonus = torch.rand(25, dtype=torch.float64, generator=generator.manual_seed(1))
    found = greedy_logdet(dense, 5, noise=0.1, bonus=bonus)
    assert found.indices.tolist() == direct_greedy(dense, 5, lambda S: rate(dense, S, 0.1) + float(bonus[S].sum()))
    noisy = dense + torch.diag(0.1 + bonus)
    official = greedy_logdet(dense, 5, noise=0.1, bonus=bonus, criterion="diagonal")
    assert official.indices.tolist() == direct_greedy(dense, 5, lambda S: float(torch.logdet(noisy[S][:, S])))
    chosen = official.indices
    expected = 0.5 * float(torch.logdet(noisy[chosen][:, chosen] / 0.1))
    assert float(official.gains.sum()) == pytest.approx(expected, rel=1e-10)


def test_conditioning_is_a_start_with_these_rows():
    X = points(30)
    K = RBF(lengthscale=2.0)(X)
    whole = greedy_logdet(K, 8, noise=0.1)
    rest = greedy_logdet(K, 5, noise=0.1, condition_on=whole.indices[:3])
    assert torch.equal(rest.indices, whole.indices[3:])
    torch.testing.assert_close(rest.gains, whole.gains[3:])
    Z = points(30, 4)
    features, matrix = (greedy_logdet(A, 5, noise=0.1, condition_on=[3, 7]) for A in (Z, Z @ Z.mT))
    assert torch.equal(features.indices, matrix.indices)
    assert not set(features.indices.tolist()) & {3, 7}
    doubled = torch.cat([X[:5], X])  # rows 0 to 4 and 5 to 9 are equal, and there is no noise
    again = greedy_logdet(RBF(lengthscale=2.0)(doubled), 3, condition_on=[0, 5])
    assert not set(again.indices.tolist()) & {0, 5}
    assert bool(torch.isfinite(again.gains).all())


def test_costs_and_budget():
    dense = RBF(lengthscale=2.0)(points(25)).to_dense()
    costs = torch.rand(25, dtype=torch.float64) + 0.2
    chosen: list[int] = []
    left = 2.0
    while True:
        fits = [i for i in range(25) if i not in chosen and costs[i] <= left]
        if not fits:
            break
        before = rate(dense, chosen, 0.1)
        chosen.append(max(fits, key=lambda i: (rate(dense, [*chosen, i], 0.1) - before) / float(costs[i])))
        left -= float(costs[chosen[-1]])
    found = greedy_logdet(dense, 20, noise=0.1, costs=costs, budget=2.0)
    assert found.indices.tolist() == chosen
    assert float(costs[found.indices].sum()) <= 2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_select": 15}, "n_select must be 0 to 14"),
        ({"noise": -1.0}, "noise must be a variance"),
        ({"criterion": "max"}, "criterion must be"),
        ({"bonus": -torch.ones(14), "criterion": "diagonal"}, "must not be negative"),
        ({"bonus": torch.full((14,), torch.nan)}, "bonus contains NaN"),
        ({"costs": torch.zeros(14), "noise": 1.0}, "costs must be positive"),
        ({"costs": torch.ones(14)}, "need noise > 0"),
        ({"budget": 1.0}, "a budget needs costs"),
        ({"condition_on": [14]}, "row numbers from 0 to 13"),
        ({"condition_on": [1, 1]}, "different row numbers"),
        ({"condition_on": [1], "n_select": 14}, "n_select must be 0 to 13"),
        ({"bonus": torch.ones(3)}, r"bonus must be one a row, \(14,\)"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        greedy_logdet(torch.eye(14), **{"n_select": 2, **options})


def test_factor_beyond_the_memory_budget_is_refused():
    config.set_memory_budget(1000)
    with pytest.raises(MemoryBudgetError, match="greedy_logdet of 10 of 14 rows"):
        greedy_logdet(torch.eye(14), 10)


def test_coding_rate_of_features_and_of_their_matrix():
    for n, d in ((40, 5), (5, 40)):
        Z = points(n, d)
        expected = 0.5 * torch.logdet(torch.eye(n, dtype=torch.float64) + d / (n * 0.3**2) * Z @ Z.mT)
        torch.testing.assert_close(coding_rate(Z, eps=0.3), expected)
        noise = n * 0.3**2 / d
        torch.testing.assert_close(coding_rate(Z, noise=noise), expected)
        torch.testing.assert_close(coding_rate(Z @ Z.mT, noise=noise), expected)
    K = RBF()(Z)
    torch.testing.assert_close(coding_rate(K, noise=0.1), coding_rate(K.to_dense(), noise=0.1))
    assert coding_rate(torch.randn(3, 2, 6, 4), eps=0.5).shape == (3, 2)


def test_coding_rate_is_the_sum_of_greedy_gains():
    K = RBF()(points(12))
    torch.testing.assert_close(coding_rate(K, noise=0.1), greedy_logdet(K, 12, noise=0.1).gains.sum())


def test_coding_rate_is_differentiable():
    assert torch.autograd.gradcheck(lambda Z: coding_rate(Z, eps=0.5), points(6, 3).requires_grad_(True))
    assert torch.autograd.gradcheck(lambda Z: coding_rate(RBF()(Z), noise=0.5), points(5, 2).requires_grad_(True))


def test_coding_rate_wants_one_scale():
    with pytest.raises(ValueError, match="give either eps"):
        coding_rate(points())
    with pytest.raises(ValueError, match="eps must be positive, not 0"):
        coding_rate(points(), eps=0.0)
    with pytest.raises(ValueError, match=r"for a kernel matrix \(14 x 14\) give noise"):
        coding_rate(RBF()(points()), eps=0.5)
    with pytest.raises(ShapeError, match="features"):
        coding_rate(torch.ones(3), eps=1.0)
