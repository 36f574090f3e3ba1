"""Intervals by split conformal prediction."""

import numpy as np
import pytest

from mercer.errors import TableError
from mercer.tables.intervals import calibrated_radius


def test_the_radius_holds_the_level_on_new_rows():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(4000, 1))
    z = X[:, 0] + generator.standard_t(3, 4000)
    radius = calibrated_radius(lambda x: x[:, 0], X[:2000], z[:2000], level=0.8)
    assert abs((abs(z[2000:] - X[2000:, 0]) <= radius).mean() - 0.8) < 0.03


def test_too_few_rows_for_a_level_are_refused():
    with pytest.raises(TableError, match="holds 95% needs 19 validation rows, but there are 10"):
        calibrated_radius(lambda x: x[:, 0], np.zeros((10, 1)), np.zeros(10), level=0.95)
