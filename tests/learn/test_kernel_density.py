"""Kernel densities against scikit-learn, scipy, integrals and definitions."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.neighbors import KernelDensity as Twin

from mercer.kernels import RBF, Cosine, Laplacian, Matern, RationalQuadratic, White
from mercer.learn import KernelDensity
from mercer.learn.density_shapes import NAMES, shape_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2)) @ np.array([[1.0, 0.3], [0.0, 4.0]])
Z = RNG.normal(size=(30, 2)) * 2.0
KERNELS = [
    *NAMES,
    RBF(0.7),
    Matern(1.3, nu=2.5),
    Matern([0.5, 2.0], nu=0.5),
    Laplacian(0.8),
    RationalQuadratic(1.0, alpha=4.0),
]
CLOSED = [*KERNELS, 2.0 * RBF(0.5) + Laplacian(0.5)]


@pytest.mark.parametrize("kernel", NAMES)
@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_densities_agree_with_scikit_learn(kernel, d, weighted):
    rng = np.random.default_rng(d)
    rows, at = rng.normal(size=(60, d)), rng.normal(size=(30, d))
    weights = rng.random(60) if weighted else None
    ours = KernelDensity(kernel=kernel, bandwidth=1.6).fit(rows, sample_weight=weights).score_samples(at)
    theirs = Twin(kernel=kernel, bandwidth=1.6).fit(rows, sample_weight=weights).score_samples(at)
    if kernel == "cosine" and d % 2 == 0:
        # Its sum by parts leaves out the last term, which an even number of columns has: in two columns the integral
        # of r cos(pi r / 2) from 0 to 1 is 2 / pi - 4 / pi^2, and it takes 2 / pi.
        theirs = theirs - np.log(1.0 - 2.0 / np.pi)
    assert (np.exp(ours) > 0).sum() >= 15
    np.testing.assert_allclose(np.exp(ours), np.exp(theirs), rtol=1e-10, atol=1e-15)


def nodes(low, high, n):
    """Gauss-Legendre: exact for polynomials of degree 2 n - 1 between the ends."""
    at, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (high - low) * (at + 1.0) + low, 0.5 * (high - low) * weights


@pytest.mark.parametrize("kernel", CLOSED, ids=repr)
@pytest.mark.parametrize("d", [1, 2])
def test_a_density_integrates_to_one(kernel, d):
    if d == 1 and isinstance(kernel, Matern) and isinstance(kernel.lengthscale, list):
        pytest.skip("two lengthscales need two columns")
    h = np.array([0.7, 1.4])[:d]
    model = KernelDensity(kernel=kernel, bandwidth=h).fit(np.zeros((1, d)))
    # In polar coordinates about the row every kernel is smooth but at the radius h, where compact ones end, and (the
    # Laplacian one) on the axes: both are ends of a rule. Beyond h the radius is 1 + u / (1 - u).
    inner, of_inner = nodes(0.0, 1.0, 40)
    u, of_u = nodes(0.0, 1.0, 120)
    radii, of_radii = np.r_[inner, 1.0 + u / (1.0 - u)], np.r_[of_inner, of_u / (1.0 - u) ** 2]
    if d == 1:
        directions, of_directions = np.ones((1, 1)), np.array([2.0])
    else:
        quarters = [nodes(q * np.pi / 2, (q + 1) * np.pi / 2, 24) for q in range(4)]
        angles, of_angles = (np.concatenate(part) for part in zip(*quarters, strict=True))
        directions, of_directions = np.column_stack([np.cos(angles), np.sin(angles)]), of_angles
    points = radii[:, None, None] * directions * h
    density = np.exp(model.score_samples(points.reshape(-1, d))).reshape(len(radii), len(directions))
    total = of_radii @ (density * radii[:, None] ** (d - 1)) @ of_directions * h.prod()
    assert total == pytest.approx(1.0, abs=1e-7)


def test_far_densities_do_not_underflow_and_agree_with_scipy():
    peer = stats.gaussian_kde(X[:, :1].T, bw_method=0.5)
    h = float(np.sqrt(peer.covariance[0, 0]))
    far = np.array([[0.0], [40.0], [500.0]])
    ours = KernelDensity(bandwidth=h).fit(X[:, :1]).score_samples(far)
    np.testing.assert_allclose(ours, peer.logpdf(far.T), rtol=1e-10)
    assert ours[2] < -1e5


def test_a_bandwidth_a_column_is_a_change_of_units():
    h = np.array([0.5, 2.0])
    ours = KernelDensity(bandwidth=h).fit(X).score_samples(Z)
    theirs = Twin(bandwidth=1.0).fit(X / h).score_samples(Z / h) - np.log(h).sum()
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov", "cosine", Laplacian()], ids=repr)
@pytest.mark.parametrize("weighted", [False, True])
def test_leave_one_out_is_what_refits_give(kernel, weighted):
    weights = RNG.random(60) if weighted else np.ones(60)
    model = KernelDensity(kernel=kernel, bandwidth=[1.5, 3.0]).fit(X, sample_weight=weights)
    expected = []
    for i in range(60):
        others = np.arange(60) != i
        refit = KernelDensity(kernel=kernel, bandwidth=[1.5, 3.0]).fit(X[others], sample_weight=weights[others])
        expected.append(refit.score_samples(X[[i]])[0])
    np.testing.assert_allclose(model.leave_one_out(), expected, rtol=1e-9)


def test_the_leave_one_out_bandwidth_is_the_best_of_a_grid():
    model = KernelDensity(bandwidth="leave_one_out").fit(X)
    np.testing.assert_allclose(model.bandwidth_ / X.std(0), (model.bandwidth_ / X.std(0))[0])
    best = model.leave_one_out().mean()
    for factor in np.geomspace(0.3, 3.0, 13):
        other = KernelDensity(bandwidth=model.bandwidth_ * factor).fit(X)
        assert other.leave_one_out().mean() <= best + 1e-6


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_draws_have_the_distribution_of_the_kernel(kernel):
    # Kolmogorov-Smirnov on a projection: the distribution function along it, from an integral of the density on a grid.
    d, n = 2, 4000
    draw = shape_of(kernel, d).draw(np.random.RandomState(0), n)
    grid = np.linspace(-12.0, 12.0, 481)
    points = np.stack([g.ravel() for g in np.meshgrid(grid, grid, indexing="ij")], 1)
    density = np.exp(KernelDensity(kernel=kernel).fit(np.zeros((1, 2))).score_samples(points)).reshape(481, 481)
    for axis in (0, 1):
        marginal = density.sum(1 - axis)
        cumulative = (np.cumsum(marginal) - 0.5 * marginal) / marginal.sum()
        statistic, p = stats.kstest(draw[:, axis], partial(np.interp, xp=grid, fp=cumulative))
        assert p > 1e-3, statistic


def test_the_region_of_highest_density_holds_its_share():
    model = KernelDensity(bandwidth=0.4).fit(X)
    threshold = model.highest_density(0.8)
    fresh = model.sample(20_000, random_state=7)
    assert (model.score_samples(fresh) >= threshold).mean() == pytest.approx(0.8, abs=0.015)  # 3 deviations of both


def test_intervals_of_a_normal_density_and_of_two_peaks():
    one = KernelDensity(bandwidth=2.0).fit(np.array([[5.0]]))
    expected = 5.0 + 2.0 * np.array(stats.norm.interval(0.9))
    np.testing.assert_allclose(one.highest_density_intervals(0.9, n_samples=100_000), [expected], atol=0.05)
    two = KernelDensity(bandwidth=1.0).fit(np.array([[0.0], [50.0]])).highest_density_intervals(0.5)
    assert two.shape == (2, 2)
    assert two[0, 1] < 10.0 < 40.0 < two[1, 0]


def test_other_metrics_go_to_scikit_learn(tmp_path):
    model = KernelDensity(metric="manhattan").fit(X)
    theirs = Twin(metric="manhattan").fit(X)
    np.testing.assert_array_equal(model.score_samples(Z), theirs.score_samples(Z))
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(KernelDensity.load(tmp_path / "model").score_samples(Z), theirs.score_samples(Z))
    with pytest.raises(NotImplementedError, match="others are no densities"):
        model.leave_one_out()


@pytest.mark.parametrize("kernel", ["gaussian", Matern([0.5, 2.0], nu=2.5)], ids=repr)
def test_saved_densities_tables_and_tensors(kernel, tmp_path):
    import pandas as pd

    table = pd.DataFrame(X, columns=["a", "b"])
    model = KernelDensity(kernel=kernel, bandwidth=[0.5, 2.0]).fit(table, sample_weight=RNG.random(60))
    model.save(tmp_path / "model")
    loaded = KernelDensity.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score_samples(table), model.score_samples(table))
    np.testing.assert_array_equal(loaded.sample(5, random_state=0), model.sample(5, random_state=0))
    with pytest.raises(ValueError, match="feature names"):
        model.score_samples(table[["b", "a"]])
    tensor = KernelDensity(kernel=kernel, bandwidth=[0.5, 2.0]).fit(torch.from_numpy(X).float())
    assert tensor.score_samples(torch.from_numpy(Z).float()).dtype == torch.float32
    assert isinstance(tensor.sample(3, random_state=0), torch.Tensor)
    assert isinstance(tensor.leave_one_out(), torch.Tensor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bandwidth": 0.0}, "bandwidth of 0 would put all probability on the rows"),
        ({"bandwidth": [1.0, -1.0]}, "must be > 0 and finite"),
        ({"bandwidth": [1.0, 1.0, 1.0]}, "bandwidth has 3 numbers, but X has 2 columns"),
        ({"bandwidth": "best"}, "one of scott, silverman, leave_one_out"),
        ({"algorithm": "brute"}, "choose one of auto, tiles"),
        ({"rtol": -1.0}, "must be >= 0"),
        ({"kernel": "gauss"}, "is none of gaussian, tophat"),
        ({"kernel": RationalQuadratic(alpha=1.0)}, "the density does not exist. A RationalQuadratic needs alpha > 1"),
        ({"kernel": Cosine()}, "values may be negative"),
        ({"kernel": RBF() + White(0.1)}, "values may be negative, or are not a function"),
        ({"kernel": RBF() * Matern()}, "has no known integral"),
        ({"metric": "manhattan", "algorithm": "fourier"}, "goes to scikit-learn's trees"),
        ({"metric": "manhattan", "kernel": RBF()}, "which know the kernels gaussian"),
        ({"metric": "manhattan", "bandwidth": "leave_one_out"}, "needs metric='euclidean'"),
    ],
    ids=str,
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        KernelDensity(**options).fit(X)


def test_columns_and_rows_without_a_leave_one_out_bandwidth():
    constant = np.column_stack([X[:, 0], np.full(60, 3.0)])
    with pytest.raises(ValueError, match=r"columns \[1\] .* are constant"):
        KernelDensity(bandwidth="leave_one_out").fit(constant)
    with pytest.raises(ValueError, match="have equals among the others"):
        KernelDensity(bandwidth="leave_one_out").fit(np.repeat(X, 2, axis=0))
    with pytest.raises(ValueError, match="at least two rows"):
        KernelDensity(bandwidth="leave_one_out").fit(X[:1])


def test_intervals_need_one_column_and_a_kernel_that_can_be_drawn():
    with pytest.raises(ValueError, match="needs one column, and X has 2"):
        KernelDensity().fit(X).highest_density_intervals()
    with pytest.raises(NotImplementedError, match="how to draw from"):
        KernelDensity(kernel=RBF() + Laplacian()).fit(X).highest_density()
