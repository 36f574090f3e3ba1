import math

import pytest
import torch

from mercer.kernels import PowerExponential
from mercer.learn import stored_iterate
from mercer.learn.stored_iterate import StoredIterate, Workspace
from mercer.operators import point_gradients

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-3}


def make(Z, Y, *, exponent=1.0, noise=0.1, workspace=None):
    return StoredIterate(
        Z,
        lengthscale=2.5,
        exponent=exponent,
        noise=torch.tensor(noise, dtype=Z.dtype),
        Y=Y,
        workspace=workspace or Workspace(len(Z), Z),
    )


def points(n, r, dtype, shift=0.0):
    generator = torch.Generator().manual_seed(n + r)
    Z = torch.randn(n, r, generator=generator, dtype=torch.float64) + shift
    return Z.to(dtype), torch.randn(n, 2, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("exponent", [1.0, 0.7, 1.3, 2.0])
@pytest.mark.parametrize(("n", "r"), [(1, 1), (7, 2), (100, 3), (300, 17)])
@pytest.mark.parametrize("binary", [True, False])
def test_everything_agrees_with_the_definition(monkeypatch, dtype, exponent, n, r, binary):
    monkeypatch.setattr(stored_iterate, "exp2_is_faster", lambda _: binary)
    Z, Y = points(n, r, dtype, shift=5.0)
    kernel = PowerExponential(2.5, exponent)
    K = kernel(Z.double()).to_dense()
    A = K + 0.1 * torch.eye(n, dtype=torch.float64)
    dual = torch.linalg.solve(A, Y.double())
    iterate = make(Z, Y, exponent=exponent)
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype] * float(dual.abs().max())}
    torch.testing.assert_close(iterate.dual.double(), dual, **tolerance)
    torch.testing.assert_close(iterate.inverse_diagonal().double(), torch.linalg.inv(A).diagonal(), **tolerance)
    new = Z[: n // 2 + 1] + 0.3
    expected = kernel(new.double(), Z.double()).to_dense() @ dual
    torch.testing.assert_close(iterate.values(new, iterate.dual).double(), expected, **tolerance)
    G = point_gradients(kernel(Z.double()), dual)
    for n_points in (n, n // 2 + 1):
        found = iterate.gradients(n_points).double()
        expected = G[:n_points]
        if float(expected.abs().max()) > 0.0:  # up to a common factor
            found = found * float((found * expected).sum() / found.square().sum())
        torch.testing.assert_close(found, expected, **tolerance)
    assert iterate.residual <= TOLERANCE[dtype]


def test_points_that_are_one_have_kernel_one_and_no_gradient():
    Z = torch.ones(20, 5)
    iterate = make(Z, torch.ones(20, 1))
    assert float(iterate.gradients(20).abs().max()) == 0.0
    torch.testing.assert_close(iterate.dual, torch.full((20, 1), 1.0 / 20.1))


def test_a_singular_matrix_has_no_factor():
    iterate = make(torch.ones(20, 5), torch.ones(20, 1), noise=-0.5)
    assert iterate.factor is None
    assert math.isinf(iterate.residual)


def test_a_released_factor_is_used_again_and_a_kept_one_is_not_overwritten():
    Z, Y = points(50, 4, torch.float64)
    workspace = Workspace(50, Z)
    first = make(Z, Y, workspace=workspace)
    buffer = first.factor.data_ptr()
    second = make(2.0 * Z, Y, workspace=workspace)
    torch.testing.assert_close(first.solve(Y), make(Z, Y).dual)
    assert second.factor.data_ptr() != buffer
    first.release()
    assert make(Z, Y, workspace=workspace).factor.data_ptr() == buffer
