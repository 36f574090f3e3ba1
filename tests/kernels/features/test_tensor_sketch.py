"""TensorSketch: scikit-learn's with the same hashes, unbiased, of known variance at degree 1."""

import math

import numpy as np
import pytest
import torch
from sklearn.kernel_approximation import PolynomialCountSketch

from mercer.kernels import Polynomial
from mercer.kernels.features import TensorSketch

X = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def estimates(kernel, n_features, seeds):
    features = torch.stack([TensorSketch(kernel, n_features, d=5, random_state=s)(X) for s in seeds])
    return features @ features.mT


@pytest.mark.parametrize(("degree", "offset"), [(1, 0.0), (2, 0.7), (3, 1.0), (5, 0.0)])
def test_the_features_are_those_of_scikit_learn_with_the_same_hashes(degree, offset):
    theirs = PolynomialCountSketch(degree=degree, gamma=0.25, coef0=offset, n_components=17, random_state=0).fit(
        X.numpy()
    )
    ours = TensorSketch(Polynomial(degree, offset, 2.0), 17, d=5)
    extra = np.zeros((degree, 1), dtype=int)  # theirs has no column for an offset of 0
    entries, signs = theirs.indexHash_, theirs.bitHash_
    if offset == 0.0:
        entries, signs = np.hstack([entries, extra]), np.hstack([signs, extra + 1])
    ours._entries, ours._signs = torch.from_numpy(entries.astype(np.int64)), torch.from_numpy(signs.astype(np.float64))
    np.testing.assert_allclose(ours(X).numpy(), theirs.transform(X.numpy()), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kernel", [Polynomial(1, 0.5), Polynomial(2, 1.0, 1.5), Polynomial(4, 0.3, 2.0)], ids=repr)
def test_the_estimate_is_unbiased(kernel):
    found = estimates(kernel, 32, range(200))
    error = found.std(0) / math.sqrt(len(found))
    assert float(((found.mean(0) - kernel(X).to_dense()).abs() - 4.0 * error).max()) < 1e-10


def test_the_variance_at_degree_1_is_that_of_the_formula():
    seeds, r = 400, 16
    found = estimates(Polynomial(1, 0.0), r, range(seeds))
    squares = X.square().sum(1)
    expected = (squares[:, None] * squares + (X @ X.mT) ** 2 - 2.0 * X.square() @ X.square().mT) / r
    ratio = ((found - X @ X.mT) ** 2).mean(0) / expected
    assert float((ratio - 1.0).abs().max()) < 6.0 * math.sqrt(2.0 / seeds)


def test_the_error_falls_with_the_number_of_features():
    kernel = Polynomial(3, 0.5, 2.0)
    errors = [float((estimates(kernel, r, range(60)) - kernel(X).to_dense()).square().mean()) for r in (64, 1024)]
    assert errors[1] == pytest.approx(errors[0] / 16.0, rel=0.5)
