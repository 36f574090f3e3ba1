"""Mean embeddings against sums over pairs."""

import numpy as np
import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import RBF, Linear, MeanEmbedding, White


def samples(n=40, m=31, d=3):
    return torch.randn(n, d, dtype=torch.float64), torch.randn(m, d, dtype=torch.float64) + 0.5


KERNEL = RBF(lengthscale=0.8) + 0.2 * Linear()


def test_values_are_weighted_means_of_the_kernel():
    X, Z = samples()
    w = torch.randn(40, dtype=torch.float64)
    K = KERNEL(Z, X).to_dense()
    torch.testing.assert_close(KERNEL.mean_embedding(X)(Z), K.mean(1))
    torch.testing.assert_close(KERNEL.mean_embedding(X, w)(Z), K @ w)


def test_inner_products_norms_and_distances_are_sums_over_pairs():
    X, Y = samples()
    w, u = torch.rand(40, dtype=torch.float64), torch.rand(31, dtype=torch.float64)
    left, right = KERNEL.mean_embedding(X, w), KERNEL.mean_embedding(Y, u)
    A, B, C = (KERNEL(P, Q).to_dense() for P, Q in ((X, X), (X, Y), (Y, Y)))
    torch.testing.assert_close(left.inner(right), w @ B @ u)
    torch.testing.assert_close(left.norm(), (w @ A @ w).sqrt())
    expected = w @ A @ w - 2.0 * w @ B @ u + u @ C @ u
    torch.testing.assert_close(left.squared_distance(right), expected)
    torch.testing.assert_close(left.distance(right), expected.sqrt())


def test_unbiased_distance_leaves_own_pairs_out():
    X, Y = samples()
    A, B, C = (KERNEL(P, Q).to_dense() for P, Q in ((X, X), (X, Y), (Y, Y)))
    n, m = len(X), len(Y)
    expected = (A.sum() - A.trace()) / (n * (n - 1)) + (C.sum() - C.trace()) / (m * (m - 1)) - 2.0 * B.mean()
    left, right = KERNEL.mean_embedding(X), KERNEL.mean_embedding(Y)
    torch.testing.assert_close(left.squared_distance(right, unbiased=True), expected)
    # A point without weight is not there.
    w = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    two = RBF().mean_embedding(X[:3], w).squared_distance(RBF().mean_embedding(Y), unbiased=True)
    torch.testing.assert_close(
        two, RBF().mean_embedding(X[:2]).squared_distance(RBF().mean_embedding(Y), unbiased=True)
    )


def test_unbiased_distance_of_one_distribution_is_zero_on_average():
    draws = torch.stack(
        [
            RBF().mean_embedding(X[:20]).squared_distance(RBF().mean_embedding(X[20:]), unbiased=True)
            for X in torch.randn(60, 40, 2, dtype=torch.float64)
        ]
    )
    biased = torch.stack(
        [
            RBF().mean_embedding(X[:20]).squared_distance(RBF().mean_embedding(X[20:]))
            for X in torch.randn(10, 40, 2, dtype=torch.float64)
        ]
    )
    assert float(draws.min()) < 0.0 < float(biased.min())
    assert abs(float(draws.mean())) < 4.0 * float(draws.std()) / 60.0**0.5


def test_everything_is_differentiable():
    X, Y = (t[:3].requires_grad_(True) for t in samples(d=1))
    w = torch.rand(3, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)

    def value(X, Y, w, scale):
        left, right = RBF(lengthscale=scale).mean_embedding(X, w), RBF(lengthscale=scale).mean_embedding(Y)
        unbiased = left.squared_distance(right, unbiased=True)
        return torch.stack([left.inner(right), left.norm(), left.distance(right), unbiased])

    assert torch.autograd.gradcheck(value, (X, Y, w, scale))


def test_distance_to_itself_is_zero_with_gradient_zero():
    X = samples()[0].requires_grad_(True)
    left = RBF().mean_embedding(X)
    distance = left.distance(RBF().mean_embedding(X))
    assert float(distance.detach()) < 1e-7
    (gradient,) = torch.autograd.grad(distance, X)
    assert bool(torch.isfinite(gradient).all())


def test_noise_counts_within_a_sample_only():
    X, _ = samples()
    noisy, plain = RBF() + White(noise=0.5), RBF()
    assert float(noisy.mean_embedding(X).inner(noisy.mean_embedding(X))) == pytest.approx(
        float(plain.mean_embedding(X).inner(plain.mean_embedding(X)))
    )
    own = noisy.mean_embedding(X)
    assert float(own.inner(own)) == pytest.approx(float(plain.mean_embedding(X).norm() ** 2) + 0.5 / 40)


def test_arrays_and_tables_come_and_go():
    pandas = pytest.importorskip("pandas")
    X, Z = (t.numpy() for t in samples())
    embedding = RBF().mean_embedding(X)
    assert isinstance(embedding(Z), np.ndarray)
    frame, other = (pandas.DataFrame(a, columns=["a", "b", "c"]) for a in (X, Z))
    by_name = RBF().on(["a", "c"]).mean_embedding(frame)
    np.testing.assert_allclose(by_name(other), RBF().on([0, 2]).mean_embedding(X)(Z))
    with pytest.raises(ValueError, match="the columns of Z are"):
        by_name(other.rename(columns={"a": "z"}))
    assert repr(embedding) == "MeanEmbedding(RBF(lengthscale=1.0), n=40)"


def test_mistakes_are_named():
    X, Y = samples()
    with pytest.raises(ValueError, match=r"different kernels: RBF.*Linear"):
        RBF().mean_embedding(X).inner(Linear().mean_embedding(Y))
    with pytest.raises(ShapeError, match="3 and 2 columns"):
        RBF().mean_embedding(X).distance(RBF().mean_embedding(Y[:, :2]))
    with pytest.raises(ShapeError, match=r"weights must be one a point, \(40,\)"):
        RBF().mean_embedding(X, torch.ones(3))
    with pytest.raises(ShapeError, match="n > 0"):
        MeanEmbedding(RBF(), X[:0])
    with pytest.raises(ValueError, match="at least two points"):
        RBF().mean_embedding(X[:1]).squared_distance(RBF().mean_embedding(Y), unbiased=True)
