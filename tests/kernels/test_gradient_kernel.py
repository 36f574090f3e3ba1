"""Values and gradients observed together."""

import pytest
import torch

from mercer.kernels import RBF, GradientKernel, Matern, Polynomial, White

DOUBLE = torch.float64
X = torch.randn(5, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
Y = torch.randn(4, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
KERNELS = [RBF([0.6, 1.3]), Matern([0.6, 1.3], nu=2.5), Polynomial(3, 0.7)]
same = {"rtol": 1e-10, "atol": 1e-11}


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_the_matrix_is_that_of_gpytorch(kernel):
    gpytorch = pytest.importorskip("gpytorch")
    if isinstance(kernel, Polynomial):
        theirs = (
            gpytorch.kernels.PolynomialKernelGrad(power=3).double().initialize(offset=torch.tensor(0.7, dtype=DOUBLE))
        )
    else:
        name = "RBFKernelGrad" if isinstance(kernel, RBF) else "Matern52KernelGrad"
        theirs = getattr(gpytorch.kernels, name)(ard_num_dims=2).double()
        theirs.lengthscale = torch.tensor(kernel.lengthscale, dtype=DOUBLE)
    for A, B in ((X, Y), (X, X)):
        expected = theirs(A, B).to_dense().detach()
        torch.testing.assert_close(kernel.with_gradients()(A, B).to_dense(), expected, **same)


@pytest.mark.slow("nine blocks are compiled for each of a dozen products and slices")
@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("kernel", KERNELS[::2], ids=lambda k: type(k).__name__)
def test_the_lazy_matrix_is_the_dense_one(kernel, interleaved):
    gradients = kernel.with_gradients(interleaved=interleaved)
    for K in (gradients(X), gradients(X, Y)):
        dense = K.to_dense()
        n, m = K.shape
        assert dense.shape == (n, m)
        v = torch.randn(m, 2, dtype=DOUBLE)
        torch.testing.assert_close(K @ v, dense @ v, **same)
        torch.testing.assert_close(K @ v[:, 0], dense @ v[:, 0], **same)
        torch.testing.assert_close(K.mT @ torch.ones(n, dtype=DOUBLE), dense.sum(0), **same)
        torch.testing.assert_close(K[3:6].to_dense(), dense[3:6], **same)
        torch.testing.assert_close(K[1:, :5].to_dense(), dense[1:, :5], **same)
        torch.testing.assert_close(K[[1, 7, 1], [2, 0, 5]], dense[[1, 7, 1], [2, 0, 5]], **same)
        torch.testing.assert_close(K[n - 1, 2], dense[n - 1, 2], **same)
    K = gradients(X)
    torch.testing.assert_close(K.diagonal(), K.to_dense().diagonal(), **same)
    torch.testing.assert_close(K.to_dense(), gradients(X, X).to_dense(), **same)
    values = torch.linalg.eigvalsh(K.to_dense())
    assert values[0] >= -1e-12 * values[-1]


@pytest.mark.parametrize("interleaved", [True, False])
def test_rows_are_stacked_and_split_in_the_order_of_the_matrix(interleaved):
    gradients = RBF().with_gradients(interleaved=interleaved)
    y, slopes = torch.arange(3.0), torch.arange(3.0, 9.0).reshape(3, 2)
    v = gradients.stack(y, slopes)
    order = [0, 3, 4, 1, 5, 6, 2, 7, 8] if interleaved else [0, 1, 2, 3, 5, 7, 4, 6, 8]
    assert v.tolist() == order
    again, slopes_again = gradients.split(v, 2)
    assert torch.equal(again, y)
    assert torch.equal(slopes_again, slopes)


def test_gradients_help_to_predict():
    def f(Z):
        return torch.sin(2.0 * Z[:, 0]) + Z[:, 1] ** 2

    slopes = torch.stack([2.0 * torch.cos(2.0 * X[:, 0]), 2.0 * X[:, 1]], 1)
    kernel = RBF(1.0).with_gradients()
    weights = kernel(X).solve(kernel.stack(f(X), slopes), noise=1e-8)
    near = X + 0.1
    mean, _ = kernel.split(kernel(near, X) @ weights, 2)
    plain = RBF(1.0)(near, X) @ RBF(1.0)(X).solve(f(X), noise=1e-8)
    assert (mean - f(near)).abs().max() < 0.02 < (plain - f(near)).abs().max()


def test_hyperparameters_are_learnable_through_the_whole_matrix():
    kernel = RBF(0.7).with_gradients().learnable()
    (lengthscale,) = kernel.tensors()
    v = torch.randn(15, dtype=DOUBLE)

    def value(scale):
        return v @ (RBF(scale).with_gradients()(X) @ v)

    (grad,) = torch.autograd.grad(v @ (kernel(X) @ v), [lengthscale])
    slope = (value(0.7 + 1e-6) - value(0.7 - 1e-6)) / 2e-6
    torch.testing.assert_close(grad, slope, rtol=1e-6, atol=1e-8)


def test_a_batch_of_points_gives_a_batch_of_matrices():
    kernel = Matern(nu=2.5).with_gradients()
    K = kernel(torch.stack([X[:4], Y]))
    assert K.shape == (2, 12, 12)
    torch.testing.assert_close(K.to_dense()[1], kernel(Y).to_dense(), **same)
    torch.testing.assert_close(K[1].to_dense(), kernel(Y).to_dense(), **same)
    v = torch.randn(2, 12, 3, dtype=DOUBLE)
    torch.testing.assert_close(K @ v, K.to_dense() @ v, **same)
    torch.testing.assert_close(K.diagonal(dim1=-2, dim2=-1), K.to_dense().diagonal(dim1=-2, dim2=-1), **same)


def test_kernels_without_a_derivative_are_refused():
    with pytest.raises(TypeError, match="tells a point from itself"):
        (RBF() + White()).with_gradients()(X)
    with pytest.raises(ValueError, match="derivatives of orders below 2 nu"):
        Matern(nu=1.0).with_gradients()(X)
    with pytest.raises(TypeError, match="must be a kernel"):
        GradientKernel(3.0)
