"""The hierarchical regressor: each stage against its definition, what it finds, and what it says otherwise."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

import mercer as mc
from mercer.data import hierarchical_polynomial
from mercer.errors import MemoryBudgetError, ShapeError
from mercer.kernels import NNGP, RBF, HermitePolynomial
from mercer.kernels.hermite import hermite_products
from mercer.learn import HierarchicalRegressor, KernelRidge
from mercer.learn.descent import DescentPath
from mercer.learn.link_basis import make_basis
from mercer.learn.primal import PrimalPath, StoredRows
from mercer.learn.whitening import Whitening

DATA = hierarchical_polynomial(8, 3000, random_state=0)
X, Y, P = (v[:1000] for v in DATA)
XT, YT, PT = (v[1000:] for v in DATA)
SMALL = X[:120], Y[:120]


def correlation(model, X=XT, p=PT):
    return abs(np.corrcoef(model.transform(X)[:, 0], p)[0, 1])


def test_the_second_stage_finds_what_the_first_cannot():
    model = HierarchicalRegressor(degree=2).fit(X, Y)
    first = 1.0 - np.mean((YT - model.first_stage_predict(XT)) ** 2) / np.var(YT)
    assert first < 0.45
    assert model.score(XT, YT) > first + 0.1
    assert correlation(model) > 0.9
    assert model.uses_link_
    assert model.gain_ > 0.1


def test_refinement_finds_the_feature():
    model = HierarchicalRegressor(degree=2, refine=3).fit(X, Y)
    assert correlation(model) > 0.99
    assert model.score(XT, YT) > 0.9
    assert 1 <= model.n_refinements_ <= 3


def test_the_first_stage_is_kernel_ridge():
    model = HierarchicalRegressor(degree=2, alpha=3.0, crossfit=None).fit(X, Y)
    mean, scale = Y.mean(), Y.std()
    ridge = KernelRidge(3.0, kernel=HermitePolynomial(2)).fit(X, (Y - mean) / scale)
    np.testing.assert_allclose(model.first_stage_predict(XT), mean + scale * ridge.predict(XT), atol=1e-9)


@pytest.mark.parametrize("features", ["kernel", RBF(3.0)], ids=repr)
@pytest.mark.parametrize("alpha", [1.0, None])
def test_over_rows_as_over_features_each_row_is_left_out(features, alpha):
    # 45 products of degree 2 are more than half of 60 rows.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = HierarchicalRegressor(degree=2, features=features, alpha=alpha).fit(X[:60], Y[:60])
    kernel = HermitePolynomial(2) if features == "kernel" else features
    z = (Y[:60] - Y[:60].mean()) / Y[:60].std()
    for i in (0, 33):
        rest = np.arange(60) != i
        alone = KernelRidge(model.alpha_, kernel=kernel).fit(X[:60][rest], z[rest]).predict(X[:60])
        # The features that the link saw are those predictions, shifted and scaled as one.
        scale = model._coefficients[0, 0] / model._first[0, 0]
        assert float(model._seen[i, 0]) == pytest.approx(float(model._offset[0] + scale * alone[i]), abs=1e-7)


def test_the_monomials_are_the_kernel():
    over_rows = HierarchicalRegressor(degree=2, alpha=2.0, alpha_link=0.1).fit(X[:80], Y[:80])
    explicit = HierarchicalRegressor(degree=2, alpha=2.0, alpha_link=0.1, features="monomials").fit(X[:80], Y[:80])
    np.testing.assert_allclose(over_rows.predict(XT), explicit.predict(XT), atol=1e-7)
    np.testing.assert_allclose(over_rows.feature_polynomial_, explicit.feature_polynomial_, atol=1e-7)


@pytest.mark.parametrize("features", ["kernel", "monomials"])
def test_the_feature_is_its_polynomial(features):
    model = HierarchicalRegressor(degree=2, features=features, refine=1).fit(X, Y)
    assert model.feature_exponents_.shape == (45, 8)
    value = hermite_products(torch.from_numpy(XT), 2).numpy() @ model.feature_polynomial_
    np.testing.assert_allclose(value, model.transform(XT), atol=1e-9)
    squares = model.feature_polynomial_[(model.feature_exponents_ == 2).any(1), 0]
    others = model.feature_polynomial_[1:, 0][~(model.feature_exponents_[1:] == 2).any(1)]
    assert abs(squares).min() > 2.0 * abs(others).max()  # p is a sum of squares


@pytest.mark.parametrize("features", ["kernel", "monomials"])
def test_features_of_blocks_of_rows_are_those_of_all_rows(monkeypatch, features):
    options = {"degree": 2, "features": features, "refine": 2, "n_features": 2}
    stored = HierarchicalRegressor(**options).fit(X, Y)
    widest = []
    products = hermite_products

    def watched(points, degree):
        widest.append(len(points))
        return products(points, degree)

    monkeypatch.setattr("mercer.kernels.features.exact.hermite_products", watched)
    monkeypatch.setattr("mercer.learn.first_stage._STORED_BYTES", 0)
    monkeypatch.setattr("mercer.learn.primal._BLOCK_BYTES", 8 * 45 * 13)  # 13 rows of 45 products
    monkeypatch.setattr("mercer.learn.primal._LEAST_PANEL", 7)
    streamed = HierarchicalRegressor(**options).fit(X, Y)
    assert max(widest) <= 13
    assert streamed.alpha_ == pytest.approx(stored.alpha_)
    for method in ("predict", "first_stage_predict", "transform"):
        np.testing.assert_allclose(getattr(streamed, method)(XT), getattr(stored, method)(XT), rtol=0.0, atol=1e-8)
    np.testing.assert_allclose(streamed.feature_polynomial_, stored.feature_polynomial_, rtol=0.0, atol=1e-8)
    np.testing.assert_allclose(streamed._errors, stored._errors, rtol=0.0, atol=1e-8)


def test_features_are_not_kept_where_the_memory_budget_is_small(monkeypatch):
    calls = []
    products = hermite_products
    monkeypatch.setattr(
        "mercer.kernels.features.exact.hermite_products",
        lambda points, degree: calls.append(len(points)) or products(points, degree),
    )
    mc.config.set_memory_budget("700kB")  # the features of 1000 rows take 360 kB, and as much again to join them
    try:
        HierarchicalRegressor(degree=2).fit(X, Y)
    finally:
        mc.config.set_memory_budget(None)
    assert sum(calls) == 2 * len(X)  # the normal matrix, and the rows left out


def test_the_degree_is_found_by_rows_left_out():
    model = HierarchicalRegressor(degree=None).fit(X, Y)
    assert model.degree_ == 2
    assert model.degree_scores_.argmax() == 1
    assert len(model.degree_scores_) == 4  # 495 products of degree 4, 1000 rows
    line, target, _ = hierarchical_polynomial(8, 500, k=1, random_state=0)
    noisy = target + 0.3 * np.random.default_rng(0).normal(size=500)  # without noise degree 3 is exact
    assert HierarchicalRegressor(degree=None).fit(line, noisy).degree_ == 1


@pytest.mark.parametrize("link", ["relu", "hermite", "spline", "RBF(0.7)", RBF(0.7)], ids=repr)
def test_every_link_fits_and_is_callable(link):
    model = HierarchicalRegressor(degree=2, link=link, refine=2).fit(X, Y)
    assert model.score(XT, YT) > 0.75  # polynomials and splines end where the rows do, and g is steep there
    t = model.transform(XT)
    np.testing.assert_allclose(model.link_(t), model.predict(XT), atol=1e-9)
    np.testing.assert_allclose(model.link_(t[:, 0]), model.predict(XT), atol=1e-9)
    assert isinstance(model.link_(torch.from_numpy(t)), torch.Tensor)


@pytest.mark.parametrize("kind", ["relu", "hermite", "spline"])
def test_bases_reproduce_lines(kind):
    t = torch.randn(400, 1, dtype=torch.float64)
    basis = make_basis(kind, t, similarity=None, generator=torch.Generator())
    inside = torch.linspace(float(t.min()), float(t.max()), 57, dtype=torch.float64).clamp(-4, 4)[:, None]
    solution = torch.linalg.lstsq(basis(t), t, driver="gelsd").solution
    torch.testing.assert_close(basis(inside) @ solution, inside, rtol=1e-6, atol=1e-6)
    if kind == "spline":
        torch.testing.assert_close(basis(inside).sum(1), torch.ones(57, dtype=torch.float64))


@pytest.mark.parametrize("link", ["relu", RBF(0.7)], ids=repr)
def test_links_go_on_for_a_quarter_of_their_range_and_then_stay(link):
    link_ = HierarchicalRegressor(degree=2, link=link).fit(X, Y)
    low, high = link_._seen.min(), link_._seen.max()
    ends = torch.stack([high + share * (high - low) for share in (0.0, 0.2, 0.25, 3.0, 30.0)])
    values = link_.link_(ends)
    assert (values[1:3] - values[:2]).abs().min() > 1e-4
    torch.testing.assert_close(values[2:], values[2].expand(3), rtol=0.0, atol=1e-9)


def test_splines_are_scipys():
    from scipy.interpolate import BSpline

    t = torch.randn(300, 1, dtype=torch.float64)
    basis = make_basis("spline", t, similarity=None, generator=torch.Generator())
    inner = basis.arrays[0][:, 0].numpy()
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    expected = BSpline.design_matrix(t[:, 0].numpy(), knots, 3).toarray()
    np.testing.assert_allclose(basis(t), expected, atol=1e-12)


@pytest.mark.parametrize("activation", ["hermite", "relu"])
def test_random_units_are_a_layer(activation):
    options = {"degree": 2, "alpha": 0.5, "crossfit": None, "activation": activation}
    model = HierarchicalRegressor(features="random", width=300, **options).fit(X, Y)
    rows, biases, unit = model._units(2)
    F = unit.function(torch.from_numpy(X) @ rows.mT + biases).numpy() / 300**0.5
    FT = unit.function(torch.from_numpy(XT) @ rows.mT + biases).numpy() / 300**0.5
    ridge = Ridge(0.5, fit_intercept=False).fit(F, (Y - Y.mean()) / Y.std())
    np.testing.assert_allclose(model.first_stage_predict(XT), Y.mean() + Y.std() * ridge.predict(FT), atol=1e-7)
    assert bool((biases == 0).all()) == (activation == "hermite")


def test_many_random_units_tend_to_the_kernel():
    K = NNGP(depth=2, activation="relu", sigma_w=1.0, sigma_b=1.0)
    wide = HierarchicalRegressor(features="random", width=40_000, activation="relu", random_state=1, alpha=1.0)
    model = wide.set_params(alpha=1e6)
    model._seed, model._whitening = 1, None
    stage = model._new_stage(torch.from_numpy(X[:20]), 2)
    F = stage.features(torch.from_numpy(X[:20]))
    limit = K(torch.from_numpy(X[:20])).to_dense() - 1.0  # the output bias
    # Directions of norm 1 against normal weights of the same variance: they differ by O(1 / d).
    assert float((F @ F.mT - limit).abs().max() / limit.max()) < 0.06


def test_descent_tends_to_ridge_and_begins_at_zero():
    options = {"degree": 2, "features": "monomials", "alpha": 30.0, "alpha_link": 30.0}
    exact = HierarchicalRegressor(**options).fit(X, Y).predict(XT)
    descended = HierarchicalRegressor(solver="gd", n_steps=200_000, **options).fit(X, Y).predict(XT)
    np.testing.assert_allclose(descended, exact, atol=1e-6)
    F = torch.randn(30, 4, dtype=torch.float64)
    path = DescentPath(StoredRows(30, 4, lambda rows: F[rows]), F[:, :1], None, n_steps=3)
    w, step = torch.zeros(4, 1, dtype=torch.float64), 1.0 / float(torch.linalg.eigvalsh(F.mT @ F).max() + 0.5)
    for _ in range(3):
        w -= step * (F.mT @ (F @ w - F[:, :1]) + 0.5 * w)
    torch.testing.assert_close(path.coefficients(0.5), w, rtol=1e-9, atol=1e-12)
    converged = DescentPath(StoredRows(30, 4, lambda rows: F[rows]), F[:, :1], None, n_steps=10_000)
    ridge = PrimalPath(StoredRows(30, 4, lambda rows: F[rows]), F[:, :1], None)
    torch.testing.assert_close(converged.leave_one_out([0.5]), ridge.leave_one_out([0.5]), rtol=1e-8, atol=1e-10)


def test_halves_and_fitted_values_are_the_other_ways_to_cross_fit():
    split = HierarchicalRegressor(degree=2, crossfit="split", refine=1).fit(X, Y)
    assert len(split._seen) == 500
    assert split.score(XT, YT) > 0.3
    fitted = HierarchicalRegressor(degree=2, crossfit=None).fit(X, Y)
    # What has seen its own y promises more than it keeps.
    assert float(np.mean(fitted._errors.numpy() ** 2)) < 0.9 * np.mean((YT - fitted.predict(XT)) ** 2)


def test_two_features_are_found_by_products_with_the_first():
    draw = np.random.default_rng(0)
    Z = draw.normal(size=(6000, 6))
    a, b = (Z[:, 0] + Z[:, 1]) / 2**0.5, (Z[:, 2] - Z[:, 3]) / 2**0.5
    target = a + 0.8 * a * b + 0.5 * (b * b - 1.0)
    model = HierarchicalRegressor(degree=1, n_features=2, refine=1).fit(Z[:4000], target[:4000])
    t = model.transform(Z[4000:])
    assert t.shape == (2000, 2)
    line = np.column_stack([np.ones(2000), t])
    for hidden in (a, b):
        residual = hidden[4000:] - line @ np.linalg.lstsq(line, hidden[4000:], rcond=None)[0]
        assert np.var(residual) < 0.05
    one = HierarchicalRegressor(degree=1).fit(Z[:4000], target[:4000])
    assert model.score(Z[4000:], target[4000:]) > max(0.9, one.score(Z[4000:], target[4000:]) + 0.2)
    np.testing.assert_allclose(np.cov(model._seen.T, bias=True), np.eye(2), atol=1e-9)


def test_a_feature_takes_another_link():
    model = HierarchicalRegressor(degree=2, refine=2).fit(X, Y)
    before = model.predict(XT)
    other = model.fit_link(XT[:200], PT[:200] ** 2)
    assert other.score(XT[200:], PT[200:] ** 2) > 0.9
    np.testing.assert_array_equal(model.predict(XT), before)
    np.testing.assert_array_equal(model.transform(XT), other.transform(XT))
    line = np.polynomial.Polynomial.fit(other.transform(XT[:200])[:, 0], PT[:200] ** 2, 1)
    np.testing.assert_allclose(other.first_stage_predict(XT), line(other.transform(XT)[:, 0]), atol=1e-7)


def test_where_there_is_no_feature_it_says_so_and_is_kernel_ridge():
    draw = np.random.default_rng(0)
    Z = draw.normal(size=(400, 5))
    target = Z[:, 0] + 0.5 * Z[:, 1] * Z[:, 2] + 0.3 * draw.normal(size=400)
    with pytest.warns(UserWarning, match="No hidden feature found"):
        model = HierarchicalRegressor(degree=2).fit(Z, target)
    assert model.gain_ <= 0.0
    assert not model.uses_link_
    np.testing.assert_array_equal(model.predict(Z), model.first_stage_predict(Z))


@pytest.mark.parametrize("whiten", [True, "ranks"])
def test_whitened_columns_do_not_care_for_scale_and_mixture(whiten):
    mixed = (X @ np.diag(np.arange(1.0, 9.0))) + 7.0
    there = (XT @ np.diag(np.arange(1.0, 9.0))) + 7.0
    model = HierarchicalRegressor(degree=2, refine=2, whiten=whiten).fit(mixed, Y)
    if whiten == "ranks":
        skewed = HierarchicalRegressor(degree=2, refine=2, whiten="ranks").fit(np.exp(mixed / 9.0), Y)
        np.testing.assert_allclose(skewed.transform(np.exp(there / 9.0)), model.transform(there), atol=0.05)
    else:
        assert model.score(there, YT) > 0.85
        R = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
        turned = HierarchicalRegressor(degree=2, refine=2, whiten=True).fit(mixed @ R, Y)
        np.testing.assert_allclose(turned.predict(there @ R), model.predict(there), atol=1e-5)


def test_whitening_leaves_out_what_does_not_vary_and_maps_ranks_to_scores():
    Z = torch.randn(500, 3, dtype=torch.float64)
    Z = torch.cat([Z, Z[:, :1] + Z[:, 1:2], torch.ones(500, 1, dtype=torch.float64)], 1)
    plain = Whitening.fit(Z, ranks=False)
    assert plain(Z).shape == (500, 3)
    torch.testing.assert_close(plain(Z).mT @ plain(Z) / 500, torch.eye(3, dtype=torch.float64), rtol=0.0, atol=1e-10)
    skewed = torch.exp(2.0 * Z[:, :1])
    scores = Whitening.fit(skewed, ranks=True)(skewed)[:, 0]
    assert torch.equal(scores.argsort(), skewed[:, 0].argsort())
    assert float((scores - Z[:, 0]).square().mean().sqrt()) < 0.2
    assert bool(Whitening.fit(skewed, ranks=True)(torch.tensor([[-5.0], [1e9]]).double()).isfinite().all())


def test_intervals_hold_new_rows_as_often_as_they_say():
    prediction, low, high = HierarchicalRegressor(degree=2, refine=2).fit(X, Y).predict(XT, interval=0.9)
    assert np.mean((low <= YT) & (high >= YT)) == pytest.approx(0.9, abs=0.04)
    np.testing.assert_allclose(high - prediction, prediction - low)


@pytest.mark.parametrize(
    "options",
    [
        {"refine": 1},
        {"link": RBF(0.8), "whiten": "ranks"},
        {"features": RBF(3.0), "link": "spline"},
        {"features": "random", "activation": "relu", "width": 50},
        {"degree": None, "n_features": 2, "link": "hermite"},
    ],
    ids=str,
)
def test_a_loaded_model_is_the_saved_one(options, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = HierarchicalRegressor(**options).fit(*SMALL)
    model.save(tmp_path / "model")
    loaded = HierarchicalRegressor.load(tmp_path / "model")
    for method in ("predict", "first_stage_predict", "transform"):
        np.testing.assert_array_equal(getattr(loaded, method)(XT), getattr(model, method)(XT))
    # A loaded array lies in another order in memory, and so do the sums over it.
    np.testing.assert_allclose(loaded.link_(loaded.transform(XT)), model.link_(model.transform(XT)), rtol=0, atol=1e-14)
    assert loaded.gain_ == model.gain_


@pytest.mark.parametrize("options", [{}, {"whiten": "ranks"}, {"features": RBF(3.0), "link": RBF(1.0)}], ids=str)
def test_predictions_are_differentiable(options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = HierarchicalRegressor(2, refine=1, **options).fit(*SMALL)
    points = torch.from_numpy(XT[:4]).requires_grad_()
    (gradient,) = torch.autograd.grad(model.predict(points).sum(), points)
    step = 1e-6 * np.eye(8)[2]
    difference = (model.predict(XT[:4] + step) - model.predict(XT[:4] - step)) / 2e-6
    np.testing.assert_allclose(gradient[:, 2], difference, rtol=1e-4, atol=1e-6)


def test_tensors_in_tensors_out():
    model = HierarchicalRegressor(degree=2).fit(torch.from_numpy(X).float(), torch.from_numpy(Y).float())
    prediction = model.predict(torch.from_numpy(XT).float())
    assert prediction.dtype == torch.float32
    double = HierarchicalRegressor(degree=2).fit(X.astype(np.float32), Y.astype(np.float32))
    np.testing.assert_allclose(prediction, double.predict(XT.astype(np.float32)), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degree": 0}, "degree must be a whole number >= 1 or None"),
        ({"n_features": 0}, "n_features must be a whole number >= 1"),
        ({"refine": -1}, "refine must be a whole number >= 0"),
        ({"alpha": -1.0}, "alpha must be a finite number >= 0"),
        ({"solver": "adam"}, "solver must be one of 'ridge', 'gd'"),
        ({"crossfit": "folds"}, "crossfit must be one of 'loo', 'split', None"),
        ({"whiten": "yes"}, "whiten must be one of False, True, 'ranks'"),
        ({"alpha": 0.0, "features": "monomials", "degree": 3}, "alpha=0 with 120 rows and 165 features"),
        ({"alpha": 0.0, "degree": 3}, "alpha=0 with 120 rows and 165 features of degree 3"),
        ({"solver": "gd", "degree": 3}, "solver='gd' descends over features"),
        ({"activation": "sign"}, "activation='sign' has no closed form"),
        ({"link": "cubic"}, "link must be one of 'relu', 'hermite', 'spline', or a kernel or its text: .*cubic"),
        ({"features": "zz"}, "features must be one of 'kernel', 'monomials', 'random', or a kernel or its text: .*zz"),
        ({"activation": "hermite13"}, "activation 'hermite13': the degree is a whole number from 1 to 12"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HierarchicalRegressor(**options).fit(*SMALL)


@pytest.mark.parametrize("link", [None, 3])
def test_a_link_of_another_type_is_refused(link):
    with pytest.raises(TypeError, match="link must be one of 'relu', 'hermite', 'spline', or a kernel or its text"):
        HierarchicalRegressor(link=link).fit(*SMALL)


def test_the_link_takes_one_value_and_refuses_other_columns():
    model = HierarchicalRegressor().fit(X, Y)
    assert model.link_(0.5) == model.link_([0.5])[0]
    assert np.shape(model.link_(0.5)) == ()
    with pytest.raises(ShapeError, match=r"t must be \(m, 1\) learnt features, not \(4, 2\)"):
        model.link_(np.ones((4, 2)))
    two = HierarchicalRegressor(n_features=2).fit(X, Y)
    assert two.link_(np.ones((4, 2))).shape == (4,)
    with pytest.raises(ShapeError, match=r"t must be \(m, 2\) learnt features, not \(\)"):
        two.link_(0.5)


@pytest.mark.parametrize("features", ["kernel", "random"])
def test_an_activation_can_have_its_own_degree(features, tmp_path):
    own = HierarchicalRegressor(activation="hermite3", features=features, degree=2).fit(X, Y)
    other = HierarchicalRegressor(degree=3, features=features).fit(X, Y)
    np.testing.assert_array_equal(own.predict(XT), other.predict(XT))
    assert own.degree_ == 3
    own.save(tmp_path / "model")
    np.testing.assert_array_equal(HierarchicalRegressor.load(tmp_path / "model").predict(XT), own.predict(XT))


def test_more_monomials_than_memory_holds_are_refused_before_any_is_computed():
    with pytest.raises(MemoryBudgetError, match=r"ridge with 1081575 monomials of degree 17 in 8 columns.* Use feat"):
        HierarchicalRegressor(degree=17, features="monomials").fit(*SMALL)


@pytest.mark.filterwarnings("ignore:No hidden feature found")
@pytest.mark.parametrize("size", [1e-300, 1e160, 1e300])
def test_targets_of_any_size_give_the_same(size):
    model, other = HierarchicalRegressor().fit(*SMALL), HierarchicalRegressor().fit(SMALL[0], size * SMALL[1])
    np.testing.assert_allclose(other.predict(XT) / size, model.predict(XT), rtol=1e-9)
    assert other.gain_ == pytest.approx(model.gain_, abs=1e-12)


@pytest.mark.parametrize("more", [{}, {"degree": None}, {"features": "random"}, {"features": "RBF(2.0)"}])
def test_columns_whose_products_overflow_are_refused(more):
    with pytest.raises(ValueError, match=r"beyond double precision. Give whiten=True"):
        HierarchicalRegressor(**more).fit(1e200 * SMALL[0], SMALL[1])


@pytest.mark.filterwarnings("ignore:No hidden feature found")
@pytest.mark.parametrize("whiten", [True, "ranks"])
def test_whitening_takes_any_size_and_columns_that_do_not_vary(whiten):
    model = HierarchicalRegressor(whiten=whiten).fit(*SMALL)
    for size in (1e-200, 1e200):
        other = HierarchicalRegressor(whiten=whiten).fit(size * SMALL[0], SMALL[1])
        np.testing.assert_allclose(other.predict(size * XT), model.predict(XT), rtol=1e-6)
    alike = np.ones((20, 2))
    plain = HierarchicalRegressor().fit(alike, np.arange(20.0))
    found = HierarchicalRegressor(whiten=whiten).fit(alike, np.arange(20.0))
    np.testing.assert_allclose(found.predict(alike), plain.predict(alike), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:No hidden feature found")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_gain_of_fitted_values_is_that_of_new_rows(seed):
    data, n = hierarchical_polynomial(8, 4000, random_state=seed), 90  # two rows a monomial
    model = HierarchicalRegressor(crossfit=None).fit(data[0][:n], data[1][:n])
    new, y = data[0][n:], data[1][n:]
    first, second = model.first_stage_predict(new), model.link_(model.transform(new)[:, 0])
    gain = (np.mean((first - y) ** 2) - np.mean((second - y) ** 2)) / np.var(y)
    # The features at the rows themselves have seen y, and made it 0.3 to 0.8 where it is 0.01 to 0.08.
    assert model.gain_ == pytest.approx(gain, abs=0.15)


def test_a_constant_target_is_refused():
    with pytest.raises(ValueError, match="y is constant"):
        HierarchicalRegressor().fit(X, np.full(1000, 3.0))


def test_the_link_is_drawn():
    pytest.importorskip("matplotlib")
    axes = HierarchicalRegressor(degree=2).fit(X, Y).plot_link()
    assert [line.get_label() for line in axes.lines] == ["rows", "link"]
    assert len(axes.lines[0].get_xdata()) == 1000
