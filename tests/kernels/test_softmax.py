"""The attention kernel."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from mercer.kernels import RBF, Softmax


def test_its_rows_normalised_are_attention():
    Q, K, V = (torch.randn(n, 8, dtype=torch.float64) for n in (30, 20, 20))
    weights = Softmax(lengthscale=8**0.25)(Q, K)
    ours = (weights @ V) / (weights @ torch.ones(20, 1, dtype=torch.float64))
    torch.testing.assert_close(ours, scaled_dot_product_attention(Q, K, V))


def test_normalised_by_its_diagonal_it_is_gaussian():
    X = torch.randn(9, 3, dtype=torch.float64)
    K = Softmax(1.3)(X)
    root = K.diagonal().sqrt()
    torch.testing.assert_close(K.to_dense() / (root[:, None] * root), RBF(1.3)(X).to_dense())


def test_an_overflow_is_refused_before_it_happens():
    X = torch.full((2, 4), 5.0)
    with pytest.raises(ValueError, match=r"the largest dot product is 100 in lengthscales.* overflows torch.float32"):
        Softmax()(X)
    assert bool(torch.isfinite(Softmax()(X.double()).to_dense()).all())
    assert bool(torch.isfinite(Softmax(1.2)(X).to_dense()).all())
    with pytest.raises(ValueError, match="the largest dot product is 100"):
        Softmax([1.0, 1.0, 1.0, 1.0])(X, X.clone())
    # long vectors at right angles overflow nothing
    assert Softmax()(torch.tensor([[20.0, 0.0]]), torch.tensor([[0.0, 20.0]])).to_dense().item() == 1.0
