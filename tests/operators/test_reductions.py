"""Log-sum-exp of kernel matrices against its definition on a dense matrix in float64."""

import math

import pytest
import torch
from scipy import stats

from mercer import kernels
from mercer.errors import ShapeError
from mercer.kernels import RBF, Constant, Hamming, Laplacian, Linear, Matern, Polynomial, RationalQuadratic, White
from mercer.operators.machine import parallel
from mercer.operators.tiles import passes

KERNELS = [
    RBF(lengthscale=0.7),
    RBF(lengthscale=[0.7, 1.0, 2.0]) ** 3,
    Matern(lengthscale=1.3, nu=0.5),
    Matern(lengthscale=1.3, nu=2.5),
    Laplacian(lengthscale=0.6),
    RationalQuadratic(alpha=0.7),
    2.0 * RBF(lengthscale=0.5) * Matern(nu=1.5) + 0.1 * Laplacian() + Constant(0.2),
    RBF() + White(noise=0.3),
    Linear(bias=50.0),  # positive, but not known to be
    Polynomial(degree=2),
]


def matrices(kernel, dtype=torch.float64, n=70, m=53, **options):
    draw = torch.Generator().manual_seed(0)
    X, Y = (torch.randn(size, 3, dtype=torch.float64, generator=draw).to(dtype) for size in (n, m))
    X, Y = X.requires_grad_(True), Y.requires_grad_(True)
    return X, {"two sets": kernel(X, Y), "one set": kernel(X), "a block": kernel(X)[:40, 11:]}


@pytest.fixture(params=["whole", "small tiles"])
def _both_sizes(request, monkeypatch):
    """Once as it is, once with tiles so small that there are many of them, and three workers."""
    if request.param == "small tiles":
        monkeypatch.setattr(passes, "tile_shape", lambda *args: (8, 16))
        monkeypatch.setattr(passes, "SMALL", 0)
        monkeypatch.setattr(parallel, "n_workers", lambda: 3)


@pytest.mark.parametrize("layout", ["two sets", "one set", "a block"])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.usefixtures("_both_sizes")
def test_values_and_gradients_agree_with_the_definition(kernel, layout):
    X, layouts = matrices(kernel)
    K = layouts[layout]
    v = torch.randn(K.shape[-1], 2, dtype=torch.float64, requires_grad=True)
    c = torch.randn(K.shape[0], 2, dtype=torch.float64)
    expected = torch.log(K.to_dense() @ v.exp())
    found = K.logsumexp(v)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    ours, theirs = (torch.autograd.grad((value * c).sum(), (X, v)) for value in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_gradients_in_hyperparameters_by_finite_differences():
    X, Y = torch.randn(3, 2, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)

    def value(lengthscale, scale, v):
        kernel = scale * Matern(lengthscale=lengthscale, nu=1.5) + RBF(lengthscale=0.5)
        return kernel(X, Y).logsumexp(v)

    inputs = [torch.tensor([0.7, 1.1]), torch.tensor(1.7), torch.randn(4)]
    assert torch.autograd.gradcheck(value, tuple(t.double().requires_grad_(True) for t in inputs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_nothing_underflows_far_away(dtype):
    X = torch.tensor([[0.0], [1.0]], dtype=dtype)
    Y = torch.tensor([[256.0], [512.0]], dtype=dtype)
    for kernel, expected in ((RBF(), -32768.0), (2.0 * RBF(), -32767.306853), (RBF() + Matern(nu=0.5), -256.0)):
        found = kernel(X, Y).logsumexp()[0].double()
        assert float(found) == pytest.approx(expected, rel=1e-2 if dtype == torch.bfloat16 else 2e-7)
    assert float((RBF()(X, Y) @ torch.ones(2, dtype=dtype))[0]) < 1e-30  # where the product sees nothing


def test_gradient_is_a_softmax_where_the_kernel_has_underflowed():
    X = torch.zeros(1, 1, dtype=torch.float64)
    Y = torch.tensor([[100.0], [100.001]], dtype=torch.float64)
    v = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    (share,) = torch.autograd.grad(RBF()(X, Y).logsumexp(v).sum(), v)
    torch.testing.assert_close(share, torch.softmax(-0.5 * Y[:, 0] ** 2, 0))


def test_density_agrees_with_scipy():
    X = torch.randn(300, 4, dtype=torch.float64)
    Z = 30.0 * torch.randn(50, 4, dtype=torch.float64)  # scikit-learn's KernelDensity is off by up to 540 here
    peer = stats.gaussian_kde(X.numpy().T, bw_method=0.4)
    root = torch.linalg.inv(torch.linalg.cholesky(torch.from_numpy(peer.covariance)))
    constant = math.log(300.0) + 2.0 * math.log(2.0 * math.pi) - float(root.diagonal().log().sum())
    ours = RBF()(Z @ root.mT, X @ root.mT).logsumexp() - constant
    torch.testing.assert_close(ours, torch.from_numpy(peer.logpdf(Z.numpy().T)), rtol=1e-12, atol=1e-10)


@pytest.mark.usefixtures("_both_sizes")
def test_minus_infinity_leaves_columns_out():
    X, Y = torch.randn(30, 2, dtype=torch.float64), torch.randn(40, 2, dtype=torch.float64)
    v = torch.randn(40, dtype=torch.float64)
    v[:20] = -torch.inf
    torch.testing.assert_close(RBF()(X, Y).logsumexp(v), RBF()(X, Y[20:]).logsumexp(v[20:]))
    nothing = torch.full((40,), -torch.inf, dtype=torch.float64, requires_grad=True)
    result = RBF()(X, Y).logsumexp(nothing)
    assert torch.equal(result, torch.full((30,), -torch.inf, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(result.sum(), nothing)
    assert bool(torch.isfinite(gradient).all())


def test_batches_of_points_hyperparameters_and_weights():
    X, Y = torch.randn(3, 1, 9, 2, dtype=torch.float64), torch.randn(1, 2, 7, 2, dtype=torch.float64)
    K = RBF(lengthscale=0.8)(X, Y)
    v = torch.randn(2, 7, 4, dtype=torch.float64)
    found = K.logsumexp(v)
    assert found.shape == (3, 2, 9, 4)
    torch.testing.assert_close(found, torch.log(K.to_dense() @ v.exp()))
    assert K.logsumexp().shape == (3, 2, 9)
    weights = torch.randn(5, 7, 1, dtype=torch.float64)
    torch.testing.assert_close(
        RBF()(X[0, 0], Y[0, 0]).logsumexp(weights), torch.log(RBF()(X[0, 0], Y[0, 0]).to_dense() @ weights.exp())
    )


def test_categories_and_text_kernels_too():
    X = torch.randint(0, 3, (20, 4)).double()
    K = Hamming()(X)
    torch.testing.assert_close(K.logsumexp(), K.to_dense().sum(1).log())
    parsed = kernels.parse("RBF(lengthscale=0.5)")(X)
    torch.testing.assert_close(parsed.logsumexp(), parsed.to_dense().sum(1).log())


def test_kernel_without_a_logarithm_gives_that_of_the_product():
    X = torch.tensor([[1.0], [-1.0]])
    found = Linear()(X, torch.tensor([[3.0]])).logsumexp()
    assert float(found[0]) == pytest.approx(1.0986123)
    assert bool(found[1].isnan())  # a negative sum has none


def test_weights_of_another_length_are_refused():
    with pytest.raises(ShapeError, match=r"K is 3 x 4, so v needs 4 rows, but has shape \(3,\)"):
        RBF()(torch.zeros(3, 1), torch.zeros(4, 1)).logsumexp(torch.zeros(3))


@pytest.mark.parametrize("layout", ["one set", "a block"])
@pytest.mark.parametrize(
    "kernel", [RBF(lengthscale=0.7), Laplacian(lengthscale=0.6), RBF() + White(noise=0.3)], ids=repr
)
@pytest.mark.usefixtures("_both_sizes")
def test_a_point_can_be_left_out_of_its_own_sum(kernel, layout):
    X, layouts = matrices(kernel)
    K = layouts[layout]
    rows, columns = (
        (torch.arange(70), torch.arange(70)) if layout == "one set" else (torch.arange(40), torch.arange(11, 70))
    )
    own = rows[:, None] == columns
    v = torch.randn(K.shape[-1], 2, dtype=torch.float64, requires_grad=True)
    c = torch.randn(K.shape[0], 2, dtype=torch.float64)
    expected = torch.log(K.to_dense().masked_fill(own, 0.0) @ v.exp())
    found = K.logsumexp(v, exclude_self=True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    ours, theirs = (torch.autograd.grad((value * c).sum(), (X, v)) for value in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_lone_point_keeps_its_digits_without_its_own_entry():
    X = torch.tensor([[0.0], [100.0]], dtype=torch.float64)
    assert RBF()(X).logsumexp(exclude_self=True).tolist() == [-5000.0, -5000.0]
    assert RBF()(X[:1]).logsumexp(exclude_self=True).tolist() == [-math.inf]


def test_leaving_out_needs_one_set_of_points_and_a_logarithm():
    X = torch.randn(4, 1)
    with pytest.raises(ValueError, match="exclude_self needs rows and columns of one set"):
        RBF()(X, X).logsumexp(exclude_self=True)
    with pytest.raises(ValueError, match="needs a kernel with a logarithm"):
        Linear()(X).logsumexp(exclude_self=True)
