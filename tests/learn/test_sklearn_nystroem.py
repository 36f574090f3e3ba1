"""scikit-learn's own tests of Nystroem and RBFSampler, run with ours in their place."""

import pytest
import sklearn.tests.test_kernel_approximation as theirs

from mercer.learn import Nystroem, RandomFourier

# More components than rows, in their tests.
pytestmark = pytest.mark.filterwarnings("ignore:n_components > n_samples:UserWarning")

# What is left out, and why; docs/guide/scikit-learn.md says the same.
LEFT_OUT = {
    "test_rbf_sampler_fitted_attributes_dtype": "reads random_offset_ and random_weights_, which ours does not have",
    "test_rbf_sampler_dtype_equivalence": "reads random_offset_ and random_weights_, which ours does not have",
}
OURS = ("nystroem", "rbf_sampler", "feature_names_out")


@pytest.fixture(autouse=True)
def _ours_in_its_place(request, monkeypatch):
    if request.node.originalname in LEFT_OUT:
        pytest.skip(LEFT_OUT[request.node.originalname])
    monkeypatch.setattr(theirs, "Nystroem", Nystroem)
    monkeypatch.setattr(theirs, "RBFSampler", RandomFourier)


@pytest.fixture
def global_dtype():
    """What scikit-learn's fixture gives by default."""
    return "float64"


# pytest 10 wants the arguments of this one as a list.
marks = theirs.test_nystroem_approximation_array_api.pytestmark
theirs.test_nystroem_approximation_array_api.pytestmark = [
    pytest.mark.parametrize(m.args[0], list(m.args[1])).mark if m.name == "parametrize" else m for m in marks
]
TESTS = {k: v for k, v in vars(theirs).items() if k.startswith("test_") and any(name in k for name in OURS)}


def test_there_are_tests():
    assert len(TESTS) >= 10


globals().update(TESTS)


# The classes are arguments of this one.
@pytest.mark.parametrize("Estimator", [Nystroem, RandomFourier])
def test_get_feature_names_out(Estimator):
    theirs.test_get_feature_names_out(Estimator)
