"""What single kernels do beyond the common properties: arguments, special values, plans."""

import pytest
import torch

from mercer.kernels import Constant, Laplacian, Linear, Matern, Polynomial, RationalQuadratic, White

X = torch.linspace(-1.0, 1.0, 8, dtype=torch.float64).reshape(4, 2)


def test_white_noise_belongs_to_points_and_not_to_coordinates():
    kernel = White(0.3)
    assert torch.equal(kernel(X).to_dense(), 0.3 * torch.eye(4, dtype=torch.float64))
    assert torch.equal(kernel(X, X).to_dense(), torch.zeros(4, 4, dtype=torch.float64))
    assert torch.equal(kernel(X, X).diagonal(), torch.zeros(4, dtype=torch.float64))
    assert kernel(X, X)[2, 2] == 0.0
    assert kernel(X)[2, 2] == 0.3
    twice = torch.cat([X, X])
    assert torch.equal(kernel(twice).to_dense(), 0.3 * torch.eye(8, dtype=torch.float64))
    block = kernel(X)[1:3]
    assert torch.equal(block.to_dense(), 0.3 * torch.eye(4, dtype=torch.float64)[1:3])
    assert torch.equal(block[:, [2, 2]].to_dense(), 0.3 * torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64))
    assert torch.equal(kernel(X).T.to_dense(), kernel(X).to_dense())


def test_white_noise_times_a_kernel_is_noise_of_its_variance():
    kernel = White(0.3) * Linear()
    assert torch.equal(kernel(X).to_dense(), torch.diag(0.3 * X.square().sum(1)))
    power = (White(0.3) + Constant(1.0)) ** 2
    expected = torch.ones(4, 4, dtype=torch.float64) + torch.eye(4, dtype=torch.float64) * (1.3**2 - 1.0)
    torch.testing.assert_close(power(X).to_dense(), expected)
    torch.testing.assert_close(power(X) @ X, expected @ X)
    torch.testing.assert_close(power(X).diagonal(), expected.diagonal())


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e3, 1e8])
def test_a_rational_quadratic_loses_no_digits_at_any_alpha(alpha):
    s = torch.cdist(X, X).square()
    expected = torch.exp(-alpha * torch.log1p(s / (2.0 * alpha)))
    torch.testing.assert_close(RationalQuadratic(alpha=alpha)(X).to_dense(), expected, rtol=1e-13, atol=1e-15)
    single = RationalQuadratic(alpha=alpha)(X.float()).to_dense()
    torch.testing.assert_close(single.double(), expected, rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("degree", [1, 2, 5, 16, 17, 40])
def test_polynomials_of_any_degree_have_values_and_gradients(degree):
    Z = (X * 0.5).requires_grad_(True)
    kernel = Polynomial(degree, offset=0.5)
    torch.testing.assert_close(kernel(Z).to_dense(), (Z @ Z.T + 0.5) ** degree, rtol=1e-12, atol=1e-15)
    assert torch.autograd.gradcheck(lambda Z: kernel(Z).to_dense(), Z, atol=1e-6)


@pytest.mark.parametrize("degree", [0, -1, 2.5, "2", True])
def test_a_degree_that_is_no_whole_number_is_refused(degree):
    with pytest.raises(ValueError, match="the degree must be a whole number >= 1"):
        Polynomial(degree)


def test_laplacian_is_a_product_of_matern_kernels_of_single_columns():
    expected = Matern(0.7, nu=0.5).on(0) * Matern(1.4, nu=0.5).on(1)
    torch.testing.assert_close(Laplacian([0.7, 1.4])(X).to_dense(), expected(X).to_dense())


def test_a_plan_can_be_asked_for():
    assert Matern()(X, plan="tiles").plan.name == "tiles"
    with pytest.raises(ValueError, match="There is no plan 'magic'"):
        Matern()(X, plan="magic")
