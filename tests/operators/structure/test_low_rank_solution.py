import pytest
import torch

from mercer.kernels import RBF, Linear
from mercer.kernels.features import RandomFourier
from mercer.operators import solve
from mercer.operators.functions import inv_quad_logdet
from mercer.operators.solvers import structure_of

N = 300
FEATURES = RandomFourier(RBF(1.5), 20, d=3, random_state=0)
KERNELS = {
    "linear": lambda a, b: a * Linear(bias=b),
    "sum": lambda a, b: a * Linear([1.0, 2.0, 0.5]) + b * Linear(bias=0.3).on([0, 2]),
    "features": lambda a, b: a * FEATURES.with_values({"kernel__lengthscale": b}).as_kernel(),
}
NOISES = [torch.tensor(0.05, dtype=torch.float64), torch.linspace(0.02, 0.2, N, dtype=torch.float64)]


def points(n=N, seed=0):
    return torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def Y():
    return torch.randn(N, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("noise", NOISES, ids=["one noise", "by row"])
@pytest.mark.parametrize("make", KERNELS.values(), ids=KERNELS)
def test_forms_solutions_and_gradients_are_those_of_the_dense_matrix(make, noise, Y):
    a, b = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (1.5, 0.7))
    noise = noise.clone().requires_grad_()
    K = make(a, b)(points(), plan="lowrank")
    found = inv_quad_logdet(K, Y, noise=noise)
    assert (found.method, float(found.standard_error)) == ("weights", 0.0)
    M = K.to_dense() + torch.diag(noise.expand(N))
    x = torch.linalg.solve(M, Y)
    torch.testing.assert_close(found.x, x.detach(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.inv_quad, (Y * x).sum(0))
    torch.testing.assert_close(found.logdet, torch.logdet(M))
    ours = torch.autograd.grad(found.inv_quad.sum() + 0.7 * found.logdet, (a, b, noise))
    theirs = torch.autograd.grad((Y * x).sum() + 0.7 * torch.logdet(M), (a, b, noise))
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("make", KERNELS.values(), ids=KERNELS)
def test_posterior_variance_and_draws(make):
    kernel, noise = make(1.5, 0.7), NOISES[1]
    K, cross = kernel(points(), plan="lowrank"), kernel(points(9, seed=1), points())
    direct = K.direct()
    C, M = cross.to_dense(), K.to_dense() + torch.diag(noise)
    expected = (C * torch.linalg.solve(M, C.mT).mT).sum(1)
    torch.testing.assert_close(direct.inv_quad_of(cross, noise), expected, rtol=1e-9, atol=1e-9)
    expected = kernel(points(60)[:5]).to_dense()
    small = kernel(points(60), plan="lowrank").direct().sample(40_000, torch.Generator().manual_seed(0))[:5]
    torch.testing.assert_close(torch.cov(small), expected, rtol=0.05, atol=0.15)


def test_a_large_linear_system_is_solved_in_weight_space(Y):
    found = solve(Linear(bias=0.3)(points(), plan="lowrank"), Y, noise=1e-3)
    assert (found.method, found.n_iter) == ("weights", 0)
    assert found.residual < 1e-9


@pytest.mark.parametrize(
    ("kernel", "noise", "reason"),
    [
        (Linear(), 0.0, "a positive noise"),
        (Linear(1e-4), 1e-9, "below the round-off of the features' products"),
    ],
)
def test_noise_that_weight_space_cannot_take(kernel, noise, reason):
    K, noise = kernel(points(), plan="lowrank"), torch.tensor(noise, dtype=torch.float64)
    assert reason in K.direct().applies(noise)
    assert structure_of(K, noise) is None


def test_no_root_where_a_number_has_no_slope_there():
    bias = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    assert Linear(bias=bias)(points(), plan="lowrank").direct() is None
