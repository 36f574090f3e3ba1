import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from mercer.errors import ShapeError
from mercer.kernels import RBF
from mercer.learn import KernelKMeans

X = np.random.default_rng(0).normal(size=(500, 3))
WEIGHTS = np.random.default_rng(1).uniform(0.0, 3.0, size=500)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_with_a_linear_kernel_it_is_scikit_learns_kmeans(weights):
    theirs = KMeans(5, init=X[:5], n_init=1, tol=0.0, algorithm="lloyd").fit(X, sample_weight=weights)
    ours = KernelKMeans(5, kernel="linear", init=X[:5], tol=0.0, algorithm="lloyd").fit(X, sample_weight=weights)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-10)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X + 0.1), theirs.predict(X + 0.1))
    assert ours.score(X) == pytest.approx(theirs.score(X), rel=1e-10)


def inertia_by_definition(K, labels, weights):
    total = 0.0
    for c in np.unique(labels):
        w = np.where(labels == c, weights, 0.0)
        mean = w / w.sum()
        total += w @ (np.diag(K) - 2 * K @ mean + mean @ K @ mean)
    return total


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_inertia_is_that_of_the_labels_and_no_single_move_lowers_it(dtype):
    Z, weights = X[:90].astype(dtype), WEIGHTS[:90]
    model = KernelKMeans(4, kernel=RBF(0.8), tol=0.0, random_state=0).fit(Z, sample_weight=weights)
    K = RBF(0.8)(Z.astype(np.float64)).to_dense().numpy()
    found = inertia_by_definition(K, model.labels_, weights)
    assert model.inertia_ == pytest.approx(found, rel=1e-9)
    for row in range(90):
        for c in range(4):
            moved = model.labels_.copy()
            moved[row] = c
            assert inertia_by_definition(K, moved, weights) >= found * (
                1.0 - 1e-6 if dtype == np.float32 else 1.0 - 1e-12
            )
    # Where no move is left, every row is with its nearest mean.
    np.testing.assert_array_equal(model.transform(Z).argmin(1), model.labels_)
    np.testing.assert_array_equal(model.predict(Z), model.labels_)


def test_lloyds_algorithm_comes_to_rest_where_single_moves_still_help():
    Z, weights = X[:90], WEIGHTS[:90]
    options = {"kernel": RBF(0.8), "tol": 0.0, "n_init": 1}
    for seed in range(5):
        rest = KernelKMeans(4, **options, algorithm="lloyd", random_state=seed).fit(Z, sample_weight=weights)
        np.testing.assert_array_equal(rest.transform(Z).argmin(1), rest.labels_)
        moved = KernelKMeans(4, **options, random_state=seed).fit(Z, sample_weight=weights)
        assert moved.inertia_ < rest.inertia_


def test_a_weight_of_two_is_two_rows_and_a_weight_of_zero_is_none():
    weights = np.r_[np.full(20, 2.0), np.ones(30), np.zeros(10)]
    init = X[20:23]
    # With single moves two rows go one by one, and may rest elsewhere than one of weight two.
    options = {"kernel": RBF(), "init": init, "tol": 0.0, "algorithm": "lloyd"}
    weighted = KernelKMeans(3, **options).fit(X[:60], sample_weight=weights)
    repeated = KernelKMeans(3, **options).fit(np.r_[X[:50], X[:20]])
    np.testing.assert_array_equal(weighted.labels_[:50], repeated.labels_[:50])
    assert weighted.inertia_ == pytest.approx(repeated.inertia_)


def test_the_best_of_ten_runs_is_nearly_always_the_best_of_all_partitions():
    everything = (np.arange(1, 2**8)[:, None] >> np.arange(9)) & 1  # of 9 rows into two, up to names
    draw, reached, by_twin = np.random.default_rng(5), 0, 0
    for _ in range(20):
        Z, weights = draw.normal(size=(9, 3)), draw.uniform(0.0, 3.0, size=9)
        K = RBF(0.8)(Z).to_dense().numpy()
        best = min(inertia_by_definition(K, labels, weights) for labels in everything)
        model = KernelKMeans(2, kernel=RBF(0.8), n_init=10, tol=0.0, random_state=0).fit(Z, sample_weight=weights)
        assert model.inertia_ >= best - 1e-9
        reached += model.inertia_ == pytest.approx(best)
        # scikit-learn's on the exact features of these rows
        values, vectors = np.linalg.eigh(K)
        features = vectors * np.sqrt(values.clip(0.0))
        theirs = KMeans(2, n_init=10, tol=0.0, random_state=0).fit(features, sample_weight=weights)
        by_twin += theirs.inertia_ == pytest.approx(best)
    # On 30 other sets 28 were reached, and 17 by the twin, which has Lloyd's algorithm alone.
    assert reached >= 17
    assert by_twin < reached


def test_many_starts_are_the_best_of_runs_from_each():
    draw = torch.Generator().manual_seed(3)
    options = {"kernel": RBF(0.5), "random_state": draw}
    one = [KernelKMeans(6, n_init=1, **options).fit(X[:200]).inertia_ for _ in range(4)]
    assert len(set(np.round(one, 6))) > 1
    draw.manual_seed(3)
    assert KernelKMeans(6, n_init=4, **options).fit(X[:200]).inertia_ == pytest.approx(min(one), rel=1e-9)


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_precomputed_values_give_the_same_and_predict(init):
    K = RBF(0.7)(X[:80]).to_dense().numpy()
    direct = KernelKMeans(3, kernel=RBF(0.7), init=init, random_state=0).fit(X[:80])
    stored = KernelKMeans(3, kernel="precomputed", init=init, random_state=0).fit(K)
    np.testing.assert_array_equal(stored.labels_, direct.labels_)
    np.testing.assert_array_equal(stored.predict(K), direct.labels_)
    with pytest.raises(ValueError, match="does not give k"):
        stored.transform(K)


def test_sparse_rows_and_tensors():
    S = sparse.random_array((60, 30), density=0.2, rng=np.random.default_rng(0), format="csr")
    for kernel in ("linear", "rbf"):
        dense = KernelKMeans(3, kernel=kernel, init=S.toarray()[:3]).fit(S.toarray())
        model = KernelKMeans(3, kernel=kernel, init=S.toarray()[:3]).fit(S)
        np.testing.assert_array_equal(model.labels_, dense.labels_)
        np.testing.assert_allclose(model.transform(S), dense.transform(S.toarray()), atol=1e-7)
    Z = torch.from_numpy(X[:50]).float()
    model = KernelKMeans(3, kernel=RBF(), random_state=0).fit(Z)
    assert isinstance(model.labels_, torch.Tensor)
    assert torch.equal(model.predict(Z), model.labels_)
    assert model.transform(Z).dtype == torch.float32


def test_fewer_different_points_than_clusters_is_a_warning():
    with pytest.warns(ConvergenceWarning, match="distinct clusters"):
        model = KernelKMeans(3, kernel=RBF(), random_state=0).fit(np.repeat(X[:2], 4, axis=0))
    assert len(set(model.labels_)) == 2
    assert model.inertia_ == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_clusters": 11}, ValueError, "n_samples=10 should be >= n_clusters=11"),
        ({"n_clusters": 0}, ValueError, "n_clusters must be a whole number"),
        ({"init": "farthest"}, ValueError, "init must be"),
        ({"algorithm": "elkan"}, ValueError, "algorithm must be one of hartigan, lloyd"),
        ({"n_clusters": 2, "init": X[:3]}, ShapeError, "init must hold 2 points of 3 columns"),
        ({"kernel": "precomputed"}, ValueError, "must be a square kernel matrix"),
    ],
)
def test_what_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        KernelKMeans(**arguments).fit(X[:10])


def test_a_loaded_model_is_the_saved_one(tmp_path):
    model = KernelKMeans(3, kernel=RBF(), random_state=0).fit(X[:50])
    model.save(tmp_path / "model")
    loaded = KernelKMeans.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(loaded.labels_, model.labels_)
