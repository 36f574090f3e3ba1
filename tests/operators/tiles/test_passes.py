"""Programs and tiles against the definition, at odd sizes and any tile shape."""

from dataclasses import replace

import pytest
import torch

from mercer import config
from mercer.operators.machine import tile_shape
from mercer.operators.maps import Bounds, clamp, leaf, make
from mercer.operators.operands import Identity, Operands
from mercer.operators.spec import Spec
from mercer.operators.statistics import Codes, Columns, DotProduct, L1Distance, Mismatch, OneHot, SquaredDistance
from mercer.operators.tiles import OuterCotangent, Tiles, pull, reference_rows
from mercer.operators.tiles.passes import blocks
from mercer.operators.tiles.pull import DenseCotangent

S0, S1, T0, ROW, COLUMN = (
    leaf("statistic", 0),
    leaf("statistic", 1),
    leaf("theta", 0),
    leaf("row", 0),
    leaf("column", 0),
)

MAPS = {
    "rbf": torch.exp(-0.5 * S0),
    "rbf with theta": torch.exp(-0.5 * S0 / (T0 * T0)) * T0,
    "matern 1/2": make("matern", S0, value=0.5),
    "matern 5/2": make("matern", S0 / T0, value=2.5),
    "matern 1.3": make("matern", S0, value=1.3),
    "rational quadratic": (1.0 + S0 / (2.0 * T0)) ** -0.7,
    "identity": S1 + 0.0,
    "polynomial": (S1 + T0) ** 3.0,
    "two statistics": torch.exp(-0.5 * S0) * S1 + 0.3 * torch.exp(-2.0 * S0) + T0,
    "row values": S1 * ROW * COLUMN / (ROW + COLUMN) * T0 + torch.exp(-ROW) + torch.exp(-COLUMN),
    "no statistic": torch.exp(-ROW) * torch.exp(-COLUMN),
    "a number": leaf("theta", 0) * 2.0,
    "trigonometric": torch.sin(S1) * torch.cos(0.3 * S1) + torch.erf(S1),
    "clamped": torch.maximum(clamp(S1, -0.5, 0.5), ROW * COLUMN),
    "angle": make("angle", S1 * 0.1),
}


def problem(name, n=37, m=53, d=3, dtype=torch.float64, symmetric=False):
    generator = torch.Generator().manual_seed(1)
    E = torch.randn(n, d, dtype=torch.float64, generator=generator).to(dtype)
    F = torch.randn(m, d, dtype=torch.float64, generator=generator).to(dtype)
    spec = Spec((SquaredDistance(), DotProduct()), (MAPS[name],), (0,), (None,))
    a, b = E.square().sum(1) + 1.0, F.square().sum(1) + 1.0
    theta = tuple(torch.tensor(1.3, dtype=torch.float64) for _ in spec.scalars)
    if symmetric:
        return Operands(spec, (E, E.clone()), None, (a,), None, ((), ()), theta)
    return Operands(spec, (E, E.clone()), (F, F.clone()), (a,), (b,), ((), ()), theta)


def definition(operands, identity=None):
    return reference_rows(operands, identity, 0, operands.shape[0])


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("tile", [(1, 1), (4, 7), (16, 16), (8, 64), (64, 64)])
@pytest.mark.parametrize("name", MAPS)
def test_tiles_agree_with_the_definition_at_any_tile_shape(name, tile, symmetric):
    operands = problem(name, symmetric=symmetric)
    K = definition(operands)
    v = torch.randn(K.shape[1], 3, dtype=torch.float64)
    tolerance = {"rtol": 1e-12, "atol": 1e-11} if name != "matern 1.3" else {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(Tiles(operands, tile=tile).dense(), K, **tolerance)
    torch.testing.assert_close(Tiles(operands, tile=tile).product(v), K @ v, **tolerance)


@pytest.mark.parametrize("k", [torch.exp(-ROW), 2.0 * COLUMN, S0 - ROW + S1 * COLUMN])
def test_maps_that_treat_the_sides_differently_give_rectangular_matrices(k):
    base = problem("rbf")
    spec = Spec(base.spec.statistics, (k,), (), (None,))
    operands = Operands(spec, base.left, base.right, base.row, base.column, ((), ()), ())
    torch.testing.assert_close(Tiles(operands, tile=(8, 16)).dense(), definition(operands))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", MAPS)
def test_pulled_gradients_agree_with_autograd_through_the_definition(name, symmetric):
    operands = problem(name, 11, 11 if symmetric else 14, symmetric=symmetric)
    leaves = [t.clone().requires_grad_(True) for t in operands.flat()]
    n, m = operands.shape
    u, v = torch.randn(n, 2, dtype=torch.float64), torch.randn(m, 2, dtype=torch.float64)
    K = definition(operands.unflatten(leaves))
    expected = torch.autograd.grad((u * (K @ v)).sum(), leaves, allow_unused=True)
    wanted = (True,) * len(leaves)
    for cotangent in (OuterCotangent(u, v), DenseCotangent(u @ v.mT)):
        for got, want in zip(pull(operands, cotangent, wanted), expected, strict=True):
            torch.testing.assert_close(got, torch.zeros_like(got) if want is None else want, rtol=1e-9, atol=1e-9)


def test_unwanted_gradients_are_not_computed():
    operands = problem("rbf with theta")
    cotangent = OuterCotangent(torch.ones(37, 1, dtype=torch.float64), torch.ones(53, 1, dtype=torch.float64))
    wanted = tuple(t.dim() == 0 for t in operands.flat())
    grads = pull(operands, cotangent, wanted)
    assert [g is not None for g in grads] == list(wanted)


def test_blocks_cover_each_pair_once():
    for symmetric, n, m in ((False, 10, 23), (True, 17, 17)):
        seen = torch.zeros(n, m)
        for b in blocks(n, m, 4, 8, symmetric=symmetric):
            seen[b.i0 : b.i1, b.j0 : b.j1] += 1
            if symmetric:
                seen[b.j0 + b.square : b.j1, b.i0 : b.i1] += 1
        assert seen.min() == seen.max() == 1


@pytest.mark.parametrize("d", [1, 2, 17])
def test_l1_distance_is_the_sum_of_differences(d):
    E, F = torch.randn(9, d, dtype=torch.float64), torch.randn(6, d, dtype=torch.float64)
    spec = Spec((L1Distance(),), (torch.exp(-S0),))
    operands = Operands(spec, (E,), (F,), (), (), ((),), ())
    expected = torch.exp(-torch.cdist(E, F, p=1))
    torch.testing.assert_close(Tiles(operands, tile=(4, 4)).dense(), expected)


def codes(n):
    return torch.randint(0, 4, (n, 3), generator=torch.Generator().manual_seed(n)).double()


def test_one_hot_distance_and_mismatch_count_the_same():
    X, Y = codes(8), codes(13)
    theta = (torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64),)
    expected = ((X[:, None] != Y[None]) / theta[0]).sum(-1)
    values = ((0.0, 1.0, 2.0, 3.0),) * 3
    hot = OneHot((0, 1, 2), values, 0)
    E, F = hot(X, theta, None), hot(Y, theta, None)
    torch.testing.assert_close(0.5 * SquaredDistance().table(E, F), expected)
    code = Codes((0, 1, 2), 0)
    E, F = code(X, theta, None), code(Y, theta, None)
    torch.testing.assert_close(Mismatch().table(E, F), expected)
    operands = Operands(Spec((Mismatch(),), (S0 + 0.0,)), (E,), (F,), (), (), ((),), ())
    torch.testing.assert_close(Tiles(operands, tile=(4, 8)).dense(), expected)


def test_mismatch_gradient_reaches_the_weights():
    X, Y = codes(8), codes(13)
    code = Codes((0, 1, 2), 0)
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64, requires_grad=True)
    E, F = code(X, (scale,), None), code(Y, (scale,), None)
    spec = Spec((Mismatch(),), (torch.exp(-S0),))
    G = torch.randn(8, 13, dtype=torch.float64)
    operands = Operands(spec, (E.detach(),), (F.detach(),), (), (), ((),), ())
    dE, dF = pull(operands, DenseCotangent(G), (True, True))
    (got,) = torch.autograd.grad((E * dE).sum() + (F * dF).sum(), scale)
    K = torch.exp(-((X[:, None] != Y[None]) / scale).sum(-1))
    (want,) = torch.autograd.grad((G * K).sum(), scale)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("name", ["rbf", "matern 1/2", "two statistics"])
def test_coincident_pairs_of_a_block_have_distance_exactly_zero(name):
    operands = problem(name, 20, 20, dtype=torch.float32, symmetric=True)
    rows, columns = torch.tensor([3, 7, 7, 1]), torch.tensor([7, 2, 3, 7, 19])
    E = operands.left[0] + 100.0  # far off centre: without exact zeros Matern 1/2 loses three digits
    block = Operands(
        operands.spec,
        (E[rows], operands.left[1][rows]),
        (E[columns], operands.left[1][columns]),
        (operands.row[0][rows],),
        (operands.row[0][columns],),
        ((), ()),
        operands.theta,
    )
    identity = Identity(rows, columns)
    got = Tiles(block, identity=identity, tile=(2, 2)).dense()
    expected = definition(block, identity)
    same = rows[:, None] == columns[None]
    torch.testing.assert_close(got[same], expected[same], rtol=1e-6, atol=1e-6)


def test_identity_lists_every_coincident_pair():
    rows, columns = torch.tensor([5, 2, 5, 9]), torch.tensor([2, 5, 5, 0])
    i, j = Identity(rows, columns).pairs()
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 0), (2, 1), (2, 2)]


def test_near_duplicates_of_a_rough_kernel_keep_their_digits():
    # float32 GEMM distances lose |x|^2 eps; under a square root that is 3e-4, unless near pairs are computed again
    X = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    Y = X + 1e-4 * torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
    spec = Spec((SquaredDistance(),), (make("matern", S0, value=0.5),))
    got = Tiles(Operands(spec, (X,), (Y,), (), (), ((),), ())).dense().diagonal()
    expected = torch.exp(-(X.double() - Y.double()).norm(dim=1))
    assert (got - expected).abs().max() < 3e-7


def test_underflow_is_clamped_to_something_negligible():
    X = 30.0 * torch.randn(50, 3)
    spec = Spec((SquaredDistance(),), (torch.exp(-0.5 * S0),))
    K = Tiles(Operands(spec, (X,), None, (), None, ((),), ())).dense()
    assert (K >= 1e-36).all()
    assert K.max() == 1.0
    assert K[0, 1] < 1e-30


def test_tile_shape_fits_the_cache_or_is_two_megabytes(monkeypatch):
    for cache in (1 << 18, 1 << 21, 1 << 23):
        monkeypatch.setattr(config, "cache_bytes", lambda cache=cache: cache)
        rows, columns = tile_shape(3, torch.zeros(1, dtype=torch.float64))
        assert columns >= rows >= 32
        assert 8 * rows * columns <= max(cache / 3, 1 << 21)
        assert 8 * rows * columns > max(cache / 3, 1 << 21) / 2


def test_a_hungry_statistic_gets_small_tiles():
    rows, columns = tile_shape(1, torch.zeros(1), bytes_per_pair=1e6)
    assert rows * columns <= 16


def test_empty_matrices_give_empty_or_zero_results():
    E, F = torch.zeros(0, 3), torch.randn(4, 3)
    spec = Spec((SquaredDistance(),), (torch.exp(-S0),))
    operands = Operands(spec, (F,), (E,), (), (), ((),), ())
    assert Tiles(operands).product(torch.zeros(0, 2)).tolist() == [[0.0, 0.0]] * 4
    assert Tiles(operands.transposed()).product(torch.zeros(4, 2)).shape == (0, 2)


def test_columns_and_scales_of_an_embedding():
    X = torch.arange(6.0).reshape(2, 3)
    theta = (torch.tensor([2.0, 4.0], dtype=torch.float64),)
    E = Columns((2, 0), 0)(X, theta, None)
    assert E.tolist() == [[1.0, 0.0], [2.5, 0.75]]


@pytest.mark.parametrize("limit", [0.3, 4.0])  # a few of the pairs, and most of them
@pytest.mark.parametrize("symmetric", [False, True])
def test_pairs_beyond_the_bounds_of_a_shortcut_are_exact(limit, symmetric):
    operands = problem("rbf", 150, 130, dtype=torch.float32, symmetric=symmetric)
    exact = torch.exp(-0.5 * S0)
    wrong = exact * torch.sqrt(S0 - limit) / torch.sqrt(S0 - limit)  # NaN where it must not be used
    spec = replace(operands.spec, terms=(make("shortcut", exact, wrong, value=Bounds(0, 1.001 * limit, 1e9)),))
    tiles = Tiles(replace(operands, spec=spec), tile=(64, 64))
    torch.testing.assert_close(tiles.dense(), definition(operands), rtol=2e-6, atol=2e-6)
    v = torch.randn(130 if not symmetric else 150, 3)
    torch.testing.assert_close(tiles.product(v), definition(operands) @ v, rtol=2e-5, atol=2e-5)
    assert torch.isnan(Tiles(replace(operands, spec=replace(spec, terms=(wrong,)))).dense()).any()
