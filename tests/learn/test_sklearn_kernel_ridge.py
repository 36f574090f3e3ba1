"""scikit-learn's own tests of KernelRidge, run with ours in its place."""

import pytest
import sklearn.tests.test_kernel_ridge as theirs

from mercer.learn import KernelRidge


@pytest.fixture(autouse=True)
def _ours_in_its_place(monkeypatch):
    monkeypatch.setattr(theirs, "KernelRidge", KernelRidge)


def test_there_are_tests():
    assert len([name for name in dir(theirs) if name.startswith("test_")]) >= 7


globals().update({name: value for name, value in vars(theirs).items() if name.startswith("test_")})
