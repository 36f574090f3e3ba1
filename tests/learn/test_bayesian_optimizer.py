"""Bayesian optimisation: acquisition against high precision, files, and how it does on known functions."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from mercer.errors import FileFormatError
from mercer.kernels import Matern
from mercer.learn import BayesianOptimizer, Categorical, Integer, Real
from mercer.learn.acquisition import Surrogate, log_expected_improvement
from mercer.learn.search_space import SearchSpace

MIXED = {"x": Real(1e-4, 1.0, log=True), "n": Integer(1, 8), "how": Categorical(["a", "b", "c"])}


def mixed(x, n, how):
    return (math.log10(x) + 2.0) ** 2 + 0.1 * (n - 5) ** 2 + {"a": 1.0, "b": 0.0, "c": 2.0}[how]


def branin(x, y):
    b, c, t = 5.1 / (4.0 * math.pi**2), 5.0 / math.pi, 1.0 / (8.0 * math.pi)
    return (y - b * x * x + c * x - 6.0) ** 2 + 10.0 * (1.0 - t) * math.cos(x) + 10.0


HARTMANN_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(**point):
    x = np.array([point[f"x{j}"] for j in range(6)])
    return -float(np.array([1.0, 1.2, 3.0, 3.2]) @ np.exp(-(HARTMANN_A * (x - HARTMANN_P) ** 2).sum(1)))


def told(space, function, n, **options):
    search = BayesianOptimizer(space, random_state=0, **options)
    search.run(function, n)
    return search


def test_log_expected_improvement_agrees_with_quadrature_and_its_expansion():
    z = torch.tensor([3.0, 0.5, -0.99, -1.01, -5.0, -30.0, -1e3, -1e9], dtype=torch.float64, requires_grad=True)
    value = log_expected_improvement(-2.0 * z, torch.full_like(z, 2.0), 0.0)
    for at, found in list(zip(z.tolist(), value.tolist(), strict=True))[:5]:
        direct = stats.norm.pdf(at) + at * stats.norm.cdf(at)
        assert found == pytest.approx(math.log(2.0 * direct), rel=1e-9)
    for at, found in list(zip(z.tolist(), value.tolist(), strict=True))[5:]:
        # phi(z) / z^2 (1 - 3 / z^2 + 15 / z^4): Abramowitz & Stegun 26.2.12
        series = math.log1p(-3.0 / at**2 + 15.0 / at**4)
        expected = math.log(2.0) - 0.5 * at**2 - 0.5 * math.log(2.0 * math.pi) - 2.0 * math.log(-at) + series
        assert found == pytest.approx(expected, rel=1e-7)
    (gradient,) = torch.autograd.grad(value.sum(), z)
    assert bool(torch.isfinite(gradient).all())
    assert bool((gradient > 0.0).all())


def test_the_surrogate_agrees_with_the_formulas_and_believes_itself():
    X, y = torch.rand(7, 2, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    kernel, Z = 1.3 * Matern([0.4, 0.7], nu=2.5), torch.rand(4, 2, dtype=torch.float64)
    model = Surrogate(kernel, 0.1, X, y)
    K = kernel(X).to_dense() + 0.1 * torch.eye(7, dtype=torch.float64)
    cross = kernel(Z, X).to_dense()
    mean, std = model.predict(Z)
    torch.testing.assert_close(mean, cross @ torch.linalg.solve(K, y), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(std**2, 1.3 - (cross @ torch.linalg.solve(K, cross.mT)).diagonal(), rtol=1e-6, atol=1e-8)
    more = model.believing(Z[:2])
    torch.testing.assert_close(more.predict(Z)[0], mean, rtol=1e-5, atol=1e-6)
    assert bool((more.predict(Z)[1] < std + 1e-9).all())


def test_points_go_to_the_unit_cube_and_back():
    space = SearchSpace(MIXED)
    for u in np.random.default_rng(0).random((50, 3)):
        point = space.point(u)
        back = space.point(space.unit(point))
        assert back["x"] == pytest.approx(point["x"], rel=1e-12)
        assert (back["n"], back["how"]) == (point["n"], point["how"])
    assert {space.point([0.5, u, 0.0])["n"] for u in np.linspace(0.0, 1.0, 200)} == set(range(1, 9))
    embedded = space.embed(torch.tensor([[0.2, 0.3, 0.1], [0.2, 0.3, 0.9]], dtype=torch.float64))
    assert embedded.shape == (2, 5)
    assert float((embedded[0] - embedded[1]).norm()) == pytest.approx(1.0)
    assert SearchSpace.from_description(json.loads(json.dumps(space.describe()))).dimensions == space.dimensions


@pytest.mark.slow(reason="a dozen fits of a Gaussian process")
@pytest.mark.parametrize("acquisition", ["log_ei", "thompson"])
def test_a_mixed_space_is_searched(acquisition):
    search = told(MIXED, mixed, 30, acquisition=acquisition)
    assert search.best_.value < 0.15  # the least is 0; a random point is below 0.15 once in 150
    assert isinstance(search.best_.point["n"], int)


def test_a_loaded_search_asks_what_the_saved_one_asks(tmp_path):
    search = told({"x": (0.0, 1.0)}, lambda x: (x - 0.3) ** 2, 5)
    search.tell({"x": 0.9}, float("nan"))
    search.ask()
    search.save(tmp_path / "search.json")
    loaded = BayesianOptimizer.load(tmp_path / "search.json")
    assert loaded.ask(2) == search.ask(2)
    assert loaded.best_ == search.best_
    assert math.isnan(loaded.observations[-1][1])


def test_damaged_and_newer_files_are_refused(tmp_path):
    told({"x": (0.0, 1.0)}, lambda x: x, 2).save(tmp_path / "search.json")
    text = (tmp_path / "search.json").read_text()
    for broken in (
        text[: len(text) // 2],
        text.replace("BayesianOptimizer", "Other"),
        text.replace('"x"', '"y"', 1),
        "[]",
    ):
        (tmp_path / "broken.json").write_text(broken)
        with pytest.raises(FileFormatError, match="is not a saved BayesianOptimizer"):
            BayesianOptimizer.load(tmp_path / "broken.json")
    (tmp_path / "broken.json").write_text(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(FileFormatError, match="Update mercer"):
        BayesianOptimizer.load(tmp_path / "broken.json")


def test_points_of_numpy_numbers_can_be_saved(tmp_path):
    search = BayesianOptimizer({"x": (0.0, 1.0), "n": (0, 5)}, random_state=np.int64(3))
    search.tell({"x": np.float32(0.5), "n": np.int64(2)}, 1.0)
    search.save(tmp_path / "search.json")
    assert BayesianOptimizer.load(tmp_path / "search.json").observations == [({"x": 0.5, "n": 2}, 1.0)]


def test_failures_are_avoided_and_batches_are_spread():
    search = BayesianOptimizer({"x": (0.0, 1.0)}, random_state=0, n_initial=4)
    for x in (0.1, 0.35, 0.6, 0.85):
        search.tell({"x": x}, math.nan if x > 0.5 else x)
    batch = [point["x"] for point in search.ask(4)]
    assert min(abs(a - b) for i, a in enumerate(batch) for b in batch[:i]) > 1e-3
    assert np.mean(np.array(batch) < 0.5) >= 0.5
    with_infinity = BayesianOptimizer({"x": (0.0, 1.0)})
    with_infinity.tell({"x": 0.5}, -math.inf)
    with pytest.raises(ValueError, match="no value has been told yet"):
        _ = with_infinity.best_


def test_the_largest_value_is_the_smallest_of_the_negative():
    down = told({"x": (0.0, 1.0)}, lambda x: (x - 0.3) ** 2, 7)
    up = told({"x": (0.0, 1.0)}, lambda x: -((x - 0.3) ** 2), 7, maximize=True)
    assert up.best_.point == down.best_.point
    assert up.best_.value == -down.best_.value


def test_the_picture_of_convergence_falls():
    search = told({"x": (0.0, 1.0)}, lambda x: x, 3)
    search.tell({"x": 0.5}, math.nan)
    _, best = search.plot_convergence().get_lines()
    assert best.get_ydata()[-1] == search.best_.value
    assert (np.diff(best.get_ydata()) <= 0.0).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: BayesianOptimizer({}), ValueError, "at least one dimension"),
        (lambda: BayesianOptimizer([(0.0, 1.0)]), TypeError, "names its dimensions, .* it is a list"),
        (lambda: BayesianOptimizer({"x": 3.0}), TypeError, "a pair"),
        (lambda: BayesianOptimizer({"x": (1.0, 0.0)}), ValueError, "low < high"),
        (lambda: Real(0.0, 1.0, log=True), ValueError, "log needs low > 0"),
        (lambda: Integer(0.5, 2), ValueError, "whole numbers"),
        (lambda: Categorical(["a"]), ValueError, "at least two values"),
        (lambda: Categorical(["a", None]), TypeError, "text, numbers or booleans"),
        (lambda: BayesianOptimizer({"x": (0.0, 1.0)}, acquisition="pi"), ValueError, "choose one of log_ei"),
        (lambda: BayesianOptimizer({"x": (0.0, 1.0)}, noise=-1.0), ValueError, "it is a variance"),
        (
            lambda: BayesianOptimizer({"x": (0.0, 1.0)}, n_initial=0),
            ValueError,
            "n_initial must be a whole number >= 1",
        ),
        (lambda: BayesianOptimizer({"x": (0.0, 1.0)}, kappa=-1.0), ValueError, "kappa must be a finite number >= 0"),
        (lambda: BayesianOptimizer({"x": (0.0, 1.0)}, random_state=0.5), ValueError, "random_state must be a whole"),
        (lambda: BayesianOptimizer({"x": (0.0, 1.0)}).ask(0), ValueError, "at least one point"),
        (lambda: BayesianOptimizer({"x": (0.0, 1.0)}).tell({"x": 2.0}, 1.0), ValueError, "outside of Real"),
        (lambda: BayesianOptimizer({"x": (0.0, 1.0)}).tell({"y": 0.0}, 1.0), ValueError, "needs the names"),
        (lambda: BayesianOptimizer({"n": (0, 5)}).tell({"n": 1.5}, 1.0), ValueError, "not a whole number"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
