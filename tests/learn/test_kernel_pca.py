import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import make_circles
from sklearn.decomposition import KernelPCA as Twin

from mercer.config import set_memory_budget
from mercer.errors import FileFormatError, MemoryBudgetError, NotConverged, ShapeError
from mercer.kernels import RBF, Matern
from mercer.learn import KernelPCA
from mercer.learn.pre_images import fixed_point_pre_images

X = np.random.default_rng(0).normal(size=(500, 4))
NEW = np.random.default_rng(1).normal(size=(17, 4))


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel": "linear", "alpha": 0.1},
        {"kernel": "rbf", "gamma": 0.3, "alpha": 0.1},
        {"kernel": "poly", "degree": 2, "alpha": 10.0},
        {"kernel": "cosine", "alpha": 0.1},
        {"kernel": "sigmoid", "gamma": 0.01},
    ],
    ids=lambda a: a["kernel"],
)
def test_everything_is_as_the_twin_has_it(arguments):
    ours, theirs = (c(3, fit_inverse_transform=True, **arguments) for c in (KernelPCA, Twin))
    T = theirs.fit_transform(X)
    scale = abs(T).max()
    np.testing.assert_allclose(ours.fit_transform(X), T, atol=1e-6 * scale)
    np.testing.assert_allclose(ours.eigenvalues_, theirs.eigenvalues_, rtol=1e-6)
    np.testing.assert_allclose(ours.transform(NEW), theirs.transform(NEW), atol=1e-6 * scale)
    np.testing.assert_allclose(ours.inverse_transform(T), theirs.inverse_transform(T), atol=1e-6)


@pytest.mark.parametrize("solver", ["auto", "randomized"])
def test_beyond_1000_rows_nothing_is_stored_and_the_answer_is_the_twins(solver):
    Z = np.random.default_rng(0).normal(size=(1200, 3))
    ours = KernelPCA(3, kernel="rbf", gamma=0.1, eigen_solver=solver, random_state=0).fit(Z)
    theirs = Twin(3, kernel="rbf", gamma=0.1, eigen_solver="dense").fit(Z)
    np.testing.assert_allclose(ours.eigenvalues_, theirs.eigenvalues_, rtol=1e-9)
    np.testing.assert_allclose(ours.transform(Z[:50]), theirs.transform(Z[:50]), atol=1e-6)


def test_the_memory_budget_allows_many_rows_but_not_their_matrix():
    Z = np.random.default_rng(0).normal(size=(1500, 2))
    set_memory_budget(16 * 2**20)  # the matrix in float64 has 17 MB
    assert KernelPCA(2, kernel="rbf").fit(Z).eigenvalues_.shape == (2,)
    with pytest.raises(MemoryBudgetError, match="n_components"):
        KernelPCA(2, kernel="rbf", eigen_solver="dense").fit(Z)


@pytest.mark.parametrize("n", [5, 1100])
def test_points_that_are_all_alike_have_no_components(n):
    Z = np.full((n, 3), 7.0)
    np.testing.assert_array_equal(KernelPCA(2, kernel="rbf").fit(Z).transform(Z[:2]), np.zeros((2, 2)))
    assert KernelPCA(2, kernel="rbf", remove_zero_eig=True).fit_transform(Z).shape == (n, 0)


def test_a_constant_column_changes_nothing_and_one_row_has_no_component():
    wide = np.column_stack([X, np.full(len(X), 3.0)])
    np.testing.assert_allclose(
        KernelPCA(2, kernel=RBF(1.5)).fit_transform(wide), KernelPCA(2, kernel=RBF(1.5)).fit_transform(X), atol=1e-9
    )
    assert KernelPCA().fit_transform(X[:1]).shape == (1, 0)


def test_sparse_rows_give_the_same_as_dense_ones():
    S = sparse.random_array((60, 30), density=0.2, rng=np.random.default_rng(0), format="csr")
    for kernel in ("linear", "rbf"):
        dense = KernelPCA(2, kernel=kernel).fit(S.toarray())
        np.testing.assert_allclose(
            KernelPCA(2, kernel=kernel).fit(S).transform(S), dense.transform(S.toarray()), atol=1e-9
        )
    with pytest.raises(NotImplementedError, match="sparse"):
        KernelPCA(2, fit_inverse_transform=True).fit(S)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pre_image", ["ridge", "fixed-point"])
def test_tensors_in_tensors_out(dtype, pre_image):
    model = KernelPCA(2, kernel=RBF(2.0), fit_inverse_transform=True, pre_image=pre_image)
    Z = torch.from_numpy(X[:60]).to(dtype)
    T = model.fit_transform(Z)
    assert T.dtype == model.transform(Z).dtype == model.inverse_transform(T).dtype == dtype
    torch.testing.assert_close(model.transform(Z), T, rtol=1e-5, atol=1e-6)


def test_a_fixed_point_is_a_maximum_of_its_likeness_to_the_projection():
    model = KernelPCA(3, kernel=2.0 * RBF([1.0, 2.0, 1.5, 1.0]), fit_inverse_transform=True, pre_image="fixed-point")
    T = model.fit_transform(X[:80])
    z = torch.tensor(model.inverse_transform(T[:6]), requires_grad=True)
    rows, combination = torch.from_numpy(X[:80]), model._combination()
    gamma = torch.from_numpy(T[:6]) @ combination.mT + 1.0 / 80
    likeness = (model.kernel_(z, rows).to_dense() * gamma).sum(1)
    (gradient,) = torch.autograd.grad(likeness.sum(), z)
    assert float(gradient.abs().max()) < 1e-5
    at_rows = model.kernel_(rows).to_dense() @ gamma.mT  # (80, 6)
    assert bool((likeness >= at_rows.max(0).values - 1e-9).all())


def test_fixed_points_bring_noisy_points_back_to_the_circle():
    clean, _ = make_circles(300, factor=0.999, noise=0.0, random_state=0)
    noisy = clean + np.random.default_rng(0).normal(scale=0.1, size=clean.shape)
    model = KernelPCA(6, kernel=RBF(1.0), fit_inverse_transform=True, pre_image="fixed-point")
    back = model.inverse_transform(model.fit_transform(noisy))
    off = [abs(np.linalg.norm(Z, axis=1) - 1.0).mean() for Z in (noisy, back)]
    assert off[1] < 0.6 * off[0]


def test_a_search_that_does_not_come_to_rest_says_so():
    rows = torch.from_numpy(X[:30])
    with pytest.raises(NotConverged, match="pre_image='ridge'") as error:
        fixed_point_pre_images(
            RBF(1.0), rows, torch.zeros(30, 1, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64),
            rows[:3] + 0.5, rtol=1e-9, max_iter=1,
        )  # fmt: skip
    assert error.value.solution.shape == (3, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components must be a whole number >= 1"),
        ({"eigen_solver": "lanczos"}, ValueError, "eigen_solver must be one of auto, dense"),
        ({"pre_image": "nearest"}, ValueError, "pre_image must be one of"),
        ({"alpha": -1.0}, ValueError, "alpha must be a finite number >= 0"),
        ({"iterated_power": "many"}, ValueError, "iterated_power must be a whole number >= 0"),
        ({"kernel": "precomputed"}, ValueError, "must be a square kernel matrix"),
        (
            {"kernel": Matern(), "fit_inverse_transform": True, "pre_image": "fixed-point"},
            ValueError,
            "is for Gaussian",
        ),
    ],
)
def test_what_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        KernelPCA(**arguments).fit(X[:10])


def test_projections_of_another_width_are_refused():
    model = KernelPCA(2, kernel="rbf", fit_inverse_transform=True).fit(X[:20])
    with pytest.raises(ShapeError, match="there are 2 components"):
        model.inverse_transform(np.zeros((3, 4)))


def test_a_loaded_model_is_the_saved_one(tmp_path):
    for pre_image in ("ridge", "fixed-point"):
        model = KernelPCA(2, kernel=RBF(2.0), fit_inverse_transform=True, pre_image=pre_image).fit(X[:50])
        model.save(tmp_path / "model")
        loaded = KernelPCA.load(tmp_path / "model")
        T = model.transform(NEW)
        np.testing.assert_array_equal(loaded.transform(NEW), T)
        np.testing.assert_array_equal(loaded.inverse_transform(T), model.inverse_transform(T))
    (tmp_path / "model").write_bytes((tmp_path / "model").read_bytes()[:-9])
    with pytest.raises(FileFormatError):
        KernelPCA.load(tmp_path / "model")
