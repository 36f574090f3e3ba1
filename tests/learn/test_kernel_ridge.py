import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.gaussian_process import kernels as theirs
from sklearn.kernel_ridge import KernelRidge as Twin
from sklearn.metrics.pairwise import rbf_kernel

from mercer import config
from mercer.errors import ApproximationWarning, MemoryBudgetError, NotConverged, ShapeError
from mercer.kernels import RBF, Hamming, Linear, Polynomial, White
from mercer.learn import KernelRidge

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4))
Y = np.column_stack([np.sin(X[:, 0]), X[:, 1] ** 2]) + 0.1 * RNG.normal(size=(80, 2))
Z = RNG.normal(size=(15, 4))
WEIGHTS = RNG.random(80)
WEIGHTS[[2, 50]] = 0.0
NAMED = ["linear", "rbf", "laplacian", "poly", "polynomial", "cosine"]


@pytest.mark.parametrize("kernel", [*NAMED, "chi2", "sigmoid"])
@pytest.mark.parametrize("sample_weight", [None, WEIGHTS, 3.0], ids=["equal", "weighted", "scalar"])
@pytest.mark.filterwarnings("ignore:Singular matrix:UserWarning")  # scikit-learn's, of its indefinite sigmoid
def test_same_answer_as_the_twin(kernel, sample_weight):
    points, others = (abs(X), abs(Z)) if kernel == "chi2" else (X, Z)
    arguments = {"alpha": 0.3, "kernel": kernel, "gamma": 0.4, "degree": 2, "coef0": 0.5}
    ours = KernelRidge(**arguments).fit(points, Y, sample_weight=sample_weight)
    twin = Twin(**arguments).fit(points, Y, sample_weight=sample_weight)
    np.testing.assert_allclose(ours.predict(others), twin.predict(others), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(ours.dual_coef_, twin.dual_coef_, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("gamma", [None, 0.7])
@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly"])
def test_same_answer_as_the_twin_at_500_rows_to_1e_6(kernel, gamma):
    points = RNG.normal(size=(500, 3))
    y = np.sin(points).sum(1)
    ours = KernelRidge(alpha=1e-3, kernel=kernel, gamma=gamma).fit(points, y)
    twin = Twin(alpha=1e-3, kernel=kernel, gamma=gamma).fit(points, y)
    np.testing.assert_allclose(ours.predict(Z[:, :3]), twin.predict(Z[:, :3]), atol=1e-6)


def test_arguments_and_defaults_are_the_twins():
    ours = KernelRidge().get_params()
    assert Twin().get_params().items() <= ours.items()


@pytest.mark.parametrize(
    "kernel",
    [
        RBF(lengthscale=[1.0, 2.0, 1.0, 0.5]),
        "RBF(lengthscale=[1.0, 2.0, 1.0, 0.5])",
        theirs.RBF([1.0, 2.0, 1.0, 0.5]),
        lambda x, y: float(np.exp(-0.5 * (((x - y) / [1.0, 2.0, 1.0, 0.5]) ** 2).sum())),
    ],
    ids=["mercer", "text", "scikit-learn", "function"],
)
def test_every_way_to_give_a_kernel_gives_the_same(kernel):
    scaled = [1.0, 2.0, 1.0, 0.5]
    expected = Twin(alpha=0.1, kernel="rbf", gamma=0.5).fit(X / scaled, Y).predict(Z / scaled)
    np.testing.assert_allclose(KernelRidge(0.1, kernel=kernel).fit(X, Y).predict(Z), expected, atol=1e-9)


def test_kernel_params_reach_a_function():
    def kernel(x, y, *, width):
        return float(np.exp(-((x - y) ** 2).sum() / width))

    ours = KernelRidge(kernel=kernel, kernel_params={"width": 3.0}).fit(X, Y[:, 0])
    np.testing.assert_allclose(ours.predict(Z), Twin(kernel="rbf", gamma=1 / 3).fit(X, Y[:, 0]).predict(Z), atol=1e-9)


def test_one_alpha_a_target():
    ours = KernelRidge([0.1, 2.0], kernel="rbf").fit(X, Y)
    twin = Twin([0.1, 2.0], kernel="rbf").fit(X, Y)
    np.testing.assert_allclose(ours.predict(Z), twin.predict(Z), atol=1e-10)
    few = KernelRidge([0.1, 2.0]).fit(X, Y)
    np.testing.assert_allclose(few.predict(Z), Twin([0.1, 2.0]).fit(X, Y).predict(Z), atol=1e-10)


@pytest.mark.parametrize("sample_weight", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csc_matrix])
@pytest.mark.parametrize(
    "kernel", ["linear", "poly", "rbf", Linear(lengthscale=[1.0, 2.0, 3.0, 4.0], bias=0.5)], ids=str
)
def test_sparse_rows_give_what_dense_ones_give(kernel, container, sample_weight):
    scattered = np.where(RNG.random(X.shape) < 0.5, X, 0.0)
    dense = KernelRidge(0.2, kernel=kernel).fit(scattered, Y, sample_weight=sample_weight)
    thin = KernelRidge(0.2, kernel=kernel).fit(container(scattered), Y, sample_weight=sample_weight)
    np.testing.assert_allclose(thin.predict(container(Z)), dense.predict(Z), atol=1e-10)
    assert sparse.issparse(thin.X_fit_)


def test_wide_sparse_rows_are_never_made_dense():
    points = sparse.random(30, 100_000, density=1e-3, format="csr", rng=np.random.default_rng(0))
    y = RNG.normal(size=30)
    config.set_memory_budget(3_000_000)  # a dense copy takes 24 MB
    expected = np.linalg.solve((points @ points.T).toarray() + np.eye(30), y)
    np.testing.assert_allclose(KernelRidge().fit(points, y).dual_coef_, expected, atol=1e-9)
    with pytest.raises(MemoryBudgetError, match="linear or polynomial kernel"):
        KernelRidge(kernel="rbf").fit(points, y)


@pytest.mark.parametrize("kernel", [Linear([1.0, 2.0, 3.0, 4.0], bias=0.5), Polynomial(2, 0.5, 3.0)], ids=repr)
def test_few_sparse_rows_are_solved_over_rows(kernel):
    thin = KernelRidge(0.2, kernel=kernel).fit(sparse.csr_array(X[:6]), Y[:6])
    np.testing.assert_allclose(
        thin.predict(sparse.csr_array(Z)), KernelRidge(0.2, kernel=kernel).fit(X[:6], Y[:6]).predict(Z), atol=1e-10
    )


def test_precomputed_kernel_values():
    ours = KernelRidge(0.5, kernel="precomputed").fit(rbf_kernel(X), Y, sample_weight=WEIGHTS)
    direct = KernelRidge(0.5, kernel="rbf").fit(X, Y, sample_weight=WEIGHTS)
    np.testing.assert_allclose(ours.predict(rbf_kernel(Z, X)), direct.predict(Z), atol=1e-10)
    with pytest.raises(ValueError, match="must be a square kernel matrix"):
        KernelRidge(kernel="precomputed").fit(X, Y)
    with pytest.raises(ValueError, match="leave n_centers out"):
        KernelRidge(kernel="precomputed", n_centers=3).fit(rbf_kernel(X), Y)


def test_few_features_are_solved_over_them_and_many_rows_over_rows():
    assert "over 4 features" in KernelRidge().fit(X, Y).solver_
    assert "over 80 rows" in KernelRidge(kernel="rbf").fit(X, Y).solver_
    assert "over 3 rows" in KernelRidge().fit(X[:3], Y[:3]).solver_


def test_float32_rows_give_float64_coefficients_and_float32_predictions():
    single = KernelRidge(1e-4, kernel=RBF()).fit(X.astype(np.float32), Y)
    double = KernelRidge(1e-4, kernel=RBF()).fit(X.astype(np.float32).astype(np.float64), Y)
    assert single.dual_coef_.dtype == np.float64
    assert single.predict(Z.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.dual_coef_, double.dual_coef_, rtol=1e-9)
    assert single.residual_ < 1e-6


def test_float32_rows_are_compared_with_the_float64_rows_of_fit_in_float64():
    model = KernelRidge(1e-6, kernel=RBF(3.0)).fit(X, Y)
    single = Z.astype(np.float32)
    expected = model.predict(single.astype(np.float64))
    assert abs(model.dual_coef_).max() > 1e3  # so that rounding the rows of fit would show
    np.testing.assert_allclose(model.predict(single), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_tensors_in_tensors_out(dtype, kernel):
    points, targets = torch.from_numpy(X).to(dtype), torch.from_numpy(Y).to(dtype)
    model = KernelRidge(0.1, kernel=kernel).fit(points, targets)
    prediction = model.predict(torch.from_numpy(Z).to(dtype))
    assert isinstance(prediction, torch.Tensor)
    assert prediction.dtype == dtype
    assert isinstance(model.dual_coef_, torch.Tensor)
    assert isinstance(model.predict(Z), np.ndarray)
    expected = KernelRidge(0.1, kernel=kernel).fit(X, Y).predict(Z)
    np.testing.assert_allclose(prediction, expected, atol=1e-5 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("sample_weight", [None, WEIGHTS], ids=["equal", "weighted"])
def test_leave_one_out_agrees_with_refitting(kernel, sample_weight):
    model = KernelRidge([0.1, 2.0], kernel=kernel).fit(X, Y, sample_weight=sample_weight)
    for i in (0, 2, 79):
        rest = np.arange(80) != i
        weights = None if sample_weight is None else sample_weight[rest]
        again = KernelRidge([0.1, 2.0], kernel=kernel).fit(X[rest], Y[rest], sample_weight=weights)
        np.testing.assert_allclose(model.leave_one_out()[i], Y[i] - again.predict(X[[i]])[0], atol=1e-10)


def test_leave_one_out_of_precomputed_values():
    direct = KernelRidge(0.5, kernel="rbf").fit(X, Y, sample_weight=WEIGHTS).leave_one_out()
    values = KernelRidge(0.5, kernel="precomputed").fit(rbf_kernel(X), Y, sample_weight=WEIGHTS).leave_one_out()
    np.testing.assert_allclose(values, direct, atol=1e-10)


def test_intervals_hold_new_truths_as_often_as_they_say():
    truth = np.random.default_rng(1).normal(size=(2400, 3))
    noisy = np.sin(truth[:, 0]) + 0.3 * np.random.default_rng(2).normal(size=2400)
    model = KernelRidge(0.5, kernel="rbf").fit(truth[:400], noisy[:400])
    for level in (0.5, 0.9):
        middle, lower, upper = model.predict(truth[400:], interval=level)
        np.testing.assert_allclose(middle, model.predict(truth[400:]))
        share = np.mean((lower <= noisy[400:]) & (noisy[400:] <= upper))
        assert abs(share - level) < 0.06  # 400 errors decide the width: a standard error of 0.025 at most


def test_interval_of_several_targets_and_of_tensors():
    model = KernelRidge(0.5, kernel="rbf").fit(torch.from_numpy(X), torch.from_numpy(Y))
    middle, lower, upper = model.predict(torch.from_numpy(Z), interval=0.8)
    assert middle.shape == lower.shape == upper.shape == (15, 2)
    assert isinstance(lower, torch.Tensor)
    assert bool((lower < middle).all())


def test_a_singular_system_warns_and_gives_the_least_squares_answer():
    points = np.vstack([X, X])
    targets = np.concatenate([Y[:, 0], Y[:, 0] + 1.0])  # two truths at each point
    with pytest.warns(ApproximationWarning, match="singular to round-off.*Give a larger alpha"):
        model = KernelRidge(0.0, kernel="rbf").fit(points, targets)
    np.testing.assert_allclose(model.predict(X), Y[:, 0] + 0.5, atol=1e-6)


def test_a_large_singular_system_raises_instead(monkeypatch):
    from mercer.learn import dual

    monkeypatch.setattr(dual, "_LEAST_SQUARES_LIMIT", 50)
    with pytest.raises(NotConverged, match=r"alpha = 0 on 160 rows.*Give a larger alpha") as raised:
        KernelRidge(0.0, kernel="rbf").fit(np.vstack([X, X]), RNG.normal(size=160))
    assert raised.value.solution.x.shape == (160, 1)


def test_columns_by_name_of_a_table():
    import pandas as pd

    table = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    kernel = RBF().on(["a", "c"]) + Hamming().on("d")
    by_name = KernelRidge(kernel=kernel).fit(table, Y)
    by_position = KernelRidge(kernel=RBF().on([0, 2]) + Hamming().on(3)).fit(X, Y)
    others = pd.DataFrame(Z, columns=["a", "b", "c", "d"])
    np.testing.assert_allclose(by_name.predict(others), by_position.predict(Z), atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alpha": -1.0}, ValueError, "alpha must be >= 0 and finite, not -1.0"),
        ({"alpha": [1.0, 2.0, 3.0]}, ValueError, "one for each of the 2 targets"),
        ({"kernel": "nonsense"}, ValueError, "nonsense"),
        ({"kernel": 3}, TypeError, "kernel must be a kernel of mercer, text, a function"),
        ({"kernel": "rbf", "n_centers": 0}, ValueError, "n_centers must be a whole number >= 1 or None, not 0"),
        ({"kernel": "rbf", "n_centers": 5, "center_sampling": "?"}, ValueError, "'uniform' or 'pivoted', not '\\?'"),
        ({"kernel": RBF() + White(), "n_centers": 5}, ValueError, r"has noise \(White\).*add its variance to alpha"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        KernelRidge(**arguments).fit(X, Y)


def test_bad_interval():
    model = KernelRidge(kernel="rbf").fit(X, Y)
    with pytest.raises(ValueError, match=r"share above 0 and below 1, such as 0.9, not 90"):
        model.predict(Z, interval=90)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_images_have_to_be_rows_and_the_message_says_how(kind):
    images = kind(np.ones((4, 1, 4, 4)))
    with pytest.raises(ShapeError, match=r"X.reshape\(len\(X\), -1\); kernels of images .* shape= and channels="):
        KernelRidge(kernel="HierarchicalConv(filters=[2], ndim=2)").fit(images, np.ones(4))
