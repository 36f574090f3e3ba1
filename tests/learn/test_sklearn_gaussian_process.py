"""scikit-learn's own tests of GaussianProcessRegressor, run with ours in its place."""

import pytest
import sklearn.gaussian_process.tests.test_gpr as theirs

from mercer.learn import GaussianProcessRegressor


@pytest.fixture(autouse=True)
def _ours_in_its_place(monkeypatch):
    monkeypatch.setattr(theirs, "GaussianProcessRegressor", GaussianProcessRegressor)


globals().update({name: value for name, value in vars(theirs).items() if name.startswith("test_")})
