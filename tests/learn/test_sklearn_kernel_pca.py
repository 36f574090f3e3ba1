"""scikit-learn's own tests of KernelPCA, run with ours in its place."""

import pytest
import sklearn.decomposition.tests.test_kernel_pca as theirs

from mercer.learn import KernelPCA

# Their perceptrons stop after 5 rounds.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def global_random_seed():
    """One of the seeds that scikit-learn's own runs use."""
    return 42


@pytest.fixture(autouse=True)
def _ours_in_its_place(monkeypatch):
    monkeypatch.setattr(theirs, "KernelPCA", KernelPCA)


def test_there_are_tests():
    assert len([name for name in dir(theirs) if name.startswith("test_")]) >= 20


globals().update({name: value for name, value in vars(theirs).items() if name.startswith("test_")})
