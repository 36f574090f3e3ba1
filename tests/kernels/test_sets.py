"""Kernels of sets of points."""

import numpy as np
import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import RBF, Hamming, Linear, Matern, SetKernel, White, pack, parse

DOUBLE = torch.float64


def bags(sizes, width=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, width, generator=generator, dtype=DOUBLE) for n in sizes]


def mean_of_pairs(kernel, A, B):
    return torch.stack([torch.stack([kernel(a, b).to_dense().mean() for b in B]) for a in A])


@pytest.mark.parametrize(
    "kernel", [RBF([0.7, 1.9]), Matern(1.3, nu=0.5), Linear() + 0.3, 2.0 * RBF().on([1]) * Linear(bias=1.0)], ids=repr
)
def test_entries_are_means_over_all_pairs(kernel):
    A, B = bags([1, 4, 2, 3]), bags([2, 1, 4], seed=1)
    X, Y = pack(A), pack(B)
    outer = SetKernel(kernel, width=2)
    expected = mean_of_pairs(kernel, A, B)
    torch.testing.assert_close(outer(X, Y).to_dense(), expected)
    torch.testing.assert_close(outer(X, Y, plan="tiles") @ torch.eye(3, dtype=DOUBLE), expected)
    torch.testing.assert_close(outer(X).diagonal(), mean_of_pairs(kernel, A, A).diagonal())
    assert parse(repr(outer)) == outer


def test_padding_changes_nothing():
    A = bags([2, 3])
    kernel = SetKernel(RBF(), width=2)
    torch.testing.assert_close(kernel(pack(A, room=7)).to_dense(), kernel(pack(A)).to_dense())


def test_sets_of_categories():
    A = [torch.tensor([0.0, 1.0, 1.0]), torch.tensor([2.0])]
    K = SetKernel(Hamming(0.5))(pack(A)).to_dense()
    e = np.exp(-2.0)
    torch.testing.assert_close(K, torch.tensor([[(5 + 4 * e) / 9, e], [e, 1.0]]).float())


def test_an_empty_set_is_like_nothing():
    K = SetKernel(RBF(), width=2)(pack([*bags([2]), torch.empty(0, 2, dtype=DOUBLE)])).to_dense()
    assert K[0, 0] > 0.0
    assert torch.equal(K[1], torch.zeros(2, dtype=DOUBLE))


def test_a_table_of_points_is_packed_by_group():
    points = torch.arange(8.0).reshape(4, 2)
    rows = pack(points, groups=np.array([2, 1, 2, 2]))
    expected = torch.tensor([[1.0, 2, 3, 0, 0, 0, 0], [3.0, 0, 1, 4, 5, 6, 7]])
    assert torch.equal(rows, expected)
    assert pack([]).shape == (0, 1)
    assert pack([[1.0]], room=3).tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_points_and_hyperparameters_have_gradients():
    X, Y = pack(bags([2, 3, 1])), pack(bags([1, 2], seed=1), room=3)
    theta = torch.tensor(0.8, dtype=DOUBLE, requires_grad=True)
    columns = X[:, 1:].clone().requires_grad_(True)

    def product(theta, columns):
        packed = torch.cat([X[:, :1], columns], 1)
        return SetKernel(RBF(theta), width=2)(packed, Y, plan="tiles") @ torch.ones(2, dtype=DOUBLE)

    assert torch.autograd.gradcheck(product, (theta, columns))
    assert torch.autograd.gradgradcheck(product, (theta, columns), atol=1e-6)


def test_what_is_no_set_is_refused():
    kernel = SetKernel(RBF(), width=2)
    with pytest.raises(ShapeError, match=r"a row has 4 columns, which is not 1 and a multiple of 2"):
        kernel(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="begins with the number of its points, 0 to 2, but one begins with 3"):
        kernel(torch.tensor([[3.0, 0, 0, 0, 0]]))
    with pytest.raises(ValueError, match=r"but one begins with 0.5"):
        kernel(torch.tensor([[0.5, 0, 0, 0, 0]]))
    with pytest.raises(ValueError, match="white noise inside a set has no meaning"):
        SetKernel(RBF() + White(), width=2)(pack(bags([2])))
    with pytest.raises(ValueError, match="points have 1 column or more"):
        SetKernel(RBF(), width=0)
    with pytest.raises(ShapeError, match="equally many columns, not of \\[1, 2\\] columns"):
        pack([torch.zeros(2, 1), torch.zeros(2, 2)])
    with pytest.raises(ShapeError, match=r"a set has 3 points. Give room=3 or more"):
        pack([[1.0, 2.0, 3.0]], room=2)
    with pytest.raises(ShapeError, match="there are 3 points, but 2 groups"):
        pack(torch.zeros(3, 1), groups=[0, 1])
