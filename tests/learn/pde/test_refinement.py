"""What a solver does where nodes are few: other kernels, a residual between the nodes, and what it refuses."""

import numpy as np
import pytest

from mercer.data import pde_benchmark
from mercer.errors import ApproximationWarning
from mercer.learn.pde import D, Field, Identity, Laplacian, PDESolver


def product(function):
    """Of the function of each coordinate."""
    return lambda X: np.prod(function(X), 1)


@pytest.mark.parametrize(("name", "n", "at_most"), [("sin", 12, 1e-6), ("exp", 12, 1e-5), ("sin", 20, 1e-6)])
def test_smooth_solutions_on_few_nodes_take_a_kernel_without_waves(name, n, at_most):
    u = product(getattr(np, name))
    sign = -1.0 if name == "sin" else 1.0
    solver = PDESolver(Laplacian(), domain=(0, 1), grid=n).fit(lambda X: sign * u(X), u)
    X = np.linspace(0.0, 1.0, 333)[:, None]
    assert np.abs(solver.predict(X) - u(X)).max() < at_most  # 0.06 and 0.14 with the waves of a monotonous source
    assert solver.spectrum_[0]["frequencies"].tolist() == [0.0]
    assert solver.residual_ < 1e-3


def test_smooth_solutions_in_space():
    u = product(np.sin)
    solver = PDESolver(Laplacian(), domain=[(0, 1)] * 3, grid=12).fit(lambda X: -3.0 * u(X), u)
    X = np.random.default_rng(0).random((200, 3))
    assert np.abs(solver.predict(X) - u(X)).max() < 1e-5  # 5e-2 with the waves


def test_waves_are_kept_where_they_serve():
    problem = pde_benchmark("poisson-sin")
    solver = PDESolver(problem.operator, domain=problem.domain, grid=400).fit(problem.source, problem.boundary)
    assert solver.spectrum_[0]["frequencies"][0] == pytest.approx(100.0 / (2.0 * np.pi), rel=1e-3)
    assert solver.residual_ < 1e-6


@pytest.mark.parametrize(("name", "n"), [("poisson-sin", 40), ("poisson-sin", 150), ("poisson-2d-sin", 200)])
def test_a_grid_that_confuses_waves_is_told(name, n):
    problem = pde_benchmark(name, n)
    with pytest.warns(ApproximationWarning, match="between the nodes after 1 steps: the solution found is not one"):
        solver = PDESolver(problem.operator, domain=problem.domain, grid=n).fit(problem.source, problem.boundary)
    assert solver.residual_ > 0.5


@pytest.mark.parametrize(("source", "n"), [(1.0, 20), (1.0, 80), (1.0, 200), (1.0, 400), (0.0, 80), (0.0, 400)])
def test_a_solution_that_is_not_the_only_one_is_refused(source, n):
    solver = PDESolver(Laplacian() + np.pi**2 * Identity(), domain=(0, 1), grid=n)
    with pytest.raises(ValueError, match="The solution is not unique as far as this grid can tell"):
        solver.fit(source, (0.0, 0.0))
    near = PDESolver(Laplacian() + 9.86 * Identity(), domain=(0, 1), grid=n).fit(1.0, (0.0, 0.0))
    assert np.abs(near.values_).max() == pytest.approx((1.0 / np.cos(0.5 * 9.86**0.5) - 1.0) / 9.86, rel=0.01)


def test_nor_is_it_in_a_plane():
    with pytest.raises(ValueError, match="not unique as far as this grid"):
        PDESolver(Laplacian() + 2.0 * np.pi**2 * Identity(), domain=[(0, 1)] * 2, grid=20).fit(1.0, lambda X: 0.0)


def test_many_modes_near_a_wave_number_are_no_harm():
    def u(X):
        return np.sin(100.0 * X[:, 0]) * np.cos(50.0 * X[:, 1])

    solver = PDESolver(Laplacian() + 1e4 * Identity(), domain=[(0, 1)] * 2, grid=220).fit(lambda X: -2500.0 * u(X), u)
    X = np.random.default_rng(0).random((100, 2))
    assert np.abs(solver.predict(X) - u(X)).max() < 1e-4


@pytest.mark.parametrize("method", ["collocation", "marginal", "joint"])
def test_too_little_on_the_boundary_is_refused_by_every_method(method):
    heat = PDESolver(D("t") - Laplacian(), domain={"x": (0, 1), "t": (0, 1)}, grid=8, method=method, max_iter=2)
    with pytest.raises(ValueError, match="of order 1 along 't' and needs data on 1 of its faces, but got 0"):
        heat.fit(0.0, {"x": (0.0, 0.0)})
    plane = PDESolver(Laplacian(), domain=[(0, 1)] * 2, grid=8, method=method, max_iter=2)
    with pytest.raises(ValueError, match="of order 2 along 'y' and needs data on 2 of its faces, but got 1"):
        plane.fit(1.0, {"x": (0.0, 0.0), "y": (0.0, None)})


def test_what_is_known_at_the_nodes_alone_has_its_residual_there():
    u = product(np.sin)
    nodes = np.linspace(0.0, 1.0, 20)[:, None]
    assert PDESolver(Laplacian(), domain=(0, 1), grid=20).fit(-u(nodes), (0.0, np.sin(1.0))).residual_ < 1e-10
    varying = Field("c", lambda X: 1.0 + X[:, 0]) * Laplacian()
    solver = PDESolver(varying, domain=(0, 1), grid=20).fit(lambda X: -(1.0 + X[:, 0]) * u(X), u)
    assert 1e-10 < solver.residual_ < 1e-2


def test_other_methods_have_their_residual_between_the_nodes_too():
    u = product(lambda X: np.sin(5.0 * X))
    for method in ("marginal", "joint"):
        solver = PDESolver(Laplacian(), domain=(0, 1), grid=30, method=method, max_iter=100)
        solver.fit(lambda X: -25.0 * u(X), u)
        X = solver.nodes_[0][:-1, None] + 0.382 * np.diff(solver.nodes_[0])[:, None]
        off = solver.predict(X, derivatives=(2,)) + 25.0 * u(X)
        assert solver.residual_ == pytest.approx(np.linalg.norm(off) / np.linalg.norm(25.0 * u(X)), rel=0.2)
