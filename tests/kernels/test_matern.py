"""Matern kernels of any smoothness."""

import math

import numpy as np
import pytest
import torch

from mercer.kernels import RBF, Matern


def at(distances, nu):
    points = torch.tensor(distances, dtype=torch.float64).reshape(-1, 1)
    return Matern(nu=nu)(torch.zeros(1, 1, dtype=torch.float64), points).to_dense()[0]


@pytest.mark.parametrize(
    ("nu", "distance", "value"),
    # mpmath, 40 digits
    [
        (0.3, 0.5, 0.49834732636424695),
        (1.0, 0.1, 0.9741974433181197),
        (1.2, 2.0, 0.13985082074203936),
        (12.7, 1.0, 0.5886670664740175),
        (40.0, 0.3, 0.9549217643455289),
        (100.0, 1e-3, 0.9999994949496238),
        (169.0, 3.0, 0.011475329434391798),
    ],
)
def test_values_are_those_of_a_computer_algebra_system(nu, distance, value):
    assert at([distance], nu).item() == pytest.approx(value, rel=2e-13)


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5, 3.5, 10.5])
def test_half_integers_agree_with_their_neighbours(nu):
    distances = np.geomspace(1e-3, 10.0, 30)
    near = (at(distances, nu - 1e-6) + at(distances, nu + 1e-6)) / 2.0
    torch.testing.assert_close(at(distances, nu), near, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("nu", [0.5, 0.7, 1.5, 2.5, 10.5, 12.5, 30.0, 150.0])
def test_far_points_have_nothing_in_common(nu):
    values = torch.stack([at([distance], nu) for distance in (1e2, 1e4, 1e8, 1e12, 1e100)])
    assert bool((values >= 0.0).all())
    assert float(values.max()) < 1e-20


@pytest.mark.parametrize("nu", [0.3, 1.0, 1.5, 3.0, 10.5, 12.5, 30.0, 150.0])
def test_equal_points_are_as_like_as_can_be(nu):
    assert at([0.0], nu).item() == 1.0
    assert at([1e-100], nu).item() == pytest.approx(1.0)


def test_a_very_smooth_kernel_is_nearly_gaussian():
    distances = np.linspace(0.0, 4.0, 20)
    points = torch.tensor(distances).reshape(-1, 1)
    gaussian = RBF()(torch.zeros(1, 1, dtype=torch.float64), points).to_dense()[0]
    assert float((at(distances, 150.0) - gaussian).abs().max()) < 1.0 / 150.0


@pytest.mark.parametrize(
    ("nu", "error", "message"),
    [
        (0.0, ValueError, "nu must be > 0 and finite; for nu = infinity use RBF"),
        (-1.5, ValueError, "nu must be > 0"),
        (math.inf, ValueError, "for nu = infinity use RBF"),
        (math.nan, ValueError, "nu must be > 0"),
        (torch.tensor(1.5), TypeError, "nu must be a number; it cannot be learnt"),
        ("1.5", TypeError, "nu must be a number"),
        (True, TypeError, "nu must be a number"),
    ],
)
def test_nu_outside_its_domain_is_refused(nu, error, message):
    with pytest.raises(error, match=message):
        Matern(nu=nu)


@pytest.mark.parametrize("nu", [0.7, 1.0, 1.2, 2.0])
def test_the_lengthscale_is_learnable_at_any_smoothness(nu):
    theta = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    X = torch.randn(5, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda t: Matern(t, nu=nu)(X).to_dense(), theta, atol=1e-6)
