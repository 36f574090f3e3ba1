"""Spectral densities against the kernels they belong to, and drawn frequencies against their distribution."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.integrate import cumulative_trapezoid, quad
from scipy.special import jv

from mercer.errors import ShapeError
from mercer.kernels import (
    RBF,
    Constant,
    Cosine,
    Exponential,
    Hamming,
    Laplacian,
    Linear,
    Matern,
    Periodic,
    Polynomial,
    RationalQuadratic,
    SpectralMixture,
    White,
)

WITH_DENSITY = [
    RBF(0.7),
    Matern(0.7, nu=0.5),
    Matern(0.7, nu=0.3),
    Matern(1.1, nu=2.2),
    Matern(1.1, nu=2.5),
    RationalQuadratic(0.7, alpha=0.4),
    RationalQuadratic(0.7, alpha=0.5),
    RationalQuadratic(0.7, alpha=3.0),
    Laplacian(0.7),
    2.0 * RBF(0.5) + 0.3 * Matern(1.5),
    RBF(0.9).on(0),
    Exponential(0.7),
    SpectralMixture(2, weights=[0.7, 0.4], frequencies=[0.3, 0.0], lengthscale=[0.8, 1.5]),
    SpectralMixture(1, frequencies=[0.2], lengthscale=[1.3], envelope="student_t"),
]
WITHOUT_DENSITY = [
    RBF(0.7) * Matern(1.1),
    RationalQuadratic(0.7, alpha=2.0) ** 2,
    Constant(0.4) + 0.5 * RBF(0.7),
    RBF(0.9).on([0, 2]) * Laplacian(1.3).on(1),
    RBF(0.9).on([1, 1]),
    RBF([0.5, 1.0, 2.0]) + Laplacian([2.0, 1.0, 0.5]),
    Cosine([3.0, 1.5, 2.0]),
    Periodic([0.7, 1.5, 0.3], [2.0, 1.5, 3.0]),
    RBF(0.9) * Periodic(1.2, 2.0),
    RBF(0.9) * Cosine(2.5),
    SpectralMixture(2, frequencies=[[0.2, 0.0, 0.5], [0.1, 0.3, 0.2]], lengthscale=1.4),
    SpectralMixture(2, frequencies=[[0.2, 0.0, 0.5], [0.1, 0.3, 0.2]], lengthscale=1.4, separable=True),
]


def k(kernel, difference):
    x = torch.as_tensor(difference, dtype=torch.float64).reshape(1, -1)
    return float(kernel(torch.zeros_like(x), x).to_dense())


def density(kernel, omega):
    return float(kernel.spectral_density(torch.as_tensor(omega, dtype=torch.float64).reshape(1, -1)))


@pytest.mark.parametrize("kernel", WITH_DENSITY, ids=repr)
@pytest.mark.parametrize("distance", [0.3, 1.7])
def test_the_kernel_is_the_fourier_transform_of_its_density_in_one_dimension(kernel, distance):
    # the integral from 1e-12 leaves out at most 1e-6 where the density is infinite at 0 (alpha = 0.4: w^-0.2)
    value, _ = quad(lambda w: density(kernel, w), 1e-12, np.inf, weight="cos", wvar=distance, limlst=200, limit=200)
    assert 2.0 * value == pytest.approx(k(kernel, distance), abs=2e-8)


@pytest.mark.parametrize("kernel", [RBF(0.7), Matern(0.7, nu=2.5), Matern(1.1, nu=1.7), RationalQuadratic(0.9, 2.5)])
@pytest.mark.parametrize("d", [2, 3, 5])
def test_the_kernel_is_the_hankel_transform_of_its_density_in_more(kernel, d):
    r = 0.8

    def integrand(w):
        axis = np.zeros(d)
        axis[0] = w
        return density(kernel, axis) * w ** (d / 2) * jv(d / 2 - 1, w * r)

    # densities decay at least as w^-(2 nu + d): beyond 400 less than 1e-7 is left, and it oscillates
    value = sum(quad(integrand, a, b, limit=200)[0] for a, b in itertools.pairwise(EDGES))
    assert (2.0 * math.pi) ** (d / 2) * r ** (1 - d / 2) * value == pytest.approx(
        k(kernel, [r] + [0.0] * (d - 1)), abs=2e-7
    )


EDGES = [1e-9, 5.0, 20.0, 60.0, 150.0, 400.0]


def test_lengthscales_of_their_own_stretch_the_density():
    kernel = RBF([0.5, 1.0, 2.0])
    axes = [torch.arange(-8.0 / s, 8.0 / s, 0.4 / s, dtype=torch.float64) for s in (0.5, 1.0, 2.0)]
    grid = torch.cartesian_prod(*axes)
    step = 0.4**3 / (0.5 * 1.0 * 2.0)
    difference = torch.tensor([0.4, -0.7, 1.1], dtype=torch.float64)
    waves = torch.cos(grid @ difference)
    # the trapezoidal rule is exact to e^-100 on a Gaussian of this width
    assert float((kernel.spectral_density(grid) * waves).sum() * step) == pytest.approx(
        k(kernel, difference), rel=1e-12
    )


def test_the_density_of_a_laplacian_kernel_is_the_product_of_its_axes():
    omega = torch.randn(5, 3, dtype=torch.float64)
    scales = [0.5, 1.0, 2.0]
    expected = math.prod(Matern(s, nu=0.5).spectral_density(omega[:, [j]]) for j, s in enumerate(scales))
    torch.testing.assert_close(Laplacian(scales).spectral_density(omega), expected, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.9, 1.0, 1.5, 2.0, 7.0, 300.0])
def test_the_density_of_a_rational_quadratic_is_its_mixture_of_gaussians(alpha):
    u = np.linspace(-20.0, 8.0, 4_001)  # g = e^u; the trapezoidal rule on smooth functions that vanish at both ends
    weight = scipy.stats.gamma(alpha, scale=1.0 / alpha).pdf(np.exp(u)) * np.exp(u)
    for d in (1, 2, 3):
        normal = np.exp(-0.35 / np.exp(u)) * (2.0 * math.pi * np.exp(u)) ** (-d / 2)
        mixed = float((normal * weight).sum() * (u[1] - u[0]))
        omega = [math.sqrt(0.7)] + [0.0] * (d - 1)
        assert density(RationalQuadratic(alpha=alpha), omega) == pytest.approx(mixed, rel=1e-11)


def test_the_density_is_infinite_at_0_where_the_kernel_is_not_integrable():
    assert density(RationalQuadratic(alpha=0.4), [0.0]) == math.inf
    assert density(RationalQuadratic(alpha=0.5), [0.0]) == math.inf
    assert math.isfinite(density(RationalQuadratic(alpha=0.6), [0.0]))
    assert density(RationalQuadratic(alpha=0.6), [0.0, 0.0]) == math.inf


@pytest.mark.parametrize(
    "kernel", [RBF(0.1), Matern(0.1, nu=2.5), RationalQuadratic(0.1, alpha=2.0), Laplacian(0.1)], ids=repr
)
def test_many_columns_and_far_frequencies_do_not_overflow(kernel):
    values = kernel.spectral_density(torch.tensor([[0.0] * 60, [1.0] * 60, [1e6] * 60], dtype=torch.float64))
    assert not bool(values.isnan().any())
    assert bool((values >= 0.0).all())
    assert float(values[2]) < 1e-100


def test_the_density_comes_in_the_dtype_of_omega_and_has_gradients():
    assert RBF().spectral_density(torch.zeros(4, 5, 2)).shape == (4, 5)
    assert RBF().spectral_density(torch.zeros(1, 2)).dtype == torch.float32
    omega = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    lengthscale = torch.tensor([0.8, 1.3], dtype=torch.float64, requires_grad=True)
    for kind in (RBF, Matern, RationalQuadratic, Laplacian):
        assert torch.autograd.gradcheck(lambda w, s, kind=kind: kind(s).spectral_density(w), (omega, lengthscale))


def cdf(kernel):
    """The distribution function of |w| in one dimension, from the density on a grid of log(w)."""
    u = np.linspace(-60.0, 60.0, 6_001)
    p = 2.0 * kernel.spectral_density(torch.from_numpy(np.exp(u)).reshape(-1, 1)).numpy() * np.exp(u)
    total = cumulative_trapezoid(p, u, initial=0.0)
    assert total[-1] == pytest.approx(k(kernel, 0.0), rel=1e-6)
    return lambda w: np.interp(np.log(w), u, total / total[-1])


@pytest.mark.parametrize("kernel", WITH_DENSITY, ids=repr)
def test_drawn_frequencies_have_the_density(kernel):
    omega = kernel.sample_frequencies(4000, 1, random_state=3)[:, 0].numpy()
    assert scipy.stats.kstest(np.abs(omega), cdf(kernel)).pvalue > 1e-3
    assert abs((omega > 0).mean() - 0.5) < 4.0 * 0.5 / math.sqrt(4000)


def test_drawn_frequencies_have_the_distributions_of_the_textbooks():
    scale, nu, d = np.array([0.5, 1.0, 2.0]), 1.5, 3
    normal = RBF(scale).sample_frequencies(2000, d, random_state=0).numpy() * scale
    student = Matern(scale, nu=nu).sample_frequencies(2000, d, random_state=1).numpy() * scale
    cauchy = Laplacian(scale).sample_frequencies(2000, d, random_state=2).numpy() * scale
    for j in range(d):
        assert scipy.stats.kstest(normal[:, j], "norm").pvalue > 1e-3
        assert scipy.stats.kstest(student[:, j], scipy.stats.t(2 * nu).cdf).pvalue > 1e-3
        assert scipy.stats.kstest(cauchy[:, j], "cauchy").pvalue > 1e-3
    assert scipy.stats.kstest((normal**2).sum(1), scipy.stats.chi2(d).cdf).pvalue > 1e-3
    assert scipy.stats.kstest((student**2).sum(1) / d, scipy.stats.f(d, 2 * nu).cdf).pvalue > 1e-3


@pytest.mark.parametrize("method", ["iid", "orthogonal", "quasi"])
@pytest.mark.parametrize("kernel", WITH_DENSITY + WITHOUT_DENSITY, ids=repr)
def test_waves_of_drawn_frequencies_average_to_the_kernel(kernel, method):
    d = 3 if kernel in WITHOUT_DENSITY else 1
    if kernel == RBF(0.7) * Matern(1.1):
        d = 2
    n = 4096
    omega = kernel.sample_frequencies(n, d, method=method, random_state=5)
    assert omega.shape == (n, d)
    for difference in torch.tensor([[0.2, 0.1, -0.3], [1.0, -0.4, 0.5]], dtype=torch.float64)[:, :d]:
        top, value = k(kernel, torch.zeros(d)), k(kernel, difference)
        mean = float(torch.cos(omega @ difference).mean()) * top
        # 4 standard errors of independent draws: orthogonal ones are about as good or better, quasi-random ones better
        error = math.sqrt(max(0.0, top * (top + k(kernel, 2.0 * difference)) / 2.0 - value**2) / n)
        assert abs(mean - value) < 4.0 * error + 1e-12


def test_orthogonal_frequencies_are_orthogonal_in_blocks_and_normal_in_each_row():
    omega = RBF().sample_frequencies(3000, 3, method="orthogonal", random_state=0)
    blocks = omega.reshape(-1, 3, 3)
    gram = blocks @ blocks.mT
    off = gram - torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1))
    assert float(off.abs().max()) < 1e-12
    for j in range(3):
        assert scipy.stats.kstest(omega[j::3, 0].numpy(), "norm").pvalue > 1e-3
        assert scipy.stats.kstest(omega[j::3].square().sum(1).numpy(), scipy.stats.chi2(3).cdf).pvalue > 1e-3
    assert RBF().sample_frequencies(7, 5, method="orthogonal").shape == (7, 5)


def test_quasi_random_frequencies_fill_the_distribution_more_evenly_than_independent_ones():
    even = RBF().sample_frequencies(1024, 1, method="quasi", random_state=0)[:, 0].numpy()
    assert scipy.stats.kstest(even, "norm").statistic < 2.0 / 1024
    assert np.isfinite(even).all()


@pytest.mark.parametrize("method", ["iid", "orthogonal", "quasi"])
def test_the_same_seed_draws_the_same_frequencies(method):
    kernel = Matern() + RationalQuadratic() * Laplacian()
    first = kernel.sample_frequencies(64, 2, method=method, random_state=7)
    assert torch.equal(first, kernel.sample_frequencies(64, 2, method=method, random_state=7))
    assert not torch.equal(first, kernel.sample_frequencies(64, 2, method=method, random_state=8))
    before = torch.get_rng_state()
    kernel.sample_frequencies(64, 2, method=method)
    assert torch.equal(before, torch.get_rng_state())


def test_very_rough_kernels_give_finite_frequencies():
    for kernel in (Matern(nu=0.01), RationalQuadratic(alpha=0.001), Laplacian(1e-3)):
        omega = kernel.sample_frequencies(2000, 2, random_state=0)
        assert bool(omega.isfinite().all())
        assert bool(omega.float().isfinite().all())


@pytest.mark.parametrize(
    "kernel", [Linear(), Polynomial(), White(), Hamming(), RBF() + Linear(), RBF() * White()], ids=repr
)
def test_kernels_that_are_not_stationary_have_no_spectrum(kernel):
    with pytest.raises(TypeError, match="has no spectrum: it does not depend on x - y alone"):
        kernel.spectral_density(torch.zeros(1, 2))
    with pytest.raises(TypeError, match="has no spectrum"):
        kernel.sample_frequencies(3, 2)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (Constant(1.0) + RBF(), "all its energy at frequency 0"),
        (RBF() * RBF(), "a convolution, which has no closed form here. sample_frequencies"),
        (RBF().on(0), "does not vary along the others"),
    ],
    ids=repr,
)
def test_a_spectrum_without_a_density_says_why(kernel, message):
    with pytest.raises(TypeError, match=message):
        kernel.spectral_density(torch.zeros(1, 2))


def test_columns_in_another_order_have_a_density():
    omega = torch.randn(4, 2, dtype=torch.float64)
    swapped = RBF([0.5, 2.0]).on([1, 0])
    torch.testing.assert_close(swapped.spectral_density(omega), RBF([2.0, 0.5]).spectral_density(omega))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"omega must be \(..., d\)"):
        RBF().spectral_density(0.5)
    with pytest.raises(ShapeError, match="needs one value, or 2"):
        RBF([1.0, 2.0, 3.0]).spectral_density(torch.zeros(1, 2))
    with pytest.raises(ShapeError, match="needs positions among them"):
        RBF().on(["a"]).sample_frequencies(3, 2)
    with pytest.raises(ShapeError, match="needs positions among them"):
        RBF().on([2]).sample_frequencies(3, 2)
    with pytest.raises(ValueError, match=r"There is no method 'sobol'. Choose from: iid, orthogonal, quasi"):
        RBF().sample_frequencies(3, 2, method="sobol")
    with pytest.raises(ValueError, match="draws at most 21201 columns, not 30000"):
        RBF().sample_frequencies(3, 30000, method="quasi")
