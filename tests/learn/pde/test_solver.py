"""What the estimator promises beside the numbers: messages, error bars, files, pictures."""

from unittest import TestCase

import numpy as np
import pytest
import torch

from mercer.errors import ApproximationWarning, FileFormatError, ShapeError
from mercer.kernels import RBF, SpectralMixture
from mercer.learn.pde import D, Field, Identity, Laplacian, Neumann, Nonlinear, PDESolver, Power, Unknown

SQUARE = [(0.0, 1.0)] * 2


def u(X):
    return np.sin(20 * X[:, 0])


def f(X):
    return -400 * u(X)


def line(operator=None, **options):
    return PDESolver(operator or Laplacian(), domain=(0, 1), **{"grid": 50, **options})


def plane(operator=None, **options):
    return PDESolver(operator or Laplacian(), domain=SQUARE, **{"grid": 20, **options})


def observing(points, values, noise=0.0):
    return line(max_iter=1).fit(f, u, observations=(points, values), noise=noise)


def cloud(points, values):
    grid = np.random.default_rng(0).uniform(size=(9, 2))
    return plane(grid=grid, max_iter=1).fit(f, (points, values))


@pytest.mark.parametrize(
    ("fit", "error", "message"),
    [
        (lambda: line().fit(f), ValueError, r"needs boundary data.*'x': \(left, right\)"),
        (lambda: plane().fit(f, {"x": (0, 0)}), ValueError, "order 2 along 'y' and needs data on 2"),
        (lambda: plane().fit(f, {"x": (0, None), "y": (0, 0)}), ValueError, "along 'x' and needs data on 2.*got 1"),
        (lambda: plane(D("y") + D("x")).fit(0, {"x": (0, 0), "y": (0, None)}), ValueError, "too many"),
        (lambda: plane().fit(f, {"z": (0, 0)}), ValueError, "names 'z'; the axes are 'x', 'y'"),
        (lambda: plane().fit(f, {"x": "round", "y": (0, 0)}), ValueError, "or 'periodic'"),
        (lambda: plane().fit(f, {"x": 0.0, "y": (0, 0)}), ShapeError, r"has to be \(low, high\)"),
        (lambda: plane().fit(f, np.zeros(4)), ShapeError, "name them"),
        (lambda: plane().fit(np.zeros((20, 19)), u), ShapeError, r"needs \(20, 20\)"),
        (lambda: plane().fit(lambda X: X, u), ShapeError, "800 values for 400 points"),
        (lambda: plane().fit(f, {"x": (np.zeros(3), 0), "y": (0, 0)}), ShapeError, "low face"),
        (lambda: line().fit(np.full(50, np.nan), u), ValueError, "NaN"),
        (lambda: line().fit(np.zeros(50, dtype=np.float32), u), TypeError, "float32.*float64"),
        (lambda: line(grid=3).fit(f, u), ValueError, "at least 4"),
        (lambda: line(grid=[0.0, 0.5, 1.0]).fit(f, u), ShapeError, "number of nodes"),
        (lambda: line(grid=np.array([0.0, 0.5, 0.4, 1.0])).fit(f, u), ValueError, "ascend"),
        (lambda: line(grid=np.array([0.1, 0.3, 0.4, 1.0])).fit(f, u), ValueError, "begin at 0.0"),
        (lambda: PDESolver(Laplacian(), domain=(1, 0), grid=9).fit(f, u), ValueError, "first must be less"),
        (lambda: PDESolver(Laplacian(), domain=[(0, 1)] * 4, grid=9).fit(f, u), ShapeError, "one to three axes"),
        (lambda: PDESolver(Laplacian(), domain={"x": 3}, grid=9).fit(f, u), ShapeError, "in place of"),
        (lambda: plane(grid=(5, 5, 5)).fit(f, u), ShapeError, "for all 2 axes"),
        (lambda: line(Identity()).fit(f, u), ValueError, "no derivative"),
        (lambda: line("Laplace(u)").fit(f, u), ValueError, "no differential operator"),
        (lambda: line(method="magic").fit(f, u), ValueError, "choose from auto"),
        (lambda: line(kernel=3).fit(f, u), TypeError, "no kernel of mercer"),
        (lambda: plane(kernel=[RBF()]).fit(f, u), ShapeError, "one for each"),
        (lambda: line(Field("c") * Laplacian()).fit(f, u), ValueError, "has no values"),
        (lambda: line(Laplacian() + Unknown("k") * Identity()).fit(f, u), ValueError, "observations="),
        (lambda: line(method="collocation").fit(f, u, observations=([[0.5]], [0.0])), ValueError, "use 'marginal'"),
        (lambda: line().fit(f, u, observations=([0.5], [0.0])), ShapeError, r"points \(m, 1\)"),
        (lambda: line().fit(f, u, observations=([[0.5]], [0.0]), noise=-1.0), ValueError, "noise, a variance, must be"),
        (lambda: plane(grid=np.zeros((9, 3)) + 0.5).fit(f, u), ShapeError, "3 columns"),
        (lambda: plane(grid=np.zeros((9, 2)) + 2.0).fit(f, u), ValueError, "outside of the domain"),
        (lambda: plane(grid=np.random.rand(9, 2)).fit(f, u), ValueError, "points on the boundary"),
        (
            lambda: plane(grid=np.random.rand(9, 2)).fit(f, (np.zeros(3), np.zeros(3))),
            ShapeError,
            r"needs points \(m, 2\)",
        ),
        (lambda: plane(grid=np.random.rand(9, 2), method="collocation").fit(f, ([[0, 0]], [0])), ValueError, "grid"),
        (lambda: plane(grid=101, method="marginal").fit(f, u), ValueError, "at most 10000.*10201"),
        (lambda: line(method="joint").fit(f, {"x": (0.0, Neumann(1.0))}), ValueError, "values on the boundary alone"),
        (lambda: line(method="joint", kernel=RBF()).fit(f, u), TypeError, "learns a SpectralMixture"),
        (lambda: line().fit(f, {"x": "periodic"}), ValueError, "leave the solution open"),
        # settings
        (lambda: line(method="joint", max_iter=0).fit(f, u), ValueError, "max_iter must be a whole number >= 1"),
        (lambda: line(max_iter=0).fit(f, u), ValueError, "max_iter must be a whole number >= 1"),
        (lambda: line(method="marginal", max_iter=-2).fit(f, u), ValueError, "max_iter must be a whole number >= 0"),
        (lambda: line(method="marginal", max_iter=2.5).fit(f, u), ValueError, "max_iter must be"),
        (lambda: line(method="extra", change_point=2.0).fit(f, u), ValueError, "a share of the steps, from 0 to 1"),
        (lambda: line(method="extra", change_point=-1).fit(f, u), ValueError, "change_point must be"),
        (lambda: line(boundary_weight=-5).fit(f, u), ValueError, "boundary_weight must be a finite number > 0"),
        (lambda: line(lr=0).fit(f, u), ValueError, "lr must be a finite number > 0 or None"),
        (lambda: line(random_state="x").fit(f, u), TypeError, "random_state must be an int"),
        *(
            (lambda n=n, v=v: line(**{n: v}).fit(f, u), ValueError, f"{n} must be a finite number >= 0 or None")
            for n in ("tol", "jitter")
            for v in (np.nan, -1.0, "a")
        ),
        # data
        (lambda: line().fit(f, u, noise=0.1), ValueError, "noise=0.1 is that of observations, and there are none"),
        (lambda: line().fit(f, u, callback=print), ValueError, "method='collocation' calls no callback"),
        (lambda: observing([[0.5]], [np.nan]), ValueError, "values of the observations contains NaN"),
        (lambda: observing([[np.nan]], [0.5]), ValueError, "points of the observations contains NaN"),
        (lambda: observing([[0.5]], [0.5], noise=np.nan), ValueError, "noise, a variance, must be"),
        (lambda: observing(np.zeros((0, 1)), []), ShapeError, "with m >= 1"),
        (
            lambda: observing([[5.0]], [0.5]),
            ValueError,
            r"1 points of the observations lie outside .* first is \(5.0,\)",
        ),
        (lambda: observing(np.float32([[0.5]]), [0.5]), TypeError, "points of the observations is float32"),
        (lambda: observing(3, None), ShapeError, "points of the observations have the shape"),
        (lambda: cloud(np.full((3, 2), np.nan), np.zeros(3)), ValueError, "points of the boundary contains NaN"),
        (lambda: cloud(np.zeros((0, 2)), np.zeros(0)), ShapeError, "with m >= 1"),
        (lambda: cloud(np.array([[7.0, 9.0]]), np.zeros(1)), ValueError, "outside of the domain"),
        (lambda: cloud(np.zeros((3, 2), dtype=np.float32), np.zeros(3)), TypeError, "the boundary is float32"),
        (lambda: line().fit(f, {"x": (np.float32(0.0), 0.0)}), TypeError, "low face, is float32"),
        (lambda: line().fit([np.float32(0.0)] * 50, u), TypeError, "source is float32"),
        (lambda: line().fit(lambda X: 1j * f(X), u), TypeError, "source is complex128: solutions are real"),
        # operators
        (lambda: Unknown("k", np.nan), ValueError, r"Unknown\('k'\): start must be a finite number"),
        (lambda: np.nan * Laplacian(), ValueError, r"The coefficient of Laplacian\(\) must be a finite number"),
        (lambda: Power("a"), ValueError, "the exponent must be a finite number"),
        *(
            (lambda term=term, m=m: line(Laplacian() + term, method=m).fit(f, u), ValueError, "infinite at u = 0")
            for term in (Power(0.5), Power(-1), Nonlinear(torch.sqrt), Nonlinear(np.log, lambda v: 1.0 / v))
            for m in ("collocation", "marginal", "joint")
        ),
        (
            lambda: line(Laplacian() + Nonlinear(np.sin)).fit(f, u),
            TypeError,
            "without dfn, fn has to be written in torch",
        ),
        (lambda: line(kernel="Polynomial(2)").fit(f, u), ValueError, "is not stationary"),
        (lambda: line(kernel="RBF(0.1) + Linear()", method="marginal").fit(f, u), ValueError, "is not stationary"),
    ],
)
def test_bad_input_is_refused_and_told_what_to_change(fit, error, message):
    with pytest.raises(error, match=message):
        fit()


def test_predictions_come_in_the_kind_of_the_points_and_with_derivatives():
    solver = line().fit(f, u)
    X = np.random.default_rng(0).uniform(size=(50, 1))
    assert isinstance(solver.predict(torch.as_tensor(X)), torch.Tensor)
    np.testing.assert_allclose(solver.predict(X), u(X), atol=1e-5)
    np.testing.assert_allclose(solver.predict(X, derivatives=(1,)), 20 * np.cos(20 * X[:, 0]), atol=1e-2)
    with pytest.raises(ValueError, match="one order from 0 to 2"):
        solver.predict(X, derivatives=(1, 0))
    for derivatives in (1, np.int64(1), (np.int64(1),), [1]):
        np.testing.assert_array_equal(solver.predict(X, derivatives=derivatives), solver.predict(X, derivatives=(1,)))
    with pytest.raises(ShapeError, match=r"give \(m, 1\)"):
        solver.predict(X[:, 0])


def test_points_on_a_grid_and_points_anywhere_agree():
    v = lambda X: np.sin(5 * X[:, 0]) * np.sin(4 * X[:, 1])  # noqa: E731
    solver = plane(grid=(24, 22)).fit(lambda X: -41 * v(X), v)
    g = np.linspace(0, 1, 7)
    grid = np.stack([a.ravel() for a in np.meshgrid(g, g)], 1)
    some = grid[np.random.default_rng(0).permutation(49)[:9]]
    np.testing.assert_allclose(
        solver.predict(some), [solver.predict(grid)[(grid == p).all(1)][0] for p in some], rtol=1e-9, atol=1e-11
    )


def test_error_bars_of_collocation_are_there_up_to_ten_thousand_points():
    v = lambda X: np.sin(5 * X[:, 0]) * np.sin(4 * X[:, 1])  # noqa: E731
    small = plane().fit(lambda X: -41 * v(X), v)
    inside = np.array([[0.4, 0.7], [0.2, 0.2]])
    mean, std = small.predict(inside, return_std=True)
    assert (np.abs(mean - v(inside)) < 3 * std).all()
    _, at_face = small.predict([[0.0, 0.5]], return_std=True)
    assert at_face[0] < 0.1 * std.min() or at_face[0] < 1e-4
    large = plane(grid=101).fit(lambda X: -41 * v(X), v)
    with pytest.raises(ValueError, match="all 10201 points of the grid, and 10000 is the most"):
        large.predict(inside, return_std=True)


@pytest.mark.parametrize(
    "solver",
    [
        line(),
        line("Laplacian() + Power(3) - Identity()"),
        line(method="marginal", max_iter=2),
        line(Laplacian() + Unknown("k", 1.0) * D("x"), max_iter=1),
        line(method="extra", kernel=SpectralMixture(3, max_frequency=4.0), max_iter=6),
        line(kernel=[RBF(0.1)], grid=np.linspace(0, 1, 30) ** 1.2),
    ],
    ids=lambda s: f"{s.method}-{s.operator!r}",
)
def test_a_loaded_solver_is_the_saved_one(solver, tmp_path):
    X = np.random.default_rng(0).uniform(size=(12, 1))
    observations = (X, u(X)) if "Unknown" in repr(solver.operator) else None
    solver.fit(f, u, observations=observations)
    solver.save(tmp_path / "solver")
    loaded = PDESolver.load(tmp_path / "solver")
    np.testing.assert_allclose(loaded.predict(X), solver.predict(X), rtol=1e-9, atol=1e-12)
    # a variance of 1e-12 is what is left of 1, so that a standard deviation of 1e-6 has an error of 1e-10
    one, two = (s.predict(X, return_std=True)[1] for s in (loaded, solver))
    np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-9)
    assert repr(loaded.operator) == repr(solver.operator)
    assert loaded.coefficients_ == solver.coefficients_
    loaded.fit(f, u, observations=observations)
    np.testing.assert_allclose(loaded.predict(X), solver.predict(X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("operator", "source", "message"),
    [
        (Laplacian() + Nonlinear(torch.sin), lambda X: f(X) + np.sin(u(X)), r"Nonlinear\(sin\) comes from a file"),
        (Laplacian() + Nonlinear(np.sin, np.cos), lambda X: f(X) + np.sin(u(X)), "which holds no functions"),
        (Field("c", lambda X: 1 + X[:, 0]) * Laplacian(), lambda X: (1 + X[:, 0]) * f(X), "Field.'c'. has no values"),
    ],
)
@pytest.mark.parametrize("method", ["collocation", "marginal"])
def test_of_functions_a_file_holds_the_names_and_what_is_needed_to_predict(operator, source, message, method, tmp_path):
    solver = line(operator, method=method, max_iter=None if method == "collocation" else 0).fit(source, u)
    solver.save(tmp_path / "solver")
    loaded = PDESolver.load(tmp_path / "solver")
    X = np.linspace(0.0, 1.0, 7)[:, None]
    np.testing.assert_allclose(loaded.predict(X), solver.predict(X), rtol=1e-9, atol=1e-12)
    assert repr(loaded.operator) == repr(solver.operator)
    with pytest.raises(ValueError, match=message):
        loaded.fit(source, u)


@pytest.mark.parametrize("method", ["collocation", "marginal", "joint", "extra"])
def test_no_points_give_no_values_and_points_beyond_are_refused(method):
    solver = line(method=method, max_iter=4, kernel=SpectralMixture(3, max_frequency=4.0, envelope="student_t"))
    solver.fit(f, u)
    X = np.zeros((0, 1))
    assert solver.predict(X).shape == (0,)
    assert [part.shape for part in solver.predict(X, return_std=True, derivatives=(2,))] == [(0,), (0,)]
    solver.predict([[1.0 + 1e-12]])
    with pytest.raises(ValueError, match=r"1 points of X lie outside of the domain, the first is \(5.5,\)"):
        solver.predict([[0.5], [5.5]])


def test_a_kernel_of_finite_smoothness_is_one_of_a_mixture():
    X = np.linspace(0.0, 1.0, 7)[:, None]
    one = line(kernel="Matern(0.3, nu=2.5)", method="marginal").fit(f, u)
    same = SpectralMixture(1, weights=[1.0], frequencies=[0.0], lengthscale=[0.3], envelope="student_t")
    two = line(kernel=same, method="marginal", max_iter=0).fit(f, u)
    np.testing.assert_allclose(one.predict(X), two.predict(X), rtol=1e-6, atol=1e-9)


def test_other_files_are_refused(tmp_path):
    line().save(tmp_path / "solver")
    from mercer.learn import KernelRidge

    with pytest.raises(FileFormatError, match="PDESolver"):
        KernelRidge.load(tmp_path / "solver")


def test_a_frequency_beyond_the_grid_is_noted_and_what_it_spoils_is_warned_of():
    warned = pytest.warns(ApproximationWarning, match="the solution found is not one")
    with TestCase().assertLogs("mercer.learn.pde", "INFO") as notes, warned:
        line(kernel=SpectralMixture(4, max_frequency=90.0, envelope="student_t")).fit(f, u)
    assert "up to 90, its grid tells them apart up to 24.5" in "\n".join(notes.output)


def test_clone_and_representation():
    from sklearn.base import clone

    solver = line(Laplacian() + Power(3), method="marginal")
    assert repr(clone(solver)) == repr(solver) != repr(line())
    assert solver.set_params(tol=1e-3).get_params()["tol"] == 1e-3
    with pytest.raises(ValueError, match=r"no argument 'tolerance'. It has: operator, domain"):
        solver.set_params(tolerance=1e-3)


def test_what_is_not_solved_cannot_be_asked():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="call fit"):
        line().predict([[0.5]])


def test_pictures():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    axes = line().fit(f, u).plot(Figure().subplots(), n=50)
    assert axes.get_xlabel() == "x"
    v = lambda X: np.sin(5 * X[:, 0]) * np.sin(4 * X[:, 1])  # noqa: E731
    axes = plane().fit(lambda X: -41 * v(X), v).plot(Figure().subplots(), n=20)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")
    cube = PDESolver(Laplacian(), domain=[(0, 1)] * 3, grid=8).fit(0.0, lambda X: X[:, 0])
    with pytest.raises(ValueError, match="predict on a slice"):
        cube.plot()
    with pytest.raises(ValueError, match="n must be a whole number >= 2"):
        line().fit(f, u).plot(n=0)
    points = PDESolver(Laplacian(), domain={"x": (0, 1)}, grid=np.linspace(0.0, 1.0, 30)[:, None], max_iter=1)
    points.fit(f, u).plot(Figure().subplots(), n=20)
