"""Largest and smallest entries of kernel matrices against a stable sort of the dense matrix."""

import pytest
import torch

from mercer import config
from mercer.errors import MemoryBudgetError
from mercer.kernels import RBF, Hamming, Linear, Matern, White
from mercer.operators import extremes
from mercer.operators.machine import parallel
from mercer.operators.tiles import passes

KERNELS = [RBF(lengthscale=0.7), Matern(nu=1.5), RBF() + White(noise=0.3), Linear(bias=0.5), 3.0 * Hamming()]


@pytest.fixture(params=["whole", "small tiles"])
def _both_sizes(request, monkeypatch):
    """Once as it is, once with tiles so small that there are many of them, and three workers."""
    if request.param == "small tiles":
        monkeypatch.setattr(passes, "tile_shape", lambda *args: (8, 16))
        monkeypatch.setattr(passes, "SMALL", 0)
        monkeypatch.setattr(extremes, "_PAIRS", 50)
        monkeypatch.setattr(parallel, "n_workers", lambda: 3)


def expected(K, k, dim, largest):
    order = K.to_dense().sort(dim=dim, descending=largest, stable=True)
    return order.values.narrow(dim, 0, k), order.indices.narrow(dim, 0, k)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dim", [-1, -2])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.usefixtures("_both_sizes")
def test_topk_agrees_with_a_sort_of_the_dense_matrix(kernel, dim, largest):
    X, Y = torch.randn(60, 3, dtype=torch.float64), torch.randn(83, 3, dtype=torch.float64)
    for K in (kernel(X, Y), kernel(X), kernel(X)[:40, 11:]):
        for k in (5, min(K.shape)):
            values, indices = expected(K, k, dim, largest)
            found = K.topk(k, dim, largest=largest)
            torch.testing.assert_close(found.values, values, rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(K.to_dense().gather(dim, found.indices), values, rtol=1e-12, atol=1e-14)
            if "Hamming" not in repr(kernel):  # where all that differ are equal, there are ties
                assert torch.equal(found.indices, indices)


@pytest.mark.usefixtures("_both_sizes")
def test_among_equal_entries_the_lower_index_comes_first():
    # Whole numbers of mean 0, so that equal distances are equal to the last bit in every tile.
    X = torch.tensor([-8.0, -1.0, 0.0, 2.0, 7.0], dtype=torch.float64).repeat(9).unsqueeze(1)
    exact = (X - X.mT).abs().sort(dim=1, stable=True)
    found = RBF()(X).topk(12)
    assert torch.equal(found.indices, exact.indices[:, :12])
    assert torch.equal(RBF()(X).max().indices, torch.arange(5).repeat(9))
    torch.testing.assert_close(found.values, torch.exp(-0.5 * exact.values[:, :12] ** 2))


@pytest.mark.usefixtures("_both_sizes")
def test_neighbours_are_right_where_every_kernel_value_is_zero():
    X = torch.randn(50, 3, dtype=torch.float64)
    kernel = RBF(lengthscale=1e-3)
    assert float(kernel(X).to_dense().fill_diagonal_(0.0).max()) < 1e-30
    nearest = torch.cdist(X, X).fill_diagonal_(torch.inf).topk(4, largest=False).indices
    assert torch.equal(kernel(X).topk(4, exclude_self=True).indices, nearest)
    assert torch.equal(kernel(X, X.clone()).topk(5).indices[:, 1:], nearest)


@pytest.mark.usefixtures("_both_sizes")
def test_exclude_self_of_a_block_leaves_its_common_points_out():
    X = torch.randn(40, 3, dtype=torch.float64)
    rows, columns = torch.tensor([5, 17, 3, 5]), torch.tensor([3, 8, 5, 30, 17])
    K = RBF()(X)[rows, :][:, columns]
    dense = K.to_dense().masked_fill(rows[:, None] == columns[None, :], -1.0)
    assert torch.equal(K.topk(3, exclude_self=True).indices, dense.topk(3).indices)


def test_max_and_min_drop_the_dimension():
    X, Y = torch.randn(7, 2, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    K = Linear()(X, Y)
    for dim in (-1, -2, 0, 1):
        for ours, theirs in ((K.max(dim), K.to_dense().max(dim)), (K.min(dim), K.to_dense().min(dim))):
            torch.testing.assert_close(ours.values, theirs.values)
            assert torch.equal(ours.indices, theirs.indices)


def test_values_are_differentiable():
    X = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    Y = torch.randn(11, 2, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(1.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda X, Y, scale: RBF(lengthscale=scale)(X, Y).topk(3).values, (X, Y, scale))


def test_batches():
    X, Y = torch.randn(3, 1, 9, 2, dtype=torch.float64), torch.randn(1, 2, 7, 2, dtype=torch.float64)
    K = RBF()(X, Y)
    found = K.topk(3)
    assert torch.equal(found.indices, K.to_dense().topk(3).indices)
    assert K.max().values.shape == (3, 2, 9)


def test_float32_agrees_with_float64_of_the_same_points():
    X = torch.randn(200, 3) + 1e4  # a common shift must not matter
    found = RBF()(X).topk(4, exclude_self=True)
    exact = RBF()(X.double()).topk(4, exclude_self=True)
    torch.testing.assert_close(found.values.double(), exact.values, rtol=1e-5, atol=0)
    assert float((found.indices == exact.indices).double().mean()) > 0.99


def test_arguments_out_of_range_are_refused():
    K = RBF()(torch.zeros(3, 1), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="k must be 1 to 4, not 5"):
        K.topk(5)
    with pytest.raises(ValueError, match="k must be 1 to 2, not 3"):
        RBF()(torch.zeros(3, 1)).topk(3, exclude_self=True)
    with pytest.raises(ValueError, match="dim must be -1"):
        K.topk(1, 2)
    with pytest.raises(ValueError, match="exclude_self needs rows and columns of one set"):
        K.topk(1, exclude_self=True)
    config.set_memory_budget(100)
    with pytest.raises(MemoryBudgetError, match=r"K.topk\(3\) of 3 x 4"):
        K.topk(3)
