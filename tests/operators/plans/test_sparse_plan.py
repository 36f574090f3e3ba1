import pytest
import torch

from mercer import config
from mercer.kernels import RBF, Wendland, White
from mercer.operators import plan, solve

KERNELS = [Wendland(0.1), 2.0 * Wendland([0.1, 0.2], smoothness=2) * RBF(0.4), Wendland(0.1) + White(0.3)]


def points(n, dtype=torch.float64, seed=0):
    return torch.rand(n, 2, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_product_agrees_with_the_entries(kernel, dtype):
    X, Y = points(200, dtype), points(90, dtype, seed=1)
    for K in (kernel(X), kernel(X, Y), kernel(X)[10:90, 50:]):
        v = torch.randn(K.shape[1], 3, dtype=dtype)
        exact = K.double().to_dense()
        error = ((K.with_plan("sparse") @ v).double() - exact @ v.double()).norm()
        # N1; points are at most 14 lengthscales apart
        assert error <= 4 * torch.finfo(dtype).eps * (2 + 14**2) * exact.norm() * v.double().norm()


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_gradients_agree_with_those_of_tiles(kernel):
    found = []
    for name in ("sparse", "tiles"):
        X, v = points(60).requires_grad_(), torch.linspace(-1, 1, 60, dtype=torch.float64)[:, None].requires_grad_()
        K = kernel(X).with_plan(name)
        theta = [t.clone().requires_grad_() for t in K.theta]
        out = K._like(X, *theta) @ v
        found.append(torch.autograd.grad(out.square().sum(), [X, v, *theta]))
    for ours, tiles in zip(*found, strict=True):
        torch.testing.assert_close(ours, tiles)


def test_many_points_with_few_neighbours_are_sparse_and_solved():
    X = 40.0 * points(4000)
    K, y = Wendland(1.5)(X), torch.sin(X[:, 0])
    assert plan(K).name == "sparse"
    assert plan(Wendland(20.0)(X)).name == "tiles"
    assert "of the entries are not 0" in plan(K).reason
    found = solve(K, y, noise=0.1, method="cg")
    exact = K.with_plan("tiles") @ found.x + 0.1 * found.x
    assert (exact - y).norm() <= 1e-6 * y.norm()


def test_a_kernel_without_support_and_a_full_matrix_say_why_not():
    with pytest.raises(ValueError, match="nowhere exactly 0"):
        RBF()(points(50)).with_plan("sparse")
    config.set_memory_budget("100kB")
    with pytest.raises(
        ValueError, match=r"its 40,000 entries take 2.4 MB while it is made, the memory budget is 100 kB"
    ):
        Wendland(100.0)(points(200)).with_plan("sparse")
    with pytest.raises(ValueError, match="not for a batch"):
        Wendland(0.1)(points(50).expand(2, -1, -1)).with_plan("sparse")
