import pytest
import torch

from mercer.errors import NotConverged, ShapeError
from mercer.operators import NotPositiveDefinite
from mercer.operators.solvers import DenseFeatures, WeightFactor, WeightSpace, weight_inv_quad_logdet

N, M = 60, 7
NOISES = [0.3, 1e-6, torch.linspace(0.1, 2.0, N, dtype=torch.float64)]


def problem(noise):
    Z, y = torch.randn(N, M, dtype=torch.float64), torch.randn(N, 2, dtype=torch.float64)
    dense = Z @ Z.mT + torch.diag(torch.as_tensor(noise, dtype=torch.float64).expand(N))
    return Z, y, dense, WeightSpace(DenseFeatures(Z), noise)


@pytest.mark.parametrize("noise", NOISES, ids=["0.3", "1e-6", "by row"])
def test_solutions_and_determinants_agree_with_the_dense_matrix(noise):
    _, y, dense, space = problem(noise)
    x = space.solve(y)
    assert float((dense @ x - y).norm() / y.norm()) < 1e-8
    torch.testing.assert_close(space.logdet(), torch.logdet(dense), rtol=1e-9, atol=1e-7)
    torch.testing.assert_close(space.inv_quad(y), (y * torch.linalg.solve(dense, y)).sum(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(space.product(y), dense @ y)


@pytest.mark.parametrize("noise", [NOISES[0], NOISES[2]], ids=["0.3", "by row"])
def test_variance_and_samples_are_those_of_the_posterior(noise):
    Z, _, dense, space = problem(noise)
    new = torch.randn(5, M, dtype=torch.float64)
    cross = new @ Z.mT
    expected = (new @ new.mT - cross @ torch.linalg.solve(dense, cross.mT)).diagonal()
    torch.testing.assert_close(space.variance(lambda rows: new[rows], 5, rows=2), expected)
    draws = new @ space.sample(40_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(draws.var(1), expected, rtol=0.05, atol=0)  # 0.7 % standard error
    mean = torch.arange(float(M), dtype=torch.float64)
    shifted = space.sample(3, torch.Generator().manual_seed(0), mean)
    torch.testing.assert_close(shifted - space.sample(3, torch.Generator().manual_seed(0)), mean[:, None].expand(M, 3))


def test_forms_from_sums_are_differentiable():
    Z, y = torch.randn(N, M, dtype=torch.float64), torch.randn(N, 2, dtype=torch.float64)

    def value(root, noise):
        features = Z * root
        quad, logdet, _ = weight_inv_quad_logdet(
            features.mT @ features, features.mT @ y, y.square().sum(0), noise, n=N, log_ratios=0.7
        )
        return quad.sum() + 2.0 * logdet

    root = torch.rand(M, dtype=torch.float64, requires_grad=True)
    noise = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(value, (root, noise))
    dense = (Z * root) @ (Z * root).mT + noise * torch.eye(N, dtype=torch.float64)
    expected = (y * torch.linalg.solve(dense, y)).sum() + 2.0 * (torch.logdet(dense) + 0.7)
    torch.testing.assert_close(value(root, noise), expected)


def test_what_cannot_be_solved_says_so():
    Z = torch.ones(5, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="noise must be positive"):
        WeightSpace(DenseFeatures(Z), 0.0)
    with pytest.raises(ShapeError, match=r"one a row: \(5,\)"):
        WeightSpace(DenseFeatures(Z), torch.ones(4))
    with pytest.raises(ShapeError, match="there are 5 rows"):
        WeightSpace(DenseFeatures(Z), 1.0).solve(torch.ones(4, 1, dtype=torch.float64))
    with pytest.raises(NotPositiveDefinite):
        WeightFactor(torch.full((3, 3), 1e20, dtype=torch.float64), 1e-3)
    with pytest.raises(NotConverged, match="Give a larger noise"):
        WeightSpace(DenseFeatures(torch.randn(50, 3, dtype=torch.float64) * 1e4), 1e-9).solve(
            torch.ones(50, 1, dtype=torch.float64), rtol=1e-14
        )
