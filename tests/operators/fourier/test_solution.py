import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import RBF, Linear, Matern, RationalQuadratic, White
from mercer.operators.fourier import FourierFeatures, FourierLikelihood, FourierModes, FourierSolution
from mercer.operators.fourier.features import FourierBasis, evaluate_square
from mercer.operators.fourier.modes import white_variance
from mercer.operators.fourier.series import fourier_series

N = 300
NOISES = [torch.tensor(0.05, dtype=torch.float64), torch.linspace(0.02, 0.2, N, dtype=torch.float64)]


def points(n=N, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(n, 2, dtype=torch.float64, generator=draw) * torch.tensor([1.0, 2.0]) + 50.0


def dense(K, noise):
    return K.to_dense() + torch.diag(noise.expand(len(K.X)))


@pytest.fixture(scope="module")
def basis():
    series = fourier_series(lambda r: torch.exp(-r.square().sum(-1) / 0.3), [1.0, 2.0], tolerance=1e-6, definite=True)
    center = torch.tensor([50.5, 51.0], dtype=torch.float64)
    return FourierBasis(series.grid, series.coefficients, neglect=1e-7, center=center), series


def test_features_multiply_to_the_kernel_and_agree_with_explicit_ones(basis):
    functions, series = basis
    X = points(70)
    features = FourierFeatures(functions, X, functions.coefficients(series.coefficients))
    Z = features.explicit(X)
    expected = torch.exp(-(X[:, None] - X).square().sum(-1) / 0.3)
    torch.testing.assert_close(Z @ Z.mT, expected, rtol=0, atol=2e-6)
    w, v = torch.randn(functions.size, 3, dtype=torch.float64), torch.randn(70, 3, dtype=torch.float64)
    torch.testing.assert_close(features.times(w), Z @ w, rtol=0, atol=1e-10)
    torch.testing.assert_close(features.transposed(v), Z.mT @ v, rtol=0, atol=1e-10)
    weights = torch.rand(70, dtype=torch.float64)
    torch.testing.assert_close(features.gram(weights), Z.mT @ (Z * weights[:, None]), rtol=0, atol=1e-10)


def test_a_quadratic_form_of_features_is_one_transform(basis):
    functions, _ = basis
    X = points(70)
    B = torch.randn(functions.size, functions.size, dtype=torch.float64)
    B = B + B.mT
    Z = functions.explicit(X)
    torch.testing.assert_close(evaluate_square(functions, B, X), ((Z @ B) * Z).sum(1), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("noise", NOISES, ids=["one noise", "by row"])
@pytest.mark.parametrize(
    ("kernel", "tolerance", "scale"),
    [
        (lambda a, b: a * RBF(lengthscale=b), 1e-9, 1.0),
        (lambda a, b: a * Matern(lengthscale=4.0 * b, nu=3.5) + 0.5 * RBF(0.7), 1e-6, 1e3),
        (lambda a, b: a * RationalQuadratic(lengthscale=2.0 * b), 1e-7, 10.0),
    ],
    ids=["RBF", "Matern + RBF", "RationalQuadratic"],
)
@pytest.mark.slow(reason="a Cholesky factorisation of up to 1500 weights, with its gradient")
def test_forms_solutions_and_gradients_agree_with_the_dense_matrix(kernel, tolerance, scale, noise):
    X, Y = points(), torch.randn(N, 2, dtype=torch.float64)
    amplitude = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    lengthscale = torch.tensor([0.5, 0.8] if scale == 1.0 else 0.6, dtype=torch.float64, requires_grad=True)
    noise = noise.clone().requires_grad_()
    K = kernel(amplitude, lengthscale)(X)
    solution = FourierSolution(K, tolerance=tolerance)
    assert solution.applies(noise.detach()) is None
    quad, logdet, error = solution.inv_quad_logdet(Y, noise)
    x = solution.solve(Y, noise)
    M = dense(K, noise)
    expected_x = torch.linalg.solve(M, Y)
    expected_quad, expected_logdet = (Y * expected_x).sum(0), torch.logdet(M)
    assert float(error) == 0.0
    near = {"rtol": 1e-6 * scale, "atol": 1e-5 * scale}
    torch.testing.assert_close(quad, expected_quad, **near)
    torch.testing.assert_close(logdet, expected_logdet, **near)
    torch.testing.assert_close(x, expected_x.detach(), **near)
    torch.testing.assert_close(solution.solve(Y, noise), expected_x.detach(), **near)
    leaves = (amplitude, lengthscale, noise)
    ours = torch.autograd.grad(quad.sum() + 0.7 * logdet, leaves, retain_graph=True)
    theirs = torch.autograd.grad(expected_quad.sum() + 0.7 * expected_logdet, leaves)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5 * scale, atol=1e-4 * scale)


def test_errors_of_gradients_are_linear_in_the_tolerance():
    X, Y = points(), torch.randn(N, 1, dtype=torch.float64)
    lengthscale = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    K, noise = Matern(4.0 * lengthscale, nu=3.5)(X), NOISES[0]
    M = dense(K, noise)
    value = (Y * torch.linalg.solve(M, Y)).sum() + torch.logdet(M)
    (true,) = torch.autograd.grad(value, lengthscale, retain_graph=True)
    errors = []
    for tolerance in (1e-4, 1e-5, 1e-6):
        quad, logdet, _ = FourierSolution(K, tolerance=tolerance).inv_quad_logdet(Y, noise)
        (ours,) = torch.autograd.grad(quad.sum() + logdet, lengthscale, retain_graph=True)
        errors.append(float((ours - true).abs()))
        assert errors[-1] <= 20.0 * N * tolerance / float(noise) / 0.6  # 10 a row of half, by log lengthscale
    assert errors[2] < 0.5 * errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("noise", NOISES, ids=["one noise", "by row"])
@pytest.mark.parametrize("explicit", [0.0, 1e12], ids=["one transform", "explicit"])
def test_posterior_mean_and_variance_also_outside_of_the_data(noise, explicit, monkeypatch):
    monkeypatch.setattr("mercer.operators.fourier.solution._EXPLICIT", explicit)
    kernel, X, y = 1.5 * RBF(0.5), points(), torch.randn(N, 1, dtype=torch.float64)
    new = torch.cat([points(30, seed=1), torch.tensor([[52.0, 49.0], [50.0, 53.0]], dtype=torch.float64)])
    cross = kernel(new, X)
    solution = FourierSolution(kernel(X), tolerance=1e-9)
    C, M = cross.to_dense(), dense(kernel(X), noise)
    torch.testing.assert_close(solution.mean_of(cross, y, noise), C @ torch.linalg.solve(M, y), rtol=0, atol=1e-6)
    expected = (C * torch.linalg.solve(M, C.mT).mT).sum(1)
    torch.testing.assert_close(solution.inv_quad_of(cross, noise), expected, rtol=0, atol=1e-7)


def test_draws_have_the_kernel_as_covariance():
    K = RBF(1.0)(points(6))
    draws = FourierSolution(K, tolerance=1e-6).sample(4_000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(torch.cov(draws), K.to_dense(), rtol=0, atol=0.09)  # 4 standard errors


def test_likelihood_passes_over_the_points_only_where_modes_change():
    X, y = points(), torch.randn(N, dtype=torch.float64)
    likelihood = FourierLikelihood(y, tolerance=1e-6)
    noise = torch.tensor(0.1, dtype=torch.float64)
    for amplitude, lengthscale in ((1.0, 0.5), (2.0, 0.5), (1.5, 0.52), (3.0, 0.25), (3.0, 0.26)):
        K = (amplitude * RBF(lengthscale))(X)
        quad, logdet = likelihood(K, noise)
        M = dense(K, noise)
        torch.testing.assert_close(quad, y[None] @ torch.linalg.solve(M, y), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(logdet, torch.logdet(M), rtol=1e-4, atol=1e-2)
    assert likelihood.n_passes == 2


def test_likelihood_with_known_ratios_of_the_noise():
    X, y, ratios = points(), torch.randn(N, dtype=torch.float64), torch.linspace(0.5, 2.0, N, dtype=torch.float64)
    noise = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    K = RBF(0.5)(X)
    quad, logdet = FourierLikelihood(y, tolerance=1e-9, ratios=ratios)(K, noise)
    M = dense(K, noise * ratios)
    torch.testing.assert_close(quad[0], y @ torch.linalg.solve(M, y), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logdet, torch.logdet(M), rtol=1e-6, atol=1e-5)
    (ours,) = torch.autograd.grad(quad[0] + logdet, noise)
    (theirs,) = torch.autograd.grad(y @ torch.linalg.solve(M, y) + torch.logdet(M), noise)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


def test_white_noise_of_the_kernel_is_part_of_the_diagonal():
    X, y = points(), torch.randn(N, 1, dtype=torch.float64)
    variance = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    K = (RBF(0.5) + 2.0 * White(variance))(X)
    torch.testing.assert_close(white_variance(K), 2.0 * variance)
    solution = FourierSolution(K, tolerance=1e-8)
    _, logdet, _ = solution.inv_quad_logdet(y, 0.1)
    x = solution.solve(y, 0.1)
    M = K.to_dense() + 0.1 * torch.eye(N, dtype=torch.float64)
    torch.testing.assert_close(x, torch.linalg.solve(M, y).detach(), rtol=1e-5, atol=1e-6)
    ours, theirs = (torch.autograd.grad(value, variance) for value in (logdet, torch.logdet(M)))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_refusals_say_why(monkeypatch):
    X, y = points(), torch.randn(N, dtype=torch.float64)
    with pytest.raises(TypeError, match="not stationary"):
        FourierModes((RBF() + Linear())(X), tolerance=1e-6)
    solution = FourierSolution(RBF()(X), tolerance=1e-3)
    assert solution.applies(NOISES[0]) is None
    assert solution.applies(torch.zeros(())) == "weight space needs a positive noise"
    likelihood = FourierLikelihood(y, tolerance=1e-3)
    with pytest.raises(ShapeError, match="y has 300 rows"):
        likelihood(RBF()(points(5)), NOISES[0])
    with pytest.raises(ValueError, match="white noise of its own"):
        FourierLikelihood(y, tolerance=1e-3, ratios=torch.ones(N))((RBF() + White())(X), NOISES[0])
    monkeypatch.setattr("mercer.operators.fourier.solution.MOST_WEIGHTS", 10)
    assert "weights, more than 10" in solution.applies(NOISES[0])
    with pytest.raises(ValueError, match="weights, more than 10"):
        likelihood(RBF()(X), NOISES[0])


@pytest.mark.parametrize("noise", [0.05, NOISES[1]], ids=["one noise", "by row"])
def test_a_log_determinant_alone(noise):
    K = RBF(lengthscale=0.5)(points())
    found = K.with_plan("fourier", tolerance=1e-9).logdet(noise=noise)
    torch.testing.assert_close(found, torch.logdet(dense(K, torch.as_tensor(noise))), rtol=1e-6, atol=0)
