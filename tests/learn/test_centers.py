import numpy as np
import pytest
import torch
from scipy import sparse

from mercer.errors import NotConverged
from mercer.kernels import RBF, Matern
from mercer.learn import KernelRidge, KernelRidgeCV, centers
from mercer.learn.centers import CenterFeatures
from mercer.learn.similarity import Similarity

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 2))
Y = np.column_stack([np.sin(X[:, 0]), X[:, 1] ** 2]) + 0.1 * RNG.normal(size=(200, 2))
Z = RNG.normal(size=(20, 2))
WEIGHTS = RNG.random(200)


def by_definition(kernel, chosen, alpha, weights=None):
    """The minimiser over functions of the centres, from the normal equations in float64."""
    S = np.diag(np.ones(200) if weights is None else weights)
    K, M = kernel(X, X[chosen]).to_dense().numpy(), kernel(X[chosen]).to_dense().numpy()
    coefficients = np.linalg.lstsq(K.T @ S @ K + alpha * M, K.T @ S @ Y, rcond=None)[0]
    return kernel(Z, X[chosen]).to_dense().numpy() @ coefficients


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("sampling", ["uniform", "pivoted"])
def test_centres_agree_with_the_definition(sampling, weights):
    model = KernelRidge(0.1, kernel=Matern(), n_centers=30, center_sampling=sampling, random_state=3)
    model.fit(X, Y, sample_weight=weights)
    assert model.dual_coef_.shape == (30, 2)
    np.testing.assert_array_equal(model.X_fit_, X[model.center_indices_])
    np.testing.assert_allclose(
        model.predict(Z), by_definition(Matern(), model.center_indices_, 0.1, weights), atol=1e-6
    )


def test_targets_of_different_alphas_share_their_centres():
    draw = np.random.default_rng(0)  # would draw other centres for each target
    model = KernelRidge([0.1, 5.0, 0.1], kernel=Matern(), n_centers=30, random_state=draw)
    model.fit(X, np.column_stack([Y, Y[:, 0]]))
    for j, alpha in enumerate([0.1, 5.0]):
        expected = by_definition(Matern(), model.center_indices_, alpha)[:, j]
        np.testing.assert_allclose(model.predict(Z)[:, j], expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(Z)[:, 2], model.predict(Z)[:, 0], atol=1e-9)


def test_a_model_of_all_rows_has_no_centres_left_from_a_fit_before():
    model = KernelRidge(0.1, kernel="rbf", n_centers=10).fit(X, Y)
    assert len(model.center_indices_) == 10
    assert not hasattr(model.set_params(n_centers=None).fit(X, Y), "center_indices_")


def test_all_rows_as_centres_are_the_exact_model():
    exact = KernelRidge(0.1, kernel=Matern()).fit(X, Y)
    np.testing.assert_allclose(
        KernelRidge(0.1, kernel=Matern(), n_centers=999).fit(X, Y).predict(Z), exact.predict(Z), atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_conjugate_gradients_agree_with_the_normal_matrix(monkeypatch, dtype, weights):
    points = torch.from_numpy(X).to(dtype)
    arguments = {"alpha": 1e-2, "kernel": RBF(), "n_centers": 40, "rtol": 1e-8}
    direct = KernelRidge(**arguments).fit(points, Y, sample_weight=weights)
    monkeypatch.setattr(centers, "_pass_seconds", lambda n, m: 1e9 if n == 200 else 0.0)
    iterative = KernelRidge(**arguments).fit(points, Y, sample_weight=weights)
    assert "normal matrix" in direct.solver_
    assert "conjugate gradients" in iterative.solver_
    assert iterative.residual_ < 1e-8
    assert 0 < iterative.n_iter_ < 100
    np.testing.assert_allclose(iterative.predict(points), direct.predict(points), atol=1e-5)


def test_conjugate_gradients_that_do_not_converge_say_so(monkeypatch):
    monkeypatch.setattr(centers, "_pass_seconds", lambda n, m: 1e9 if n == 200 else 0.0)
    with pytest.raises(NotConverged, match=r"40 centres: a relative residual of 1e-30.*Give a larger alpha") as raised:
        KernelRidge(1e-2, kernel=RBF(), n_centers=40, rtol=1e-30).fit(X, Y)
    assert raised.value.solution.coefficients.shape == (40, 2)


def test_sparse_rows():
    thin = KernelRidge(0.1, kernel="rbf", n_centers=30).fit(sparse.csr_array(X), Y)
    dense = KernelRidge(0.1, kernel="rbf", n_centers=30).fit(X, Y)
    np.testing.assert_allclose(thin.predict(sparse.csr_array(Z)), dense.predict(Z), atol=1e-10)


def test_rows_of_weight_0_are_no_centres_and_do_not_matter():
    weights = np.repeat([1.0, 0.0], 100)
    model = KernelRidge(0.1, kernel="rbf", n_centers=150).fit(X, Y, sample_weight=weights)
    assert model.center_indices_.max() < 100
    changed = np.where(weights[:, None] > 0, Y, 1e6)
    np.testing.assert_allclose(
        KernelRidge(0.1, kernel="rbf", n_centers=150).fit(X, changed, sample_weight=weights).predict(Z),
        model.predict(Z),
    )


def test_pivoted_centres_leave_less_unexplained_than_uniform_ones():
    clustered = torch.from_numpy(np.concatenate([0.01 * RNG.normal(size=(950, 2)), 3.0 * RNG.normal(size=(50, 2))]))
    similarity = Similarity(RBF())
    left = {}
    for sampling in ("uniform", "pivoted"):
        chosen = centers.choose_centers(similarity, clustered, 20, weights=None, sampling=sampling, random_state=0)
        assert len(chosen) == len(chosen.unique()) <= 20
        features = CenterFeatures.of(similarity, clustered, clustered[chosen])
        left[sampling] = 1000.0 - float(features.block(slice(0, 1000)).square().sum())
    assert left["pivoted"] < 0.75 * left["uniform"]


def test_random_state_repeats_the_centres():
    first, again, other = (
        KernelRidge(kernel="rbf", n_centers=10, random_state=seed).fit(X, Y).center_indices_ for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_leave_one_out_of_centres_agrees_with_refitting_on_the_same_centres():
    model = KernelRidgeCV([0.1], kernel=Matern(), n_centers=30).fit(X, Y, sample_weight=WEIGHTS)
    similarity, points = Similarity(Matern()), torch.from_numpy(X)
    features = CenterFeatures.of(similarity, points, points[model.center_indices_])
    F = features.block(slice(0, 200)).numpy()
    for i in (0, 77):
        rest = np.arange(200) != i
        A = F[rest].T @ (WEIGHTS[rest, None] * F[rest]) + 0.1 * np.eye(30)
        left_out = F[i] @ np.linalg.solve(A, F[rest].T @ (WEIGHTS[rest, None] * Y[rest]))
        np.testing.assert_allclose(model.leave_one_out()[i], Y[i] - left_out, atol=1e-8)


def test_leave_one_out_without_the_rows_says_what_to_do():
    model = KernelRidge(kernel="rbf", n_centers=10).fit(X, Y)
    with pytest.raises(ValueError, match=r"n_centers=10 does not keep. Use KernelRidgeCV.*calibrate"):
        model.predict(Z, interval=0.9)


def test_a_kernel_that_is_not_positive_definite_is_refused():
    with pytest.raises(ValueError, match=r"not positive definite.*Leave n_centers out"):
        KernelRidge(kernel="sigmoid", gamma=3.0, coef0=-2.0, n_centers=50).fit(X, Y)
