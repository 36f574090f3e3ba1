import pickle

import numpy as np
import pytest
import torch

from mercer import config
from mercer.errors import MemoryBudgetError, ShapeError
from mercer.kernels import RBF, Linear, Matern, Polynomial, White
from mercer.operators import KernelOperator, plan
from mercer.operators.planning import format_seconds

PLANS = ["tiles", "dense"]


def points(n, d=3, dtype=torch.float64, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def rbf(X, Y, lengthscale=1.0):
    return torch.exp(-0.5 * ((X[:, None] - Y[None]) / lengthscale).square().sum(-1))


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("t", [None, 1, 3, 17])
def test_product_agrees_with_the_definition(name, t):
    X, Y = points(63), points(100, seed=1)
    v = torch.randn(100, dtype=torch.float64) if t is None else torch.randn(100, t, dtype=torch.float64)
    torch.testing.assert_close(RBF()(X, Y, plan=name) @ v, rbf(X, Y) @ v)


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1e4, 1.0), (0.0, 1e-6), (0.0, 1e6), (1e4, 30.0)])
def test_float32_error_stays_within_round_off_far_off_centre_and_at_any_scale(name, shift, scale):
    X = points(200, dtype=torch.float32) * scale + shift
    v = torch.randn(200, 2, generator=torch.Generator().manual_seed(2))
    exact = rbf(X.double(), X.double())
    error = ((RBF()(X, plan=name) @ v).double() - exact @ v.double()).norm()
    centred = X.double() - X.double().mean(0)
    bound = 4 * torch.finfo(torch.float32).eps * (2 + centred.square().sum(1).max()) * exact.norm() * v.double().norm()
    assert error <= bound


def test_result_does_not_depend_on_threads():
    X, v = points(300, dtype=torch.float32), torch.randn(300, 2)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = RBF()(X, plan="tiles") @ v
        torch.set_num_threads(2)
        two = RBF()(X, plan="tiles") @ v
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


def test_transpose_rows_blocks_and_entries():
    X, Y = points(12), points(9, seed=1)
    K, D = RBF()(X, Y), rbf(X, Y)
    torch.testing.assert_close(K.T.to_dense(), D.T)
    torch.testing.assert_close(K[3], D[3])
    torch.testing.assert_close(K[3, 4], D[3, 4])
    torch.testing.assert_close(K[2:5].to_dense(), D[2:5])
    rows, columns = torch.tensor([4, 4, 0]), torch.tensor([8, 1, 1])
    torch.testing.assert_close(K[rows].to_dense(), D[rows])
    torch.testing.assert_close(K[rows, columns], D[rows, columns])
    torch.testing.assert_close(K[1:3, columns].to_dense(), D[1:3][:, columns])


def test_white_noise_knows_the_points_of_a_block():
    X = points(10)
    K = (RBF() + White(0.5))(X)
    D = rbf(X, X) + 0.5 * torch.eye(10, dtype=torch.float64)
    torch.testing.assert_close(K.to_dense(), D)
    torch.testing.assert_close(K.diagonal(), D.diagonal())
    rows, columns = torch.tensor([3, 7, 3]), torch.tensor([7, 3, 1])
    block = K[rows][:, columns]
    v = torch.randn(3, 2, dtype=torch.float64)
    torch.testing.assert_close(block.to_dense(), D[rows][:, columns])
    torch.testing.assert_close(block @ v, D[rows][:, columns] @ v)
    torch.testing.assert_close(block.T @ v, D[rows][:, columns].T @ v)
    torch.testing.assert_close(K[rows, columns], D[rows, columns])
    torch.testing.assert_close((RBF() + White(0.5))(X, X.clone()).to_dense(), rbf(X, X))


def test_a_symmetric_block_stays_symmetric():
    K = RBF()(points(10))
    assert K[2:6, 2:6].symmetric
    assert not K[2:6, 3:7].symmetric
    assert not K[torch.tensor([1, 1]), :].symmetric


def test_gradients_reach_points_vectors_and_lengthscales_twice():
    X, Y = points(6, 2).requires_grad_(), points(5, 2, seed=1).requires_grad_()
    lengthscale = torch.tensor([0.7, 1.3], dtype=torch.float64, requires_grad=True)
    v = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)

    def product(lengthscale, X, Y, v):
        return (RBF(lengthscale) + 0.5 * Matern(1.1, nu=2.5))(X, Y) @ v

    assert torch.autograd.gradcheck(product, (lengthscale, X, Y, v))
    assert torch.autograd.gradgradcheck(product, (lengthscale, X, Y, v))


def test_gradients_of_the_symmetric_and_the_noisy_matrix():
    X = points(6, 2).requires_grad_()
    lengthscale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    noise = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    v = torch.randn(6, 1, dtype=torch.float64, requires_grad=True)

    def product(lengthscale, noise, X, v):
        return (RBF(lengthscale) * Linear() + White(noise))(X) @ v

    assert torch.autograd.gradcheck(product, (lengthscale, noise, X, v))
    assert torch.autograd.gradgradcheck(product, (lengthscale, noise, X, v))
    assert torch.autograd.gradcheck(lambda length, x: RBF(length)(x).to_dense(), (lengthscale, X))


def test_functional_gradients_and_vmap():
    X, v = points(7), torch.randn(7, 2, dtype=torch.float64)

    def energy(lengthscale):
        return (RBF(lengthscale)(X) @ v).square().sum()

    lengthscale = torch.tensor(0.8, dtype=torch.float64)
    leaf = lengthscale.clone().requires_grad_()
    (first,) = torch.autograd.grad(energy(leaf), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first, leaf)
    torch.testing.assert_close(torch.func.grad(energy)(lengthscale), first.detach())
    torch.testing.assert_close(torch.func.grad(torch.func.grad(energy))(lengthscale), second)
    stack = torch.stack([points(7, seed=s) for s in range(3)])
    got = torch.func.vmap(lambda x: RBF(0.8)(x) @ v)(stack)
    torch.testing.assert_close(got, torch.stack([rbf(x, x, 0.8) @ v for x in stack]))
    slopes = torch.func.vmap(torch.func.grad(lambda x: (RBF(0.8)(x) @ v).square().sum()))(stack)
    leaves = stack.clone().requires_grad_()
    sum((rbf(x, x, 0.8) @ v).square().sum() for x in leaves).backward()
    torch.testing.assert_close(slopes, leaves.grad)


def test_batches_of_points_hyperparameters_and_right_hand_sides():
    X = torch.stack([points(6, seed=s) for s in range(2)])
    lengthscale = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    v = torch.randn(6, 3, dtype=torch.float64)
    expected = torch.stack([rbf(x, x, length) @ v for x, length in zip(X, lengthscale, strict=True)])
    torch.testing.assert_close(RBF(lengthscale)(X) @ v, expected)
    many = torch.randn(4, 6, 3, dtype=torch.float64)
    torch.testing.assert_close(RBF(0.5)(X[0]) @ many, rbf(X[0], X[0], 0.5) @ many)
    torch.testing.assert_close(RBF(lengthscale)(X[0]).shape, torch.Size([2, 6, 6]))


def test_changed_data_is_seen_by_the_next_product():
    X, v = points(50), torch.randn(50, 1, dtype=torch.float64)
    K = RBF()(X)
    before = K @ v
    torch.testing.assert_close(K @ v, before)
    X.mul_(2.0)
    torch.testing.assert_close(K @ v, rbf(X, X) @ v)


def test_dtypes_stay_and_hyperparameters_keep_their_accuracy():
    X = points(20, dtype=torch.float32)
    K = RBF(0.1 + 0.2)(X)
    assert (K @ torch.ones(20)).dtype == torch.float32
    assert K.double().theta[0].dtype == K.float().theta[0].dtype == torch.float64
    assert K.double().float().theta[0].item() == 0.1 + 0.2
    half = RBF()(X.bfloat16())
    assert (half @ torch.ones(20, dtype=torch.bfloat16)).dtype == torch.bfloat16
    expected = rbf(X.bfloat16().double(), X.bfloat16().double()).sum(1)
    torch.testing.assert_close((half @ torch.ones(20, dtype=torch.bfloat16)).double(), expected, rtol=1e-2, atol=1e-2)


def test_operators_survive_pickle():
    K = (2.0 * RBF([0.5, 1.0, 2.0]) + White(0.1))(points(5))
    K @ torch.ones(5, dtype=torch.float64)
    torch.testing.assert_close(pickle.loads(pickle.dumps(K)).to_dense(), K.to_dense())


def test_plan_says_what_why_and_how_much():
    small, large = RBF()(points(50)), RBF()(torch.rand(200_000, 8))
    assert small.plan.name == "dense"
    assert large.plan.name == "tiles"
    assert 0 < small.plan.seconds < 0.1 < large.plan.seconds
    assert large.plan.memory < 64e6
    assert "nothing is stored" in str(large.plan)
    assert plan(large, products=10).seconds == pytest.approx(10 * large.plan.seconds)
    assert plan(large, gradient=True).seconds > 2 * large.plan.seconds
    assert RBF()(1e3 * points(50)).plan.error > small.plan.error
    assert Matern(nu=1.7)(torch.rand(3000, 3)).plan.name == "dense"  # a Bessel function is dearer than a load


@pytest.mark.parametrize(
    ("kernel", "name"),
    [(Matern(nu=2.5), "dense"), (RBF(lengthscale=0.3), "fourier"), (Polynomial(degree=2), "lowrank")],
)
def test_the_first_product_pays_for_what_is_kept(kernel, name):
    K = kernel(torch.rand(20_000, 2)).with_plan(name)
    once, often = plan(K), plan(K, products=100)
    assert 0 < once.setup < once.seconds
    assert often.seconds - once.seconds == pytest.approx(99 * (once.seconds - once.setup))
    assert once.rank(1) == pytest.approx(plan(K, products=10).seconds / 10)  # as if it were multiplied ten times
    assert often.rank(100) == often.seconds


def test_an_operator_says_what_it_is():
    K = RBF(lengthscale=0.5)(torch.zeros(2, 3, 1))
    assert repr(K) == "KernelOperator(RBF(lengthscale=0.5), 3 x 3, batch (2,), torch.float32)"
    assert str(K + K) == "SumOperator(3 x 3, batch (2,), torch.float32)"


def test_durations_read_well():
    durations = [format_seconds(s) for s in (2e-5, 0.0345, 61.0, 300.0, 9000.0, 4.2e6)]
    assert durations == ["20 us", "34.5 ms", "61 s", "5 min", "2.5 h", "49 days"]


def test_a_plan_can_be_forced_and_freed():
    K = RBF()(points(50)).with_plan("tiles")
    assert K.plan.name == "tiles"
    assert K.plan.reason.startswith("asked for")
    assert K.with_plan(None).plan.name == "dense"
    with pytest.raises(ValueError, match=r"no plan 'magic'.*dense, tiles"):
        RBF()(points(5), plan="magic")
    config.set_memory_budget("1MB")
    with pytest.raises(ValueError, match=r"plan='dense' does not apply.*Use plan='tiles'"):
        RBF()(points(1000), plan="dense")


def test_a_product_that_would_not_fit_in_memory_still_works_and_a_copy_is_refused_first():
    config.set_memory_budget("1MB")
    K = RBF()(points(2000, dtype=torch.float32))
    assert (K @ torch.ones(2000)).shape == (2000,)
    with pytest.raises(MemoryBudgetError, match=r"K\.to_dense\(\) of 2000 x 2000 needs .*Use K @ v"):
        K.to_dense()


def test_wrong_shapes_and_types_are_refused_with_advice():
    K = RBF()(points(4), points(6, seed=1))
    with pytest.raises(ShapeError, match=r"K is 4 x 6, so v needs 6 rows.*Did you mean K\.T @ v"):
        K @ torch.ones(4, dtype=torch.float64)
    with pytest.raises(TypeError, match=r"K is torch\.float64, v is torch\.float32"):
        K @ torch.ones(6)
    with pytest.raises(ShapeError, match=r"solve needs a square matrix, but K is 4 x 6"):
        K.solve(torch.ones(4, dtype=torch.float64))
    with pytest.raises(ShapeError, match="X has 3 columns and Y has 2"):
        RBF()(points(4), points(4, 2))
    with pytest.raises(ShapeError, match=r"reshape\(-1, 1\)"):
        RBF()(np.zeros(4))
    with pytest.raises(ShapeError, match=r"lengthscale has 2 entries, but the kernel sees 3 columns"):
        RBF([1.0, 2.0])(points(4))
    with pytest.raises(ShapeError, match=r"only batch dimensions"):
        K.repeat(1, 2, 1)


@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (1, 1), (0, 0)])
def test_empty_and_single_points(n, m):
    K = RBF()(points(n), points(m))
    assert (K @ torch.ones(m, 2, dtype=torch.float64)).shape == (n, 2)
    assert K.to_dense().shape == (n, m)


def test_memory_beyond_the_data_stays_small(monkeypatch):
    import resource

    X, v = torch.randn(20_000, 3), torch.randn(20_000, 1)
    K = RBF()(X, plan="tiles")
    K[:100] @ v
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    K @ v
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert extra <= 64e6 + 10 * 20_000 * 4 * 4  # target P2


def test_sums_multiples_and_elementwise_products_stay_lazy_and_exact():
    X = points(8)
    A, B = RBF()(X), Matern(nu=1.5)(X)
    a, b = A.to_dense(), B.to_dense()
    v = torch.randn(8, 2, dtype=torch.float64)
    assert isinstance(3.0 * A, KernelOperator)
    for lazy, dense in (
        (A + B, a + b),
        (A - B, a - b),
        (A * B, a * b),
        (A * B * 2.0, 2.0 * a * b),
        (A + torch.eye(8, dtype=torch.float64), a + torch.eye(8, dtype=torch.float64)),
        (A + 1.0, a + 1.0),
        ((A + B).add_diagonal(torch.arange(8.0, dtype=torch.float64)), a + b + torch.diag(torch.arange(8.0)).double()),
        ((A + B)[2:5, 1:7], (a + b)[2:5, 1:7]),
        ((A * B).T[1:4], (a * b).T[1:4]),
    ):
        torch.testing.assert_close(lazy.to_dense(), dense)
        torch.testing.assert_close(lazy @ v[: lazy.shape[-1]], dense @ v[: dense.shape[-1]])
        if lazy.is_square:
            torch.testing.assert_close(lazy.diagonal(), dense.diagonal())
