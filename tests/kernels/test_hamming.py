"""Categories: by indicators while they are few, by comparison when they are many."""

import numpy as np
import pytest
import torch

from mercer.kernels import RBF, Hamming
from mercer.kernels.hamming import ONE_HOT_LIMIT
from mercer.operators.statistics import Mismatch, SquaredDistance

DOUBLE = torch.float64


def mismatches(X, Y, lengthscale):
    return np.exp(-((X.numpy()[:, None] != Y.numpy()[None]) / lengthscale).sum(-1))


def many(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(0, k, (n,), generator=generator) for k in (2, 5, 900)], -1).to(DOUBLE)


def test_few_categories_use_indicators_and_many_are_compared():
    few = Hamming()(torch.arange(float(ONE_HOT_LIMIT)).reshape(-1, 1))
    more = Hamming()(torch.arange(ONE_HOT_LIMIT + 1.0).reshape(-1, 1))
    assert isinstance(few.spec.statistics[0], SquaredDistance)
    assert isinstance(more.spec.statistics[0], Mismatch)
    for K in (few, more):
        n = K.shape[0]
        torch.testing.assert_close(K.to_dense(), torch.eye(n) + (1 - torch.eye(n)) * np.exp(-1.0), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("lengthscale", [1.7, [0.5, 2.0, 1.1]])
@pytest.mark.parametrize("plan", ["dense", "tiles"])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_many_categories_agree_with_the_definition(lengthscale, plan, dtype):
    X, Y = many(400), many(150, seed=1)
    v = torch.randn(150, 3, dtype=DOUBLE)
    kernel = Hamming(lengthscale)
    K = kernel(X.to(dtype), Y.to(dtype), plan=plan)
    assert isinstance(K.spec.statistics[0], Mismatch)
    expected = mismatches(X, Y, np.asarray(lengthscale)) @ v.numpy()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    np.testing.assert_allclose((K @ v.to(dtype)).numpy(), expected, rtol=tolerance, atol=tolerance * 10)
    square = kernel(X.to(dtype))
    np.testing.assert_allclose(square.to_dense().numpy(), mismatches(X, X, np.asarray(lengthscale)), rtol=tolerance)
    assert torch.equal(square.diagonal(), torch.ones(400, dtype=dtype))


@pytest.mark.parametrize("scalar", [True, False])
def test_lengthscales_of_many_categories_have_gradients(scalar):
    X, Y = many(330)[:, [2, 0]], many(3, seed=1)[:, [2, 0]]
    theta = torch.tensor(1.3 if scalar else [1.3, 0.6], dtype=DOUBLE, requires_grad=True)
    v = torch.randn(3, dtype=DOUBLE, requires_grad=True)
    rows = slice(0, 6)

    def product(theta, v):
        return (Hamming(theta)(X, Y) @ v)[rows]

    assert isinstance(Hamming(theta)(X, Y).spec.statistics[0], Mismatch)
    assert torch.autograd.gradcheck(product, (theta, v))
    assert torch.autograd.gradgradcheck(product, (theta, v))


def test_a_batch_of_lengthscales_works_for_many_categories():
    X = many(320)
    K = Hamming(torch.tensor([[1.0], [2.0]]))(X)
    assert K.shape == (2, 320, 320)
    np.testing.assert_allclose(K[1].to_dense().numpy(), mismatches(X, X, 2.0), rtol=1e-13)


def test_codes_mean_nothing_but_themselves():
    X = torch.randint(0, 4, (20, 2)).to(DOUBLE)
    renamed = torch.tensor([7.0, -3.5, 1e6, 0.25], dtype=DOUBLE)[X.long()]
    torch.testing.assert_close(Hamming([1.0, 2.0])(renamed).to_dense(), Hamming([1.0, 2.0])(X).to_dense())


def test_categories_that_only_one_side_has_are_different():
    K = Hamming()(torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [1.0]])).to_dense()
    torch.testing.assert_close(K, torch.tensor([[np.exp(-1.0), np.exp(-1.0)], [np.exp(-1.0), 1.0]]).float())


def test_blocks_of_a_matrix_of_categories_keep_their_categories():
    X = torch.randint(0, 4, (9, 2)).to(DOUBLE)
    K = (Hamming() * RBF().on([0]))(X)
    torch.testing.assert_close(K[2:5, [0, 8]].to_dense(), K.to_dense()[2:5][:, [0, 8]])


def test_too_many_lengthscales_are_refused():
    with pytest.raises(ValueError, match="lengthscale has 3 entries, but the kernel sees 2 columns"):
        Hamming([1.0, 2.0, 3.0])(torch.zeros(2, 2))
