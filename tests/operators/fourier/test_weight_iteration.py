import pytest
import torch

from mercer.errors import NotConverged
from mercer.kernels import Matern
from mercer.operators.fourier import FourierLikelihood, FourierSolution
from mercer.operators.fourier.weight_iteration import IterativeWeightSpace, WeightIteration

N = 150
NOISES = [torch.tensor(0.02, dtype=torch.float64), torch.linspace(0.01, 0.03, N, dtype=torch.float64)]


@pytest.fixture(autouse=True)
def few_are_factorised(monkeypatch):
    monkeypatch.setattr("mercer.operators.fourier.solution.MOST_DENSE", 50)
    monkeypatch.setattr("mercer.operators.fourier.weight_iteration.MOST_HEAD", 120)
    monkeypatch.setattr("mercer.operators.fourier.weight_iteration._LEAST_HEAD", 40)


def points(n=N, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(n, 2, dtype=torch.float64, generator=draw)


def problem(**options):
    """A kernel with hyperparameters, its solution by iterations, and the matrix of the same series."""
    amplitude, lengthscale = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (1.5, 0.4))
    K = (amplitude * Matern(lengthscale, nu=2.5))(points())
    solution = FourierSolution(K, tolerance=1e-2, **options)
    assert solution.is_iterative
    f = solution.modes.basis.explicit(points())
    return (amplitude, lengthscale), solution, (f * solution.modes.coefficients(K)) @ f.mT


@pytest.mark.parametrize("noise", NOISES, ids=["one noise", "by row"])
def test_solutions_forms_and_their_gradients_agree_with_the_dense_matrix(noise):
    noise = noise.clone().requires_grad_()
    theta, solution, series = problem(n_probes=400)
    Y = torch.randn(N, 2, dtype=torch.float64)
    quad, logdet, error = solution.inv_quad_logdet(Y, noise)
    x = solution.solve(Y, noise)
    M = series + torch.diag(noise.expand(N))
    expected = torch.linalg.solve(M, Y)
    torch.testing.assert_close(x, expected.detach(), rtol=1e-7, atol=1e-7 * float(expected.detach().abs().max()))
    torch.testing.assert_close(quad, (Y * expected).sum(0), rtol=1e-7, atol=0)
    true = torch.logdet(M)
    assert 0.0 < float(error.detach()) < 0.01 * abs(float(true.detach()))
    assert abs(float((logdet - true).detach())) < 4.0 * float(error)
    ours = torch.autograd.grad(quad.sum(), (*theta, noise), retain_graph=True)
    theirs = torch.autograd.grad((Y * expected).sum(), (*theta, noise), retain_graph=True)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6 * float(other.abs().max()))
    ours = torch.autograd.grad(logdet, (*theta, noise))
    theirs = torch.autograd.grad(true, (*theta, noise))
    for mine, other in zip(ours, theirs, strict=True):
        assert float((mine - other).norm()) < (0.1 if mine.ndim == 0 else 0.3) * float(other.norm())


def test_where_all_is_factorised_the_determinant_and_its_gradient_are_exact(monkeypatch):
    monkeypatch.setattr("mercer.operators.fourier.weight_iteration.MOST_HEAD", 10_000)
    monkeypatch.setattr("mercer.operators.fourier.weight_iteration._LEAST_HEAD", 10_000)
    noise = NOISES[0].clone().requires_grad_()
    theta, solution, series = problem(n_probes=2)
    _, logdet, error = solution.inv_quad_logdet(torch.ones(N, 1, dtype=torch.float64), noise)
    true = torch.logdet(series + noise * torch.eye(N, dtype=torch.float64))
    assert float(error) < 1e-7
    torch.testing.assert_close(logdet, true, rtol=1e-9, atol=0)
    for mine, other in zip(
        torch.autograd.grad(logdet, (*theta, noise)), torch.autograd.grad(true, (*theta, noise)), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-7, atol=0)


@pytest.mark.slow(reason="thirty estimates")
def test_standard_error_is_the_spread_over_seeds():
    noise = NOISES[0]
    _, solution, series = problem()
    iteration = solution.space(noise).iteration
    probes = [iteration.probes(8, torch.Generator().manual_seed(seed)) for seed in range(30)]
    found, errors = [each.logdet for each in probes], [each.standard_error for each in probes]
    spread, claimed = float(torch.stack(found).std()), float(torch.stack(errors).square().mean().sqrt())
    assert 0.6 < spread / claimed < 1.6
    dense = series.detach() + noise * torch.eye(N, dtype=torch.float64)
    true = torch.logdet(dense) - (N - solution.n_weights) * noise.log()  # of the weights' matrix
    assert abs(float(torch.stack(found).mean() - true)) < 4.0 * spread / 30**0.5


@pytest.mark.parametrize("noise", NOISES, ids=["one noise", "by row"])
def test_variances_and_means_agree_with_the_dense_matrix(noise):
    _, solution, series = problem()
    new = 0.1 + 0.8 * points(70, seed=1)  # among the others, so that the modes are the same
    basis, y = solution.modes.basis, torch.randn(N, 1, dtype=torch.float64)
    coefficients = solution.modes.coefficients(solution.K).detach()
    C = (basis.explicit(new) * coefficients) @ basis.explicit(points()).mT
    M = series.detach() + torch.diag(noise.expand(N))
    kernel = 1.5 * Matern(0.4, nu=2.5)
    mean = solution.mean_of(kernel(new, points()), y, noise)
    torch.testing.assert_close(mean, C @ torch.linalg.solve(M, y), rtol=1e-6, atol=1e-6)
    prior = float(coefficients.sum())  # f_a^2 + f_b^2 = 2 for a pair of opposite modes
    expected = prior - (C * torch.linalg.solve(M, C.mT).mT).sum(1)
    torch.testing.assert_close(1.5 - solution.inv_quad_of(kernel(new, points()), noise), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("noise", NOISES, ids=["one noise", "by row"])
def test_samples_of_weights_have_the_posterior_covariance(noise):
    _, solution, series = problem()
    space = solution.space(noise)
    assert isinstance(space, IterativeWeightSpace)
    Z = space.features.explicit(points()[:6])
    draws = Z @ space.sample(500, torch.Generator().manual_seed(0))
    A = series.detach()
    M = A + torch.diag(noise.expand(N))
    expected = (A - A @ torch.linalg.solve(M, A))[:6, :6]
    scale = expected.diagonal().sqrt()
    correlation, true = (matrix / scale / scale[:, None] for matrix in (torch.cov(draws), expected))
    torch.testing.assert_close(correlation, true, rtol=0, atol=0.2)  # 4 standard errors
    mean = torch.ones(space.features.shape[1], dtype=torch.float64)
    shifted = space.sample(1, torch.Generator().manual_seed(0), mean) - space.sample(
        1, torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(shifted[:, 0], mean)


@pytest.mark.slow(reason="several thousand weights")
def test_likelihoods_take_it():
    X, y = points(), torch.randn(N, dtype=torch.float64)
    K = (1.5 * Matern(0.4, nu=2.5))(X)
    noise = torch.tensor(0.02, dtype=torch.float64)
    likelihood = FourierLikelihood(y, tolerance=1e-3)
    quad, logdet = likelihood(K, noise)
    M = K.to_dense() + noise * torch.eye(N, dtype=torch.float64)
    torch.testing.assert_close(quad[0], y @ torch.linalg.solve(M, y), rtol=0.05, atol=0)
    assert 0.0 < likelihood.standard_error < 0.03 * abs(float(logdet))
    assert abs(float(logdet - torch.logdet(M))) < 4.0 * likelihood.standard_error + 0.1
    again, _ = likelihood(K, noise)
    assert torch.equal(quad, again)


def test_what_does_not_converge_says_so(monkeypatch):
    _, solution, _ = problem()
    iteration = solution.space(NOISES[0]).iteration
    assert isinstance(iteration, WeightIteration)
    monkeypatch.setattr("mercer.operators.fourier.weight_iteration._MAX_ITER", 2)
    with pytest.raises(NotConverged, match="reached in 2 iterations with"):
        iteration.solve(torch.randn(solution.n_weights, 1, dtype=torch.float64))
    with pytest.raises(NotConverged, match="probes did not converge in 2 iterations"):
        iteration.probes(2, torch.Generator().manual_seed(0))
