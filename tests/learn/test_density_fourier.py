"""Densities by non-uniform FFT agree with tiles to the tolerance asked for."""

import numpy as np
import pytest

from mercer.learn import KernelDensity, kernel_density

pytest.importorskip("finufft", reason="the Fourier plan needs finufft")
RNG = np.random.default_rng(0)
X, Z = RNG.normal(size=(1500, 2)), 1.5 * RNG.normal(size=(300, 2))


@pytest.mark.parametrize(("rtol", "bound"), [(0.0, 1e-6), (1e-3, 1e-3)])
def test_every_density_is_right_to_the_tolerance(rtol, bound):
    exact = KernelDensity(bandwidth=[0.3, 0.4], algorithm="tiles").fit(X).score_samples(Z)
    fast = KernelDensity(bandwidth=[0.3, 0.4], algorithm="fourier", rtol=rtol).fit(X).score_samples(Z)
    assert np.abs(fast - exact).max() < bound
    assert not np.array_equal(fast, exact)
    assert exact.min() < -20.0  # far points, where the sums themselves are lost in the transforms' error


def test_auto_is_exact_unless_errors_are_allowed(monkeypatch):
    monkeypatch.setattr(kernel_density, "_FOURIER_PAIRS", 0)
    exact = KernelDensity(bandwidth=0.3, algorithm="tiles").fit(X).score_samples(Z)
    assert np.array_equal(KernelDensity(bandwidth=0.3).fit(X).score_samples(Z), exact)
    loose = KernelDensity(bandwidth=0.3, rtol=1e-4).fit(X).score_samples(Z)
    assert 0.0 < np.abs(loose - exact).max() < 1e-4
    tophat = KernelDensity(bandwidth=0.3, rtol=1e-4, kernel="tophat").fit(X).score_samples(Z)
    assert np.array_equal(
        tophat, KernelDensity(bandwidth=0.3, algorithm="tiles", kernel="tophat").fit(X).score_samples(Z)
    )


def test_kernels_and_columns_that_it_cannot_do_are_refused():
    with pytest.raises(ValueError, match="decays too slowly"):
        KernelDensity(algorithm="fourier", kernel="tophat").fit(X).score_samples(Z)
    many = RNG.normal(size=(50, 5))
    with pytest.raises(ValueError, match="plan='fourier' does not apply"):
        KernelDensity(algorithm="fourier").fit(many).score_samples(many)
