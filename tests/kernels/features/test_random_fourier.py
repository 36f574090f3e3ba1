"""Random Fourier features: unbiased, of known variance, and better with orthogonal or quasi-random frequencies."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.kernel_approximation import RBFSampler

from mercer.kernels import RBF, Constant, Laplacian, Matern, RationalQuadratic
from mercer.kernels.features import RandomFourier

D = 5
X = 0.7 * torch.randn(6, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
KERNELS = [
    RBF(1.3),
    Matern([0.7, 1.9, 1.1, 1.0, 2.0], nu=1.2),
    RationalQuadratic(1.3, alpha=0.6),
    Laplacian(3.0),
    2.0 * RBF(0.8) + 0.5 * Matern(2.0, nu=0.5),
    RBF(1.5) * Laplacian(5.0).on([0, 1]) + Constant(0.3),
]


def estimates(kernel, n_features, method, seeds, points=X):
    """The approximate kernel matrix for each seed, ``(seeds, n, n)``."""
    maps = (RandomFourier(kernel, n_features, d=points.shape[1], method=method, random_state=s) for s in seeds)
    features = torch.stack([f(points) for f in maps])
    return features @ features.mT


def exact(kernel, points=X):
    return kernel(points, points.clone()).to_dense()


def variance(kernel, n_features):
    """(1 + k(2 r) - 2 k(r)^2) / n_features, for k(0) = 1; independent frequencies."""
    top = exact(kernel)[0, 0]
    k, twice = exact(kernel) / top, kernel(X - X[:, None], X[:, None] - X).to_dense() / top  # (n, n, n): pairs i, j, l
    twice = torch.stack([kernel(2.0 * (X - x), torch.zeros_like(X)).to_dense()[:, 0] for x in X]) / top
    return top**2 * (1.0 + twice - 2.0 * k**2) / n_features


@pytest.mark.parametrize("method", ["iid", "orthogonal", "quasi"])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_the_estimate_is_unbiased_and_exact_on_the_diagonal(kernel, method):
    found = estimates(kernel, 32, method, range(100))
    K = exact(kernel)
    error = found.std(0) / math.sqrt(100)
    assert float(((found.mean(0) - K).abs() - 4.0 * error).max()) < 1e-12
    for G in found:
        torch.testing.assert_close(G.diagonal(), K.diagonal(), rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_independent_frequencies_have_the_variance_of_the_formula(kernel):
    seeds = 150
    found = estimates(kernel, 64, "iid", range(1000, 1000 + seeds))
    ratio = ((found - exact(kernel)) ** 2).mean(0) / variance(kernel, 64)
    off = ~torch.eye(len(X), dtype=torch.bool)
    # a sample variance of 150 nearly normal numbers: its relative standard error is sqrt(2 / 150) = 12 %
    assert float((ratio[off] - 1.0).abs().max()) < 4.5 * math.sqrt(2.0 / seeds)


@pytest.mark.parametrize(("kernel", "ratio"), [(RBF(4.0), 0.5), (Matern(4.0, nu=2.5), 0.85)], ids=repr)
def test_orthogonal_frequencies_have_a_lower_error_than_independent_ones(kernel, ratio):
    points = torch.randn(30, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    K = exact(kernel, points)
    errors = {
        method: float(((estimates(kernel, 64, method, range(20), points) - K) ** 2).mean())
        for method in ("iid", "orthogonal")
    }
    assert errors["orthogonal"] < ratio * errors["iid"]  # 0.33 and 0.64 over 80 seeds


def test_quasi_random_frequencies_have_a_far_lower_error_in_few_dimensions():
    points = torch.rand(30, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    K = exact(RBF(0.3), points)
    errors = {
        method: float(((estimates(RBF(0.3), 1024, method, range(10), points) - K) ** 2).mean())
        for method in ("iid", "quasi")
    }
    assert errors["quasi"] < 0.05 * errors["iid"]


def test_frequencies_and_error_agree_with_scikit_learn_in_distribution():
    gamma, n_features = 0.5 / 1.3**2, 64
    features = RandomFourier(RBF(1.3), 2000, d=D, method="iid", random_state=0)
    theirs = RBFSampler(gamma=gamma, n_components=1000, random_state=0).fit(X.numpy())
    ours = features.frequencies.numpy()
    assert scipy.stats.ks_2samp(ours.ravel(), theirs.random_weights_.ravel()).pvalue > 1e-3
    # one cosine with a random phase a frequency: variance (1 + k(2 r) / 2 - k(r)^2) / n_features
    K = exact(RBF(1.3)).numpy()
    grams = []
    for seed in range(150):
        F = RBFSampler(gamma=gamma, n_components=n_features, random_state=seed).fit_transform(X.numpy())
        grams.append(F @ F.T)
    off = ~np.eye(len(X), dtype=bool)
    their_mse = ((np.array(grams) - K) ** 2).mean(0)[off]
    our_mse = ((estimates(RBF(1.3), n_features, "iid", range(150)) - torch.from_numpy(K)) ** 2).mean(0).numpy()[off]
    expected = variance(RBF(1.3), n_features).numpy()[off]
    twice = expected * n_features - 1.0 + 2.0 * K[off] ** 2
    np.testing.assert_allclose(their_mse, (1.0 + 0.5 * twice - K[off] ** 2) / n_features, rtol=4.5 * math.sqrt(2 / 150))
    assert our_mse.mean() < their_mse.mean()


def test_the_error_falls_with_the_number_of_features():
    errors = [float((estimates(RBF(1.3), n, "iid", range(40)) - exact(RBF(1.3))).square().mean()) for n in (32, 2048)]
    assert errors[1] == pytest.approx(errors[0] / 64.0, rel=0.35)


@pytest.mark.parametrize(
    "build",
    [
        lambda s, a: s[0] * RBF(0.9) + s[1] * Matern(2.5, nu=0.5),
        lambda s, a: RationalQuadratic(1.3, alpha=a),
        lambda s, a: s[0] * RationalQuadratic(1.5, alpha=a) * RBF(3.0) + s[1],
    ],
)
def test_the_gradient_in_what_only_the_distribution_knows_is_unbiased(build):
    scales = torch.tensor([0.7, 1.9], dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    kernel = build(scales, alpha)
    W = torch.randn(len(X), len(X), dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def gradient(K):
        parts = torch.autograd.grad((W * K).sum(), [scales, alpha], allow_unused=True)
        return torch.cat([torch.zeros(1, dtype=torch.float64) if p is None else p.reshape(-1) for p in parts])

    expected = gradient(exact(kernel))
    found = []
    for seed in range(100):
        F = RandomFourier(kernel, 128, d=D, method="iid", random_state=seed)(X)
        found.append(gradient(F @ F.mT))
    draws = torch.stack(found)
    error = draws.std(0) / math.sqrt(len(draws))
    assert float(((draws.mean(0) - expected).abs() - 4.0 * error).max()) < 1e-12
    assert float(expected.abs().max()) > 8.0 * float(error.max())  # else 0 would do


def test_a_shift_of_the_points_changes_nothing_in_double_precision():
    features = RandomFourier(RBF(1.3), 512, d=D, random_state=0)
    near, far = features(X), features(X + 1e4)
    torch.testing.assert_close(far @ far.mT, near @ near.mT, rtol=0.0, atol=1e-10)


def test_a_constant_kernel_is_a_constant_feature():
    F = RandomFourier(Constant(0.3), 8, d=D)(X)
    torch.testing.assert_close(F @ F.mT, torch.full((6, 6), 0.3, dtype=torch.float64))


def test_names_must_be_resolved_by_positions():
    with pytest.raises(ValueError, match="needs positions among them"):
        RandomFourier(RBF().on(["a"]), 8, d=2)
