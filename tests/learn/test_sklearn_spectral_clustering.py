"""scikit-learn's own tests of SpectralClustering, run with ours in its place."""

import pytest
import sklearn.cluster.tests.test_spectral as theirs

from mercer.learn import SpectralClustering

pytestmark = pytest.mark.filterwarnings("ignore:Graph is not fully connected:UserWarning")  # of both
TESTS = {
    name: getattr(theirs, name)
    for name in (
        "test_spectral_clustering",
        "test_spectral_clustering_sparse",
        "test_precomputed_nearest_neighbors_filtering",
        "test_affinities",
        "test_n_components",
        "test_verbose",
    )
}  # the others are about functions


@pytest.fixture
def global_random_seed():
    """One of the seeds that scikit-learn's own runs use."""
    return 42


@pytest.fixture(autouse=True)
def _ours_in_its_place(monkeypatch):
    monkeypatch.setattr(theirs, "SpectralClustering", SpectralClustering)


globals().update(TESTS)
