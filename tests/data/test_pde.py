import numpy as np
import pytest

from mercer.data import PDE_BENCHMARKS, pde_benchmark


@pytest.mark.parametrize("name", PDE_BENCHMARKS)
def test_the_source_is_the_operator_at_the_solution(name):
    problem = pde_benchmark(name, n=7)
    rng, h = np.random.default_rng(0), 1e-5
    X = np.stack([rng.uniform(low + 0.1, high - 0.1, size=20) for low, high in problem.domain.values()], 1)
    u = problem.solution

    def slope(axis, order):
        step = h * np.eye(X.shape[1])[axis]
        if order == 1:
            return (u(X + step) - u(X - step)) / (2 * h)
        return (u(X + step) - 2 * u(X) + u(X - step)) / h**2

    laplacian = sum(slope(i, 2) for i in range(X.shape[1]))
    value = slope(1, 1) + 200 * slope(0, 1) if name == "advection" else laplacian
    if name.startswith("allen"):
        value = value + u(X) ** 3 - u(X)
    np.testing.assert_allclose(value, problem.source(X), atol=2e-4 * max(1.0, np.abs(slope(0, 2)).max()))
    assert problem.grid == (7,) * X.shape[1]
    assert problem.error(problem.solution(problem.test_points(11)), 11) == 0.0


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="choose from poisson-sin"):
        pde_benchmark("poisson")


@pytest.mark.parametrize("n", [0, -1, 3, 2.5, "a", True])
def test_nodes_that_are_too_few_or_no_number_are_refused(n):
    with pytest.raises(ValueError, match="the nodes of an axis are a whole number >= 4"):
        pde_benchmark("advection", n)
    assert pde_benchmark("advection", np.int64(5)).grid == (5, 5)
