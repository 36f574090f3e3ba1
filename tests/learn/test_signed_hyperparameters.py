"""Hyperparameters that may be negative are learnt as they are, not by their logarithm."""

import numpy as np
import pytest

from mercer.kernels import RBF, ChangePoint, Constant, Gibbs, Parameter, White
from mercer.learn import GaussianProcessRegressor
from mercer.learn.covariance import as_covariance

KERNEL = ChangePoint(Constant(1.0), Constant(2.0), location=-1.5, steepness=3.0)


def test_theta_holds_the_value_itself_and_its_bounds():
    covariance = as_covariance(KERNEL, None)
    place = covariance.names.index("location")
    assert covariance.signed == [name == "location" for name in covariance.names]
    assert covariance.theta[place] == -1.5
    assert covariance.bounds[place].tolist() == [-1e5, 1e5]
    assert covariance.theta[covariance.names.index("steepness")] == pytest.approx(np.log(3.0))
    moved = covariance.at(np.where(covariance.signed, -7.25, covariance.theta))
    assert moved.own.location == -7.25
    assert moved.own.steepness == pytest.approx(3.0)


def test_bounds_of_ones_own_may_be_negative():
    kernel = Gibbs(weights=Parameter(0.0, bounds=(-2.0, 1.0)))
    covariance = as_covariance(kernel, None)
    assert covariance.bounds[covariance.names.index("weights")].tolist() == [-2.0, 1.0]


def test_a_change_at_a_negative_place_is_found():
    x = np.linspace(-4.0, 2.0, 60).reshape(-1, 1)
    y = np.where(x[:, 0] < -2.0, 0.0, np.sin(6.0 * x[:, 0])) + 0.01 * np.random.default_rng(0).normal(size=60)
    quiet = Parameter(1e-4, frozen=True) * RBF(Parameter(1.0, frozen=True))
    loud = RBF(Parameter(0.3, frozen=True))
    place = Parameter(-1.5, bounds=(-3.5, 1.5))
    kernel = ChangePoint(quiet, loud, place, Parameter(10.0, frozen=True)) + White(Parameter(1e-3, frozen=True))
    model = GaussianProcessRegressor(kernel).fit(x, y)
    assert float(model.kernel_.left.location.value) == pytest.approx(-2.0, abs=0.3)
