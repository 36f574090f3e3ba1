import math

import pytest
import torch

from mercer.operators.fourier import NoFourierSeries
from mercer.operators.fourier.profile import fourier_grids, predicted_error
from mercer.operators.fourier.series import evaluate_series, fourier_series
from mercer.operators.maps import evaluate, leaf, make


def squares(r):
    return r.square().sum(-1)


def matern(nu, lengthscale):
    statistic = leaf("statistic", 0)
    expression = make("matern", statistic, value=nu)
    return lambda r: evaluate([expression], {statistic: squares(r) / lengthscale**2})[0]


MAPS = {
    "rbf": lambda ell: lambda r: torch.exp(-squares(r) / 2 / ell**2),
    "rbf with ARD": lambda ell: lambda r: 3.0 * torch.exp(-squares(r / (ell * torch.arange(1, r.shape[-1] + 1))) / 2),
    "matern 3/2": lambda ell: matern(1.5, ell),
    "matern 5/2": lambda ell: matern(2.5, ell),
    "rational quadratic": lambda ell: lambda r: 1.0 / (1.0 + squares(r) / 2 / ell**2),
    "product": lambda ell: lambda r: torch.exp(-squares(r) / 2 / ell**2) * matern(2.5, 2 * ell)(r),
    "sum": lambda ell: lambda r: torch.exp(-squares(r) / 2 / ell**2) + 0.3 / (1.0 + squares(r)),
    "cosine": lambda ell: lambda r: torch.exp(-squares(r) / 2 / ell**2) * torch.cos(9.0 * r).prod(-1),
}


def independent_error(series, function, extent):
    """At differences that the series itself was not checked at, many of them near 0."""
    draw = torch.Generator().manual_seed(77)
    r = torch.rand(300, len(extent), dtype=torch.float64, generator=draw) ** 3 * torch.tensor(extent)
    r = torch.cat([r, torch.zeros(1, len(extent)), torch.tensor([extent])])
    return float((series(r) - function(r)).abs().max() / function(r.new_zeros(1, len(extent))))


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("name", MAPS)
def test_error_is_within_tolerance_and_as_predicted(name, d, tolerance):
    function, extent = MAPS[name](0.4), [1.0, 0.7, 1.3][:d]
    needed = math.prod(fourier_grids(function, extent, tolerance=tolerance)[0].shape)
    if needed > 3e5:
        assert name in ("matern 3/2", "matern 5/2", "product")
        with pytest.raises(NoFourierSeries, match="modes are needed"):
            fourier_series(function, extent, tolerance=tolerance, max_modes=3e5)
        return
    series = fourier_series(function, extent, tolerance=tolerance)
    actual = independent_error(series, function, extent)
    assert actual <= tolerance
    assert actual / 2 <= series.predicted_error <= 100 * max(actual, 1e-13)
    assert actual / 2 <= series.error <= 1.5 * tolerance


@pytest.mark.parametrize("lengthscale", [0.03, 1.0, 30.0])
@pytest.mark.parametrize("name", ["rbf", "matern 5/2", "rational quadratic", "cosine"])
def test_short_and_long_lengthscales_in_one_and_two_dimensions(name, lengthscale):
    for d in (1, 2):
        function = MAPS[name](lengthscale)
        series = fourier_series(function, [1.0] * d, tolerance=1e-5)
        assert independent_error(series, function, [1.0] * d) <= 1e-5


@pytest.mark.parametrize("name", ["rbf", "matern 3/2", "rational quadratic"])
@pytest.mark.parametrize("lengthscale", [0.1, 2.0])
def test_a_definite_series_has_no_negative_coefficient(name, lengthscale):
    function = MAPS[name](lengthscale)
    series = fourier_series(function, [1.0, 1.0], tolerance=1e-4, definite=True)
    assert series.is_definite
    assert bool((series.coefficients >= 0).all())
    assert independent_error(series, function, [1.0, 1.0]) <= 1e-4
    r = torch.rand(60, 2, dtype=torch.float64)
    matrix = evaluate_series(series.grid, series.coefficients, (r[:, None] - r).reshape(-1, 2)).reshape(60, 60)
    assert float(torch.linalg.eigvalsh(matrix).min()) > -1e-12 * 60


def test_coefficients_of_a_gaussian_are_its_spectral_density():
    series = fourier_series(MAPS["rbf"](0.2), [1.0], tolerance=1e-10)
    P = series.grid.period[0]
    omega = series.grid.frequencies(0)
    density = 0.2 * math.sqrt(2 * math.pi) * torch.exp(-0.5 * (0.2 * omega) ** 2) / P
    torch.testing.assert_close(series.coefficients, density, rtol=0, atol=1e-12)


def test_spectrum_and_coefficients_are_the_same_series():
    series = fourier_series(MAPS["rbf"](0.5), [1.0, 0.5], tolerance=1e-6)
    full = series.spectrum()
    assert full.shape == series.grid.shape
    assert float(full.sum()) == pytest.approx(float((series.coefficients * series.grid.multiplicity()).sum()))
    torch.testing.assert_close(full, full.flip(0))
    torch.testing.assert_close(full, full.flip(1))


def test_odd_coefficients_give_the_derivative():
    function = MAPS["rbf"](0.4)
    grid = fourier_series(function, [1.0, 1.0], tolerance=1e-8).grid
    odd = grid.coefficients(lambda r: -r[..., 1] / 0.4**2 * function(r), odd=1)
    r = torch.rand(20, 2, dtype=torch.float64)
    waves = torch.cos(r[:, :1] * grid.frequencies(0))[:, :, None] * torch.sin(r[:, 1:] * grid.frequencies(1))[:, None]
    found = -(waves * odd * grid.multiplicity()).sum((1, 2))
    torch.testing.assert_close(found, -r[:, 1] / 0.16 * function(r), rtol=0, atol=1e-6)


def test_coefficients_are_differentiable_in_what_the_map_depends_on():
    grid = fourier_series(MAPS["rbf"](0.5), [1.0], tolerance=1e-3).grid

    def coefficients(ell):
        return grid.coefficients(lambda r: torch.exp(-squares(r) / 2 / ell**2))

    assert torch.autograd.gradcheck(coefficients, torch.tensor(0.5, dtype=torch.float64, requires_grad=True))


def test_predicted_error_follows_the_hyperparameters_on_a_fixed_grid():
    grid = fourier_series(MAPS["rbf"](0.3), [1.0], tolerance=1e-6).grid
    for ell in (0.3, 0.25, 0.2):
        function = MAPS["rbf"](ell)
        coefficients = grid.coefficients(function)
        r = torch.linspace(0, 1, 200, dtype=torch.float64)[:, None]
        actual = float((evaluate_series(grid, coefficients, r) - function(r)).abs().max())
        assert actual / 2 <= predicted_error(grid, function) <= 100 * actual


@pytest.mark.parametrize(
    ("function", "extent", "match"),
    [
        (matern(0.5, 0.1), [1.0, 1.0, 1.0], "modes are needed|modes on an axis"),
        (matern(1.5, 0.05), [1.0, 1.0], "modes are needed for 1e-08, 2.0e\\+07 are allowed"),
        (lambda r: torch.sin(r).sum(-1) + 2.0, [1.0], "not an even function"),
        (MAPS["rbf"](1.0), [1.0] * 4, "4 coordinates; a Fourier series serves 1 to 3"),
    ],
)
def test_what_has_no_series_says_why(function, extent, match):
    with pytest.raises(NoFourierSeries, match=match):
        fourier_series(function, extent, tolerance=1e-8)


def test_points_that_are_all_alike_have_a_series():
    series = fourier_series(MAPS["rbf"](1.0), [0.0, 1.0], tolerance=1e-6)
    assert independent_error(series, MAPS["rbf"](1.0), [0.0, 1.0]) <= 1e-6
