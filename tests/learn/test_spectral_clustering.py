import numpy as np
import pytest
import torch
from sklearn.cluster import SpectralClustering as Twin
from sklearn.datasets import make_blobs, make_moons
from sklearn.manifold import spectral_embedding
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import rbf_kernel

from mercer.kernels import RBF, Linear
from mercer.learn import SpectralClustering
from mercer.learn.spectral_clustering import _embed

# Moons have no links between them when only neighbours are linked.
pytestmark = pytest.mark.filterwarnings("ignore:Graph is not fully connected:UserWarning")

MOONS, _ = make_moons(500, noise=0.05, random_state=0)


@pytest.mark.parametrize("assign_labels", ["kmeans", "discretize", "cluster_qr"])
@pytest.mark.parametrize(
    "arguments",
    [{"gamma": 30.0}, {"affinity": "laplacian", "gamma": 8.0}, {"affinity": "nearest_neighbors", "n_neighbors": 15}],
)
def test_labels_are_the_twins_up_to_names(arguments, assign_labels):
    # Which rotation "discretize" comes to rest at depends on where it starts, so random_state has to mean the same.
    for seed in range(3 if assign_labels == "discretize" else 1):
        ours, theirs = (
            c(2, random_state=seed, assign_labels=assign_labels, **arguments).fit(MOONS).labels_
            for c in (SpectralClustering, Twin)
        )
        assert adjusted_rand_score(ours, theirs) == 1.0


def test_the_embedding_is_scikit_learns_up_to_sign():
    A = rbf_kernel(MOONS, gamma=10.0)
    theirs = spectral_embedding(A, n_components=4, drop_first=False, random_state=0)
    ours = _embed(RBF(0.05**0.5)(MOONS), 4, 1e-9).numpy()
    np.testing.assert_allclose(abs(ours), abs(theirs), rtol=1e-6, atol=1e-6 * abs(theirs).max())


def test_beyond_1000_rows_nothing_is_stored():
    Z, y = make_blobs(1100, centers=[[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]], cluster_std=0.5, random_state=0)
    model = SpectralClustering(3, affinity=RBF(0.5), random_state=0).fit(Z)
    assert adjusted_rand_score(model.labels_, y) > 0.98
    assert not isinstance(model.affinity_matrix_, torch.Tensor)


def test_links_to_neighbours_are_the_twins():
    ours, theirs = (
        c(2, affinity="nearest_neighbors", n_neighbors=12, random_state=0).fit(MOONS).affinity_matrix_.toarray()
        for c in (SpectralClustering, Twin)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_tensors_in_tensors_out():
    labels = SpectralClustering(2, affinity=RBF(0.2), random_state=0).fit_predict(torch.from_numpy(MOONS[:80]).float())
    assert isinstance(labels, torch.Tensor)


@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        ({"n_clusters": 11}, MOONS[:10], "n_clusters=11"),
        ({"n_clusters": 2}, MOONS[:1], "at least 2 are needed"),
        ({"n_clusters": 2, "assign_labels": "nearest"}, MOONS[:10], "assign_labels must be one of"),
        ({"n_clusters": 2, "affinity": "precomputed"}, MOONS[:10], "must be a square matrix"),
        ({"n_clusters": 2, "affinity": "precomputed"}, -np.ones((3, 3)), "has negative values"),
        ({"n_clusters": 2, "affinity": Linear()}, np.array([[1.0], [-1.0], [2.0]]), "has negative values"),
        ({"n_clusters": 2, "affinity": "nearest_neighbors", "n_neighbors": 11}, MOONS[:10], "n_neighbors must be"),
    ],
)
def test_what_cannot_be_is_refused(arguments, data, message):
    with pytest.raises(ValueError, match=message):
        SpectralClustering(**arguments).fit(data)


def test_a_graph_in_parts_is_a_warning():
    A = np.kron(np.eye(2), np.ones((3, 3)))
    with pytest.warns(UserWarning, match="not fully connected"):
        labels = SpectralClustering(2, affinity="precomputed", random_state=0).fit_predict(A)
    assert adjusted_rand_score(labels, [0, 0, 0, 1, 1, 1]) == 1.0


def test_a_loaded_model_has_the_labels_of_the_saved_one(tmp_path):
    for affinity in (RBF(0.2), "nearest_neighbors"):
        model = SpectralClustering(2, affinity=affinity, random_state=0, n_neighbors=15).fit(MOONS[:200])
        model.save(tmp_path / "model")
        np.testing.assert_array_equal(SpectralClustering.load(tmp_path / "model").labels_, model.labels_)
