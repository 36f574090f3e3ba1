import torch

from mercer.operators.remember import remembered
from mercer.operators.structure import find_grid, find_lattice


def test_a_grid_is_found_in_any_order_and_with_holes():
    a, b = torch.tensor([0.0, 0.3, 2.0]), torch.tensor([5.0, -1.0])
    X = torch.cartesian_prod(a, b)[[4, 0, 3, 1, 5]]
    grid = find_grid(X)
    assert [axis.tolist() for axis in grid.axes] == [a.tolist(), [-1.0, 5.0]]
    assert (grid.size, grid.is_full) == (6, False)
    rebuilt = torch.cartesian_prod(*grid.axes)[grid.places]
    assert torch.equal(rebuilt, X)


def test_random_points_are_no_grid():
    assert find_grid(torch.rand(50, 2)) is None
    assert find_grid(torch.rand(10_000, 2)) is None


def test_a_lattice_holds_both_sets_of_points():
    X = torch.linspace(-3, -2, 21, dtype=torch.float64)[:, None]
    Y = X[3:20:2] + 1.0
    lattice = find_lattice(X, Y)
    assert lattice.shape == (40,)
    assert abs(lattice.steps[0] - 0.05) < 1e-12
    assert torch.equal(lattice.rows, torch.arange(21))
    assert torch.equal(lattice.columns, torch.arange(23, 40, 2))


def test_steps_that_round_off_has_made_uneven_are_no_lattice():
    X = torch.linspace(0, 1, 21)[:, None] + 1e4  # float32: steps of 0.0488 and 0.0498
    assert find_lattice(X, X) is None


def test_a_long_float32_series_is_a_lattice_though_its_gaps_differ_by_a_tenth():
    X = torch.linspace(0, 1, 1_000_000)[:, None]
    assert find_lattice(X, X[::7]).shape == (1_000_000,)


def test_uneven_steps_are_no_lattice():
    X = torch.tensor([[0.0], [1.0], [2.5], [3.2]])
    assert find_lattice(X, X) is None
    assert find_lattice(torch.rand(50, 2), torch.rand(50, 2)) is None


def test_a_constant_column_is_one_place():
    X = torch.cartesian_prod(torch.arange(4.0), torch.tensor([7.0]))
    assert find_lattice(X, X).shape == (4, 1)


def test_what_was_found_is_kept_until_the_points_change():
    X, calls = torch.zeros(3), []

    def look():
        calls.append(1)
        return len(calls)

    assert [remembered("key", X, X, look) for _ in range(2)] == [1, 1]
    X += 1.0
    assert remembered("key", X, X, look) == 2
    assert remembered("key", X, torch.zeros(3), look) == 3
    assert remembered("other", X, X, look) == 4
