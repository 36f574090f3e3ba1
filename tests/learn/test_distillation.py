"""Self-distillation of kernel models: every round as a refit gives it, weights, saving, what is refused."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn import gaussian_process, kernel_ridge
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

from mercer.errors import FileFormatError, NotConverged
from mercer.learn import (
    GaussianProcessRegressor,
    KernelRidge,
    KernelRidgeClassifier,
    SelfDistillation,
    distill_filter,
    distillation_kernel,
    distillation_tasks,
    optimal_weight,
)
from mercer.learn.distillation_rounds import leave_one_out_weight

ALPHAS = [0.3, 0.6, 0.0, 1.0, 0.2]


def data(n=60, m=20, *, n_targets=None, seed=0):
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(n + m, 3))
    y = np.sin(X[:, 0]) + 0.5 * draw.normal(size=n + m) + 2.0
    if n_targets is not None:
        y = np.stack([y * (j + 1) for j in range(n_targets)], 1)
    return X[:n], y[:n], X[n:], y[n:]


def refits(model, X, y, Z, alphas, *, teacher="previous"):
    """Predictions of every round at Z by fitting again and again."""
    fits = [clone(model).fit(X, y)]
    for alpha in alphas[1:]:
        source = fits[-1] if teacher == "previous" else fits[0]
        fits.append(clone(model).fit(X, alpha * y + (1.0 - alpha) * source.predict(X)))
    return np.array([fit.predict(Z) for fit in fits])


RIDGES = [
    KernelRidge(0.3, kernel="rbf", gamma=0.5),
    KernelRidge(0.3, kernel="RBF(0.8) + 0.1 * Linear()"),
    KernelRidge(0.3),
    KernelRidge(0.3, kernel="rbf", gamma=0.5, n_centers=25),
    kernel_ridge.KernelRidge(alpha=0.3, kernel="laplacian", gamma=0.5),
]


@pytest.mark.parametrize("teacher", ["previous", "first"])
@pytest.mark.parametrize("n_targets", [None, 2])
@pytest.mark.parametrize("ridge", RIDGES, ids=repr)
def test_every_round_is_what_a_refit_gives(ridge, n_targets, teacher):
    X, y, Z, _ = data(n_targets=n_targets)
    model = SelfDistillation(ridge, 5, ALPHAS, teacher=teacher, center=False).fit(X, y)
    assert model.closed_form_
    np.testing.assert_allclose(
        model.path_.predict(Z, round=None), refits(ridge, X, y, Z, ALPHAS, teacher=teacher), rtol=1e-7
    )


@pytest.mark.parametrize("form", ["Cholesky factorisation", "conjugate gradients"])
def test_beyond_the_eigenvalues_a_solver_gives_the_same(form, monkeypatch):
    X, y, Z, _ = data(n_targets=2)
    ridge = KernelRidge(0.3, kernel="rbf", gamma=0.5, rtol=1e-10)
    expected = SelfDistillation(ridge, 5, ALPHAS).fit(X, y)
    monkeypatch.setattr(distillation_tasks, "EIGENVALUES", 10)
    if form == "Cholesky factorisation":
        monkeypatch.setattr(distillation_kernel, "_MAX_TRIED", 0)
    monkeypatch.setattr(distillation_kernel, "_COLUMNS", 1)
    model = SelfDistillation(ridge, 5, ALPHAS).fit(X, y)
    assert form in model.solver_
    np.testing.assert_allclose(model.path_.predict(Z, round=None), expected.path_.predict(Z, round=None), rtol=1e-8)
    with pytest.raises(AttributeError, match="This path has no filters"):
        _ = model.path_.degrees_of_freedom


@pytest.mark.parametrize("can_factorise", [True, False])
def test_a_solver_that_misses_its_residual_says_so(can_factorise, monkeypatch):
    X, y, _, _ = data()
    monkeypatch.setattr(distillation_tasks, "EIGENVALUES", 10)
    monkeypatch.setattr(distillation_kernel, "fits_memory", lambda n_bytes: can_factorise)
    with pytest.raises(NotConverged, match="a relative residual of 1e-30 was asked for"):
        SelfDistillation(KernelRidge(0.3, kernel="rbf", rtol=1e-30), 2, 0.5).fit(X, y)


@pytest.mark.parametrize(
    "process",
    [
        GaussianProcessRegressor("RBF(0.8) + White(0.5)"),
        gaussian_process.GaussianProcessRegressor(
            gaussian_process.kernels.RBF(0.8) + gaussian_process.kernels.WhiteKernel(0.5), alpha=1e-3
        ),
    ],
    ids=["mercer", "scikit-learn"],
)
def test_the_mean_of_a_gaussian_process_needs_no_refits(process):
    X, y, Z, _ = data()
    model = SelfDistillation(process, 3, 0.4, center=False).fit(X, y)
    assert model.closed_form_
    fitted = clone(process).fit(X, y)
    kept = clone(process).set_params(kernel=fitted.kernel_, optimizer=None)
    np.testing.assert_allclose(model.path_.predict(Z, round=None), refits(kept, X, y, Z, [0.4] * 3), rtol=1e-8)


def test_a_gaussian_process_that_normalises_keeps_the_mean():
    X, y, Z, _ = data()
    process = GaussianProcessRegressor("RBF(0.8) + White(0.5)", normalize_y=True)
    model = SelfDistillation(process, 300, 0.0, center=False).fit(X, y)
    np.testing.assert_allclose(model.predict(Z, round=1), clone(process).fit(X, y).predict(Z), rtol=1e-8)
    np.testing.assert_allclose(model.predict(Z), y.mean(), rtol=1e-2)


@pytest.mark.parametrize(
    "estimator",
    [
        KernelRidge([0.1, 0.2]),
        GaussianProcessRegressor("RBF()", alpha=np.linspace(0.1, 0.2, 60), optimizer=None),
        GaussianProcessRegressor("White()", optimizer=None),
        KernelRidgeClassifier(kernel="rbf", class_weight="balanced", probability=True),
    ],
    ids=["alpha a target", "noise a row", "nothing but noise", "weights of classes"],
)
def test_what_is_no_single_ridge_regression_is_refitted(estimator):
    X, y, Z, _ = data(n_targets=2)
    is_class = isinstance(estimator, KernelRidgeClassifier)
    model = SelfDistillation(estimator, 2, 0.5).fit(X, y[:, 0] > 2.0 if is_class else y)
    assert not model.closed_form_
    assert len(model.predict(Z)) == 20


def test_centred_targets_keep_their_mean_in_all_rounds():
    X, y, Z, _ = data()
    ridge = KernelRidge(0.3, kernel="rbf", gamma=0.5)
    centred = SelfDistillation(ridge, 500, 0.0).fit(X, y)
    np.testing.assert_allclose(centred.predict(Z), y.mean(), atol=1e-3)
    np.testing.assert_allclose(centred.predict(Z, round=1), ridge.fit(X, y - y.mean()).predict(Z) + y.mean(), rtol=1e-9)
    shrunk = SelfDistillation(ridge, 500, 0.0, center=False).fit(X, y)
    assert np.abs(shrunk.predict(Z)).max() < 1e-3


def test_weights_are_those_of_the_closed_form():
    X, y, Z, v = data()
    ridge = KernelRidge(0.01, kernel="rbf", gamma=0.5)
    model = SelfDistillation(ridge, 4, validation=(Z, v), clip=None, center=False).fit(X, y)
    target, first = y, ridge.fit(X, y).predict(Z)
    for t in range(2, 5):
        target = model.predict(X, round=t - 1)
        expected = optimal_weight(v, first, clone(ridge).fit(X, target).predict(Z))
        assert model.path_.alphas[t - 1] == pytest.approx(expected, rel=1e-7)
    np.testing.assert_allclose(model.path_.scores, ((model.path_.predict(Z, round=None) - v) ** 2).mean(1), rtol=1e-12)


def test_clipped_weights_never_make_the_validation_error_worse():
    X, y, Z, v = data()
    path = SelfDistillation(KernelRidge(0.01, kernel="rbf"), 6, validation=(Z, v)).fit(X, y).path_
    assert (np.diff(path.scores) <= 1e-12).all()
    assert ((path.alphas >= 0.0) & (path.alphas <= 1.0)).all()
    np.testing.assert_array_equal(path.alphas[1:], np.clip(path.proposals[1:], 0.0, 1.0))
    assert np.isnan(path.proposals[0])


def test_a_model_that_is_regularised_too_much_already_stays_as_it_is():
    X, y, Z, v = data()
    model = SelfDistillation(KernelRidge(1e3, kernel="rbf"), 3, validation=(Z, v)).fit(X, y)
    assert (model.path_.proposals[1:] > 1.0).all()
    np.testing.assert_array_equal(model.predict(Z, round=3), model.predict(Z, round=1))


def test_held_out_rows_choose_the_weights_and_all_rows_are_fitted():
    X, y, Z, _ = data()
    ridge = KernelRidge(0.01, kernel="rbf")
    model = SelfDistillation(ridge, 3, validation=0.25).fit(X, y)
    left = model.validation_indices_
    seen = np.setdiff1d(np.arange(60), left)
    assert len(left) == 15
    apart = SelfDistillation(ridge, 3, validation=(X[left], y[left])).fit(X[seen], y[seen])
    np.testing.assert_array_equal(model.path_.alphas, apart.path_.alphas)
    np.testing.assert_array_equal(model.path_.scores, apart.path_.scores)
    whole = SelfDistillation(ridge, 3, model.path_.alphas).fit(X, y)
    np.testing.assert_array_equal(model.predict(Z), whole.predict(Z))
    assert not hasattr(whole, "validation_indices_")
    assert whole.path_.scores is None


def test_a_kernel_matrix_is_split_in_both_directions():
    X, y, Z, _ = data()
    rbf = KernelRidge(0.05, kernel="rbf", gamma=0.5)
    expected = SelfDistillation(rbf, 3).fit(X, y)
    K, cross = (np.exp(-0.5 * ((P[:, None] - X) ** 2).sum(-1)) for P in (X, Z))
    model = SelfDistillation(KernelRidge(0.05, kernel="precomputed"), 3).fit(K, y)
    np.testing.assert_allclose(model.predict(cross), expected.predict(Z), rtol=1e-9)


def left_out_by_hand(ridge, X, y, alphas):
    """``(y - S y)_i / (1 - S_ii)`` of the last round, S found column by column."""
    S = refits(ridge, X, np.eye(len(y)), X, alphas)[-1]
    return (y - S @ y) / (1.0 - np.diag(S))


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_leave_one_out_scores_are_those_of_the_smoother(kernel):
    X, y, _, _ = data()
    ridge = KernelRidge(0.1, kernel=kernel)
    path = SelfDistillation(ridge, 3, validation="loo", center=False).fit(X, y).path_
    for t in (1, 2, 3):
        expected = np.mean(left_out_by_hand(ridge, X, y, path.alphas[:t]) ** 2)
        assert path.scores[t - 1] == pytest.approx(expected, rel=1e-8)
    assert path.scores[0] == pytest.approx(np.mean(ridge.fit(X, y).leave_one_out() ** 2), rel=1e-8)


def test_leave_one_out_weights_beat_a_grid():
    X, y, _, _ = data()
    ridge = KernelRidge(0.5, kernel="rbf", gamma=0.3)
    path = SelfDistillation(ridge, 2, validation="loo", center=False, clip=None).fit(X, y).path_
    grid = [np.mean(left_out_by_hand(ridge, X, y, [1.0, a]) ** 2) for a in np.linspace(-2.0, 2.0, 9)]
    assert path.scores[1] <= min(grid) * (1.0 + 1e-9)


def test_leave_one_out_stays_where_no_row_has_more_than_itself():
    first = (torch.ones(3, 1), torch.full((3,), 0.9))
    student = (torch.full((3, 1), 0.5), torch.full((3,), 0.1))
    weight = leave_one_out_weight(first, student, None)
    assert 0.1 + 0.8 * weight > 0.0
    assert leave_one_out_weight(first, student, (0.0, 1.0)) == pytest.approx(1.0)


def test_probes_estimate_the_diagonal(monkeypatch):
    X, y, _, _ = data(200)
    ridge = KernelRidge(0.1, kernel="rbf", gamma=0.3)
    exact = SelfDistillation(ridge, 4, validation="loo").fit(X, y).path_
    monkeypatch.setattr(distillation_tasks, "EIGENVALUES", 10)
    estimated = SelfDistillation(ridge, 4, validation="loo").fit(X, y).path_
    np.testing.assert_allclose(estimated.scores, exact.scores, rtol=0.1)
    np.testing.assert_allclose(estimated.alphas, exact.alphas, atol=0.15)


def blobs(n_classes=3, *, seed=0):
    draw = np.random.default_rng(seed)
    y = draw.integers(n_classes, size=90)
    X = draw.normal(size=(90, 2)) + 2.0 * np.stack([np.cos(2.0 * y), np.sin(2.0 * y)], 1)
    return X, np.array(["ash", "birch", "cedar"])[y]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes_are_distilled_as_regressions_on_plus_and_minus_one(n_classes):
    X, y = blobs(n_classes)
    ridge = KernelRidgeClassifier(0.1, kernel="rbf")
    model = SelfDistillation(ridge, 3, 0.3).fit(X, y)
    alone = clone(ridge).fit(X, y)
    np.testing.assert_allclose(model.decision_function(X, round=1), alone.decision_function(X), rtol=1e-8)
    Y = np.where(y[:, None] == model.classes_, 1.0, -1.0)
    Y = Y[:, 1] if n_classes == 2 else Y
    expected = refits(KernelRidge(0.1, kernel="rbf"), X, Y - Y.mean(0), X, [0.3] * 3)[2] + Y.mean(0)
    np.testing.assert_allclose(model.decision_function(X, round=3), expected, rtol=1e-7)
    np.testing.assert_array_equal(model.predict(X, round=1), alone.predict(X))
    assert model.score(X, y) > 0.8
    assert not hasattr(model, "predict_proba")


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_of_each_round_are_calibrated_on_left_out_rows(n_classes):
    X, y = blobs(n_classes)
    ridge = KernelRidgeClassifier(0.1, kernel="rbf", probability=True)
    model = SelfDistillation(ridge, 3).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X, round=1), clone(ridge).fit(X, y).predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1.0)


def test_filters_and_degrees_of_freedom_are_those_of_the_formula():
    X, y, _, _ = data()
    path = SelfDistillation(KernelRidge(0.3, kernel="rbf"), 5, ALPHAS).fit(X, y).path_
    np.testing.assert_allclose(path.filters, distill_filter(path.eigenvalues, 0.3, ALPHAS), atol=1e-14)
    np.testing.assert_allclose(path.degrees_of_freedom, path.filters.sum(1))
    assert len(path) == 5
    d = np.maximum(path.eigenvalues, 0.0)
    np.testing.assert_allclose(path.limit(), d / (d + 0.3 / 0.2), atol=1e-12)


def test_rounds_count_from_one_and_from_the_last():
    X, y, Z, _ = data()
    model = SelfDistillation(KernelRidge(0.3, kernel="rbf"), 3, 0.5).fit(X, y)
    np.testing.assert_array_equal(model.predict(Z, round=-3), model.predict(Z, round=1))
    np.testing.assert_array_equal(model.predict(Z), model.path_.predict(Z, round=3))
    for wrong in (0, 4, -4):
        with pytest.raises(ValueError, match=f"round must be 1 to 3, or -1 to -3 counted from the last, not {wrong}"):
            model.predict(Z, round=wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_in_tensors_out(dtype):
    X, y, Z, v = (torch.tensor(part, dtype=dtype) for part in data())
    model = SelfDistillation(KernelRidge(0.3, kernel="rbf"), 3).fit(X, y)
    assert model.predict(Z).dtype == dtype
    assert model.path_.predict(Z, round=None).shape == (3, 20)
    assert isinstance(model.score(Z, v), float)


def test_sparse_rows_are_taken():
    X, y, Z, _ = data()
    model = SelfDistillation(KernelRidge(0.3, kernel="poly"), 3).fit(sparse.csr_array(X), y)
    expected = SelfDistillation(KernelRidge(0.3, kernel="poly"), 3).fit(X, y)
    np.testing.assert_allclose(model.predict(sparse.csr_array(Z)), expected.predict(Z), rtol=1e-8)


@pytest.mark.parametrize(
    "estimator",
    [None, RIDGES[0], RIDGES[3], GaussianProcessRegressor("RBF()", optimizer=None, alpha=0.1)],
    ids=["linear", "rbf", "centres", "process"],
)
def test_what_was_saved_predicts_the_same(estimator, tmp_path):
    X, y, Z, v = data()
    model = SelfDistillation(estimator, 3, validation=(Z, v)).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    loaded = SelfDistillation.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.path_.predict(Z, round=None), model.path_.predict(Z, round=None))
    np.testing.assert_array_equal(loaded.path_.limit(), model.path_.limit())
    np.testing.assert_array_equal(loaded.path_.scores, model.path_.scores)
    assert loaded.get_params()["n_rounds"] == 3


def test_a_saved_classifier_keeps_its_classes_and_probabilities(tmp_path):
    X, y = blobs()
    model = SelfDistillation(KernelRidgeClassifier(0.1, kernel="rbf", probability=True), 2).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    loaded = SelfDistillation.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_an_estimator_that_is_not_ours_cannot_be_saved(tmp_path):
    X, y, _, _ = data()
    model = SelfDistillation(kernel_ridge.KernelRidge(), 2).fit(X, y)
    with pytest.raises(TypeError, match="estimator cannot be saved: KernelRidge has no safe form"):
        model.save(tmp_path / "model.safetensors")
    KernelRidge().fit(X, y).save(tmp_path / "other.safetensors")
    with pytest.raises(FileFormatError, match="holds a KernelRidge, not a SelfDistillation"):
        SelfDistillation.load(tmp_path / "other.safetensors")


def test_plots_show_every_round():
    pytest.importorskip("matplotlib").use("Agg")
    X, y, Z, v = data()
    path = SelfDistillation(KernelRidge(0.1, kernel="rbf"), 4, 0.5, validation=(Z, v)).fit(X, y).path_
    axes = path.plot_filters()
    assert len(axes.lines) == 5
    assert axes.get_legend_handles_labels()[1] == ["round 1", "round 4", "limit"]
    axes = path.plot_path()
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), path.scores)
    unjudged = SelfDistillation(KernelRidge(0.1, kernel="rbf"), 2, [1.0, 3.0], clip=None).fit(X, y).path_
    assert len(unjudged.plot_filters().lines) == 2
    assert unjudged.plot_path().get_ylabel() == "degrees of freedom"


X0, Y0, _, _ = data()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_rounds": 0}, "n_rounds must be a whole number >= 1, not 0: round 1 is the first fit"),
        ({"n_rounds": 2.5}, "n_rounds must be a whole number >= 1, not 2.5"),
        ({"teacher": "best"}, "teacher must be 'previous' or 'first', not 'best'"),
        ({"alpha": "best"}, "alpha must be 'optimal', a number, or a number for each round, not 'best'"),
        ({"alpha": 1.5}, r"alpha = 1.5 of round 1 lies outside of clip=\(0.0, 1.0\). Give clip=None"),
        ({"alpha": np.nan}, "alpha must be finite, but that of round 1 is nan"),
        ({"alpha": [1.0, 0.5]}, "alpha has 2 weights for n_rounds=5: give one for each round, the first included"),
        ({"clip": (1.0, 0.0)}, r"clip must be None or two increasing numbers such as \(0, 1\), not \(1.0, 0.0\)"),
        ({"clip": 1.0}, "clip must be None or two increasing numbers"),
        ({"validation": None}, "alpha='optimal' needs validation data: give validation=0.2, 'loo'"),
        ({"validation": 1.5}, "validation must be a share above 0 and below 1, 'loo', a pair .* not 1.5"),
        ({"validation": "cv"}, "validation must be a share above 0"),
        ({"validation": np.zeros((40, 3))}, r"not ndarray array\(\[\[0., 0., 0.\]"),
        ({"validation": (X0[:5], Y0[:4])}, r"validation=\(X, y\): X has 5 rows and y has 4"),
        ({"validation": (X0[:2], np.ones((2, 2)))}, r"validation=\(X, y\): y has 2 targets, and the training y has 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SelfDistillation(KernelRidge(kernel="rbf"), **options).fit(X0, Y0)


def test_classes_must_be_on_both_sides_of_the_split():
    X, y = blobs()
    y = y.astype(object)
    y[0] = "dogwood"
    with pytest.raises(ValueError, match="each of the 4 classes must be on both sides; the smallest has 1"):
        SelfDistillation(KernelRidgeClassifier(kernel="rbf")).fit(X, y)
    with pytest.raises(ValueError, match="classes that no training row has: 'dogwood'"):
        SelfDistillation(KernelRidgeClassifier(kernel="rbf"), validation=(X[:5], y[:5])).fit(X[5:], y[5:])
    with pytest.raises(ValueError, match="needs at least two classes, but y has one class: 'ash'"):
        SelfDistillation(KernelRidgeClassifier(kernel="rbf")).fit(X, ["ash"] * 90)


CHECKED = [SelfDistillation(n_rounds=3), SelfDistillation(KernelRidgeClassifier(kernel="rbf"), 3)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "check"),
    [
        pytest.param(m, c, id=f"{i}-{c.func.__name__}")
        for i, m in enumerate(CHECKED)
        for _, c in estimator_checks_generator(m)
    ],
)
def test_scikit_learn_finds_nothing_wrong(model, check):
    check(clone(model))
