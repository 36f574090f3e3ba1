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
    ours = KernelKMeans(5, kernel="linear", init=X[:5], tol=0.0).fit(X, sample_weight=weights)
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
    Z = X[:90].astype(dtype)
    model = KernelKMeans(4, kernel=RBF(0.8), tol=0.0, random_state=0).fit(Z, sample_weight=WEIGHTS[:90])
    K = RBF(0.8)(Z.astype(np.float64)).to_dense().numpy()
    found = inertia_by_definition(K, model.labels_, WEIGHTS[:90])
    assert model.inertia_ == pytest.approx(found, rel=1e-9)
    distances = model.transform(Z)
    # Lloyd has come to rest: every row is with its nearest mean.
    np.testing.assert_array_equal(distances.argmin(1), model.labels_)
    np.testing.assert_array_equal(model.predict(Z), model.labels_)


def test_a_weight_of_two_is_two_rows_and_a_weight_of_zero_is_none():
    weights = np.r_[np.full(20, 2.0), np.ones(30), np.zeros(10)]
    init = X[20:23]
    weighted = KernelKMeans(3, kernel=RBF(), init=init, tol=0.0).fit(X[:60], sample_weight=weights)
    repeated = KernelKMeans(3, kernel=RBF(), init=init, tol=0.0).fit(np.r_[X[:50], X[:20]])
    np.testing.assert_array_equal(weighted.labels_[:50], repeated.labels_[:50])
    assert weighted.inertia_ == pytest.approx(repeated.inertia_)


def test_the_best_of_many_runs_is_often_the_best_of_all_partitions_and_never_below():
    reached = 0
    for first in range(0, 90, 9):
        Z, weights = X[first : first + 9], WEIGHTS[first : first + 9]
        K = RBF(0.8)(Z).to_dense().numpy()
        everything = (np.array([(code >> i) & 1 for i in range(9)]) for code in range(1, 2**8))
        best = min(inertia_by_definition(K, labels, weights) for labels in everything)
        model = KernelKMeans(2, kernel=RBF(0.8), n_init=40, tol=0.0, random_state=0).fit(Z, sample_weight=weights)
        assert model.inertia_ >= best - 1e-9
        reached += model.inertia_ == pytest.approx(best)
    assert reached >= 5  # runs start from rows, from which not every optimum can be reached


def test_restarts_are_the_best_of_runs_from_other_starts():
    one = [KernelKMeans(6, kernel=RBF(0.5), n_init=1, random_state=s).fit(X[:200]).inertia_ for s in range(6)]
    many = KernelKMeans(6, kernel=RBF(0.5), n_init=8, random_state=0).fit(X[:200]).inertia_
    assert len(set(np.round(one, 6))) > 1
    assert many <= np.median(one)


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
