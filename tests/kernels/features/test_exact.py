import pytest
import torch

from mercer.kernels import RBF, Constant, Linear, Polynomial, White
from mercer.kernels.features.exact import exact_features

X = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("kernel", "count"),
    [
        (Linear(), 3),
        (Linear(lengthscale=[1.0, 2.0, 3.0], bias=0.5), 4),
        (Polynomial(degree=3, offset=1.5, lengthscale=0.7), 20),
        (Polynomial(degree=2, offset=0.0), 6),
        (Constant(2.0), 1),
        (3.0 * Linear() + Constant(0.5), 4),
        (Linear() * Linear(bias=1.0), 12),
        (Linear(bias=1.0) ** 3, 20),
        (Linear().on([2, 0]) + Linear(bias=0.1).on(1), 4),
    ],
    ids=repr,
)
def test_inner_products_of_the_features_are_the_kernel(kernel, count):
    features = exact_features(kernel, 3, limit=50)
    assert features.count == count == features(X).shape[1]
    torch.testing.assert_close(features(X) @ features(X).mT, kernel(X, X.clone()).to_dense(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "kernel", [RBF(), White(), RBF() + Linear(), RBF() * Linear(), 2.0 * RBF(), RBF().on(0)], ids=repr
)
def test_kernels_of_infinite_rank_have_none(kernel):
    assert exact_features(kernel, 3, limit=50) is None


def test_more_than_the_limit_is_none():
    assert exact_features(Polynomial(degree=9), 30, limit=1000) is None
    assert exact_features(Linear(), 30, limit=10) is None
