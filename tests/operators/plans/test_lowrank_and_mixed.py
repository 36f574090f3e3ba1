import pytest
import torch

from mercer.kernels import RBF, Linear, Matern, Polynomial, White
from mercer.operators import plan, solve
from mercer.operators.structure.monomials import monomials, n_monomials

LOW_RANK = [
    Linear(),
    Linear(bias=0.3),
    3.0 * Linear([1.0, 2.0, 0.5]),
    Linear().on([0, 2]) + 0.5 * Linear(),
    Polynomial(degree=2),
    0.5 * Polynomial(degree=3, offset=0.0, lengthscale=[1.0, 2.0, 0.5]) + Linear(bias=0.3),
    Linear(bias=0.2) ** 4,
]
MIXED = [RBF(1.3) + 0.1 * Linear(bias=0.5), 2.0 * Matern() + Linear() + White(0.2)]


def points(n, d=3, dtype=torch.float64, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize(
    ("kernel", "name"), [(k, "lowrank") for k in LOW_RANK] + [(k, "mixed") for k in MIXED], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("t", [1, 3])
def test_product_agrees_with_the_entries(kernel, name, dtype, t):
    X, Y = points(129, dtype=dtype), points(63, dtype=dtype, seed=1)
    for K, m in ((kernel(X), 129), (kernel(X, Y), 63)):
        v = points(m, t, dtype=dtype, seed=2)
        exact = K.double().to_dense()
        error = ((K.with_plan(name) @ v).double() - exact @ v.double()).norm()
        # N1, with the dot products' own size in place of the squared distance
        bound = 4 * torch.finfo(dtype).eps * (2 + X.double().square().sum(1).max()) * exact.norm() * v.double().norm()
        assert error <= bound


@pytest.mark.parametrize(
    ("kernel", "name"),
    [(LOW_RANK[2], "lowrank"), (2.0 * Polynomial(degree=3, offset=0.7), "lowrank"), (MIXED[0], "mixed")],
    ids=str,
)
def test_gradients_agree_with_those_of_tiles(kernel, name):
    found = []
    for plan_name in (name, "tiles"):
        X, v = points(40).requires_grad_(), points(40, 2, seed=1).requires_grad_()
        K = kernel(X).with_plan(plan_name)
        theta = [t.clone().requires_grad_() for t in K.theta]
        out = K._like(X, *theta) @ v
        found.append(torch.autograd.grad(out.square().sum(), [X, v, *theta]))
    for ours, tiles in zip(*found, strict=True):
        torch.testing.assert_close(ours, tiles)


def test_a_batch_of_low_rank_matrices_is_one_product():
    X, v = points(2 * 40).reshape(2, 40, 3), points(2 * 40, 2, seed=1).reshape(2, 40, 2)
    K = Linear(bias=0.3)(X, plan="lowrank")
    torch.testing.assert_close(K @ v, K.to_dense() @ v)


def test_a_large_sum_is_planned_term_by_term():
    K = (RBF() + 0.1 * Linear())(torch.rand(3000, 3))
    assert plan(K).name == "mixed"
    assert plan(K).reason.endswith("and terms 2, 3 by lowrank")
    assert plan(K[:10, :10]).name != "mixed"


@pytest.mark.parametrize(
    ("kernel", "name", "reason"),
    [
        (RBF(), "lowrank", "no polynomial of a dot product"),
        (Linear().on([0]) * Linear().on([1]), "lowrank", "no polynomial of a dot product"),
        (RBF(), "mixed", "one term"),
        (Linear(bias=0.5), "mixed", "fastest by plan='lowrank'"),
    ],
)
def test_a_plan_that_does_not_apply_says_why(kernel, name, reason):
    with pytest.raises(ValueError, match=reason):
        kernel(points(100)).with_plan(name)


@pytest.mark.parametrize("degree", [2, 3, 5])
def test_a_polynomial_of_many_rows_is_solved_in_the_space_of_its_monomials(degree):
    X, y = points(3000, 3), points(3000, 1, seed=1)[:, 0]
    K = Polynomial(degree=degree, offset=0.5)(X)
    assert plan(K).name == "lowrank"
    found = solve(K, y, noise=0.1)
    assert found.method == "weights"
    M = K.with_plan("tiles").to_dense() + 0.1 * torch.eye(3000, dtype=torch.float64)
    assert (M @ found.x - y).norm() <= 1e-6 * y.norm()
    torch.testing.assert_close(K.logdet(0.1), torch.logdet(M))


@pytest.mark.parametrize(("width", "degree"), [(1, 5), (2, 0), (3, 1), (4, 3), (3, 6)])
def test_a_power_of_a_dot_product_is_a_dot_product_of_monomials(width, degree):
    X, Y = points(7, width), points(5, width, seed=1)
    A, B = monomials(X.mT, degree).mT, monomials(Y.mT, degree).mT
    assert A.shape == (7, n_monomials(width, degree))
    torch.testing.assert_close(A @ B.mT, (X @ Y.mT) ** degree)


def test_wide_features_are_made_a_few_rows_at_a_time(monkeypatch):
    from mercer.operators.plans import lowrank

    K = Polynomial(degree=3)(torch.randn(100_000, 16))
    assert plan(K).name == "lowrank"
    assert plan(K).memory < 64 * 10**6
    monkeypatch.setattr(lowrank, "LITTLE", 0)
    monkeypatch.setattr(lowrank, "CHUNK", 100)
    kernel = 2.0 * Polynomial(degree=3, offset=0.7)
    found = []
    for name in ("lowrank", "tiles"):
        X, v = points(40).requires_grad_(), points(40, 2, seed=1).requires_grad_()
        K = kernel(X).with_plan(name)
        theta = [t.clone().requires_grad_() for t in K.theta]
        out = K._like(X, *theta) @ v
        (gradient,) = torch.autograd.grad(out.square().sum(), X, create_graph=True)
        found.append([out, gradient, *torch.autograd.grad(gradient.square().sum(), [X, v, *theta])])
    for ours, tiles in zip(*found, strict=True):
        torch.testing.assert_close(ours, tiles)


def test_a_low_rank_plan_is_refused_where_it_would_cost_more_than_the_entries():
    with pytest.raises(ValueError, match="its rank 31 is not below"):
        Linear()(points(20, 30)).with_plan("lowrank")


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -1e-3])
def test_a_tolerance_is_a_relative_error(tolerance):
    with pytest.raises(ValueError, match="between 0 and 1"):
        RBF()(points(10)).with_plan(None, tolerance=tolerance)


def test_a_mixed_matrix_is_solved_to_its_true_residual():
    K = MIXED[0](points(300, dtype=torch.float32)).with_plan("mixed")
    y = points(300, 1)[:, 0]
    found = solve(K, y, noise=0.1)
    M = K.double().with_plan("tiles").to_dense() + 0.1 * torch.eye(300, dtype=torch.float64)
    assert (M @ found.x - y).norm() <= 1e-6 * y.norm()


def test_terms_keep_their_side():
    K = (RBF(1.3) + RBF(0.7)).derivative([1, 0, 0], [0, 0, 0])(points(20))
    part = K.of_terms((0,))
    torch.testing.assert_close(part.mT @ torch.ones(20, dtype=torch.float64), part.to_dense().sum(0))
