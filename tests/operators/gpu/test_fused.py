"""Fused kernels in Triton's interpreter: sizes, batches, blocks, near pairs, repeatability, functions."""

from importlib import import_module

import pytest
import torch

from mercer import kernels
from mercer.operators.gpu import Fused, runs_fused, why_not_fused
from mercer.operators.gpu.fused import _Prepared
from mercer.operators.gpu.module import load
from mercer.operators.gpu.printer import FORMS, print_triton
from mercer.operators.logarithm import log_spec
from mercer.operators.maps import OPERATIONS, leaf, make
from mercer.operators.operands import Identity, Operands
from mercer.operators.planning import Request
from mercer.operators.plans.tiles import TilesPlan
from mercer.operators.spec import Spec
from mercer.operators.statistics import Angle, DotProduct, L1Distance, MinSum, SquaredDistance, Statistic
from mercer.operators.tiles import reference_rows

triton = pytest.importorskip("triton", reason="fused kernels need triton: pip install 'mercer[gpu]'")

DOUBLE = torch.float64
S0, S1, T0, ROW, COLUMN = (
    leaf("statistic", 0),
    leaf("statistic", 1),
    leaf("theta", 0),
    leaf("row", 0),
    leaf("column", 0),
)
RBF = torch.exp(-0.5 * S0 / (T0 * T0))
BOTH = RBF * (1.0 + S1) * ROW * COLUMN


def problem(n, m, d, dtype=torch.float32, k=BOTH, batch=(), symmetric=False):
    generator = torch.Generator().manual_seed(n + 10 * d)
    E = (torch.randn(*batch, n, d, dtype=DOUBLE, generator=generator) / d**0.5).to(dtype)
    F = (torch.randn(*batch, m, d, dtype=DOUBLE, generator=generator) / d**0.5).to(dtype)
    a, b = 1.0 + E.square().sum(-1), 1.0 + F.square().sum(-1)
    spec = Spec((SquaredDistance(), DotProduct()), (k,), (0,), (None,))
    theta = (torch.linspace(0.8, 1.3, max(1, len(batch) and batch[0]), dtype=DOUBLE),) if spec.scalars else ()
    theta = tuple(t.reshape(batch) if batch else t[0] for t in theta)
    if symmetric:
        return Operands(spec, (E, E.clone()), None, (a,), None, ((), ()), theta)
    return Operands(spec, (E, E.clone()), (F, F.clone()), (a,), (b,), ((), ()), theta)


def definition(operands, identity=None):
    double = operands.unflatten([t.double() for t in operands.flat()])
    return reference_rows(double, identity, 0, operands.shape[0])


def require_product(operands, v, result, identity=None, factor=40.0):
    K = definition(operands, identity)
    size = (K.abs() @ v.double().abs()).norm()
    assert (result.double() - K @ v.double()).norm() <= factor * torch.finfo(v.dtype).eps * size


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
@pytest.mark.parametrize(
    ("n", "m", "d", "t"), [(1, 1, 1, 1), (2, 1, 3, 3), (1, 63, 9, 1), (63, 2, 17, 17), (129, 65, 3, 1), (5, 3, 70, 9)]
)
def test_products_of_any_size_agree_with_the_definition(n, m, d, t, dtype):
    operands = problem(n, m, d, dtype)
    v = torch.randn(m, t, dtype=DOUBLE).to(dtype)
    result = Fused(operands).product(v)
    assert result.shape == (n, t)
    assert result.dtype == dtype
    require_product(operands, v, result)


@pytest.mark.parametrize(("d", "t"), [(3, 1), (9, 17), (17, 3), (70, 17)])
def test_gradients_agree_with_autograd_through_the_definition(d, t):
    operands = problem(7, 5, d)
    leaves = [x.double().requires_grad_(True) for x in operands.flat()]
    u, v = torch.rand(7, t), torch.rand(5, t)
    K = definition(operands.unflatten(leaves))
    expected = torch.autograd.grad((u.double() * (K @ v.double())).sum(), leaves)
    for got, want in zip(Fused(operands).pull(u, v, (True,) * len(leaves)), expected, strict=True):
        assert (got.double() - want).norm() <= 100.0 * torch.finfo(torch.float32).eps * want.norm()


def test_a_batch_is_its_matrices_one_by_one():
    operands = problem(6, 37, 3, batch=(3,))
    u, v = torch.randn(3, 6, 2), torch.randn(3, 37, 2)
    wanted = (True,) * len(operands.flat())
    result, grads = Fused(operands).product(v), Fused(operands).pull(u, v, wanted)
    for b in range(3):
        one = Fused(operands.select(b))
        assert torch.equal(result[b], one.product(v[b]))
        for together, alone in zip(grads, one.pull(u[b], v[b], wanted), strict=True):
            torch.testing.assert_close(together[b], alone, rtol=1e-6, atol=0.0)


def test_unwanted_gradients_are_not_computed():
    operands = problem(4, 5, 3)
    wanted = tuple(x.dim() == 0 for x in operands.flat())
    grads = Fused(operands).pull(torch.ones(4, 1), torch.ones(5, 1), wanted)
    assert [g is not None for g in grads] == list(wanted)


def test_sides_of_a_map_that_is_not_symmetric_get_their_own_gradients():
    operands = problem(4, 5, 3, DOUBLE, k=ROW * S1 + torch.exp(-COLUMN))
    leaves = [x.clone().requires_grad_(True) for x in operands.flat()]
    u, v = torch.randn(4, 2, dtype=DOUBLE), torch.randn(5, 2, dtype=DOUBLE)
    expected = torch.autograd.grad(
        (u * (definition(operands.unflatten(leaves)) @ v)).sum(), leaves, allow_unused=True, materialize_grads=True
    )
    for got, want in zip(Fused(operands).pull(u, v, (True,) * len(leaves)), expected, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("symmetric", [True, False])
def test_coincident_pairs_have_distance_exactly_zero(symmetric):
    base = problem(9, 9, 17, k=make("matern", S0, value=0.5), symmetric=True)
    E = base.left[0] + 100.0  # far off centre, where a GEMM of norms loses every digit of a distance
    rows, columns = torch.tensor([3, 7, 7, 1]), torch.tensor([7, 2, 3, 7, 8])
    identity = None if symmetric else Identity(rows, columns)
    left, right = ((E, E), None) if symmetric else ((E[rows], E[rows]), (E[columns], E[columns]))
    operands = Operands(
        Spec(base.spec.statistics, base.spec.terms), left, right, (), None if symmetric else (), ((), ()), ()
    )
    n, m = operands.shape
    K = Fused(operands, identity).product(torch.eye(m))
    same = torch.eye(n, dtype=torch.bool) if symmetric else rows[:, None] == columns
    assert (K[same] == 1.0).all()
    assert (K[~same] < 1.0).all()


def test_near_duplicates_of_a_rough_kernel_keep_their_digits():
    X = torch.randn(20, 17, generator=torch.Generator().manual_seed(0))
    Y = X + 1e-4 * torch.randn(20, 17, generator=torch.Generator().manual_seed(1))
    spec = Spec((SquaredDistance(),), (make("matern", S0, value=0.5),))
    got = Fused(Operands(spec, (X,), (Y,), (), (), ((),), ())).product(torch.eye(20)).diagonal()
    expected = torch.exp(-(X.double() - Y.double()).norm(dim=1))
    assert (got - expected).abs().max() < 3e-7


def nearly_parallel(d):
    """Unit vectors, and others that are 1e-4 radians away from them or from their opposite; the first ones are 0."""
    generator = torch.Generator().manual_seed(d)
    E = torch.randn(8, d, dtype=DOUBLE, generator=generator)
    F = E / E.norm(dim=1, keepdim=True) + 1e-4 * torch.randn(8, d, dtype=DOUBLE, generator=generator) / d**0.5
    E, F = ((A / A.norm(dim=1, keepdim=True)).float() for A in (E, F))
    F[::2] *= -1.0
    E[0] = F[0] = 0.0
    return E, F


@pytest.mark.parametrize("d", [3, 9, 17])  # columns in registers, columns in a loop, a GEMM of halves
def test_angles_keep_their_digits_near_0_and_pi(d):
    E, F = nearly_parallel(d)
    for k, exact in ((S0 + 0.0, False), (3.141592653589793 - S0, True)):
        operands = Operands(Spec((Angle(),), (k,)), (E,), (F,), (), (), ((),), ())
        got = Fused(operands).product(torch.eye(8))
        expected = torch.pi - definition(operands) if exact else definition(operands)
        got = torch.pi - got.double() if exact else got.double()
        assert (got - expected).abs().max() < 5e-7
    near = (
        Fused(Operands(Spec((Angle(),), (S0 + 0.0,)), (E,), (F,), (), (), ((),), ())).product(torch.eye(8)).diagonal()
    )
    assert near[0] == 0.0
    torch.testing.assert_close(
        near[1::2].double(), Angle().pairs(E[1::2].double(), F[1::2].double()), rtol=2e-6, atol=0.0
    )


@pytest.mark.parametrize(("d", "error"), [(3, 2e-6), (9, 2e-6), (17, 2e-3)])  # a GEMM leaves eps / sin
def test_angles_of_nearly_parallel_points_pull_in_the_right_direction(d, error):
    E, F = (A[1:, None] for A in nearly_parallel(d))  # a batch of pairs
    left, right = (A.double().requires_grad_(True) for A in (E, F))
    ones = torch.ones(len(E), 1, 1)
    got = Fused(Operands(Spec((Angle(),), (S0 + 0.0,)), (E,), (F,), (), (), ((),), ())).pull(ones, ones, (True, True))
    expected = torch.autograd.grad(Angle().pairs(left, right).sum(), (left, right))
    for mine, theirs in zip(got, expected, strict=True):
        assert ((mine.double() - theirs).norm(dim=-1) <= error * theirs.norm(dim=-1)).all()


def test_both_sides_of_a_tie_share_the_gradient():
    E, F = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[1.0, 1.0], [4.0, 0.0], [3.0, 2.0]])
    leaves = [A.double().requires_grad_(True) for A in (E, F)]
    u, v = torch.tensor([[1.0], [0.5]]), torch.tensor([[0.3], [0.7], [-2.0]])
    spec = Spec((MinSum(),), (S0 * S0,))
    K = definition(Operands(spec, (leaves[0],), (leaves[1],), (), (), ((),), ()))
    expected = torch.autograd.grad((u.double() * (K @ v.double())).sum(), leaves)
    got = Fused(Operands(spec, (E,), (F,), (), (), ((),), ())).pull(u, v, (True, True))
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-6, atol=1e-6)


def test_logarithms_of_a_matern_kernel_are_right_where_it_is_0():
    spec = log_spec(Spec((SquaredDistance(),), (make("matern", S0, value=2.5),)))
    E, F = 60.0 * torch.rand(7, 3), 60.0 * torch.rand(5, 3)
    operands = Operands(spec, (E,), (F,), (), (), ((),), ())
    require_product(operands, torch.ones(5, 1), Fused(operands).product(torch.ones(5, 1)), factor=4.0)
    leaves = [A.double().requires_grad_(True) for A in (E, F)]
    K = definition(Operands(spec, (leaves[0],), (leaves[1],), (), (), ((),), ()))
    got = Fused(operands).pull(torch.ones(7, 1), torch.ones(5, 1), (True, True))
    for mine, theirs in zip(got, torch.autograd.grad(K.sum(), leaves), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_halves_of_numbers_of_any_size_keep_their_digits(scale):
    E, F = torch.randn(5, 17) * scale, torch.randn(6, 17) * scale
    operands = Operands(Spec((DotProduct(),), (S0 + 0.0,)), (E,), (F,), (), (), ((),), ())
    v = torch.randn(6, 2)
    result, exact = Fused(operands).product(v), E.double() @ F.double().mT
    size = (E.double().abs() @ F.double().abs().mT @ v.double().abs()).norm()
    assert (result.double() - exact @ v.double()).norm() <= 4e-7 * size


def test_results_repeat_to_the_bit_and_depend_on_tiles_by_round_off_only():
    operands, v, u = problem(40, 70, 3), torch.randn(70, 2), torch.randn(40, 2)
    wanted = (True,) * len(operands.flat())
    first, second = (Fused(operands).pull(u, v, wanted) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.testing.assert_close(
        Fused(operands, tile=(64, 16)).product(v), Fused(operands).product(v), rtol=1e-5, atol=1e-5
    )


def test_many_columns_pass_through_several_partial_sums():
    operands, v = problem(1, 1100, 1, k=RBF), torch.rand(1100, 1)
    require_product(operands, v, Fused(operands, tile=(16, 16)).product(v), factor=4.0)


def test_a_new_hyperparameter_compiles_nothing():
    operands, v = problem(3, 4, 3), torch.randn(4, 1)
    Fused(operands).product(v)
    before = load.cache_info().misses
    other = operands.unflatten([*operands.flat()[:-1], operands.theta[0] * 1.7])
    require_product(other, v, Fused(other).product(v))
    assert load.cache_info().misses == before


def test_empty_matrices_give_empty_or_zero_results():
    operands = problem(3, 0, 3)
    assert Fused(operands).product(torch.zeros(0, 2)).tolist() == [[0.0, 0.0]] * 3
    grads = Fused(operands).pull(torch.ones(3, 2), torch.zeros(0, 2), (True,) * len(operands.flat()))
    assert all(bool((g == 0.0).all()) for g in grads)


def test_tensors_of_the_cpu_stay_with_plain_tiles():
    assert not runs_fused(problem(3, 4, 3))


def test_reasons_against_fusion():
    spec = Spec((SquaredDistance(),), (torch.exp(-S0),))
    assert why_not_fused(spec, torch.float32) is None
    assert "float16" in why_not_fused(spec, torch.float16)
    assert "'matern'" in why_not_fused(Spec((SquaredDistance(),), (make("matern", S0, value=1.2),)), torch.float32)
    assert "Statistic" in why_not_fused(Spec((Statistic(),), (S0 + 0.0,)), torch.float32)


def test_reasons_against_fusion_on_a_device(monkeypatch):
    spec, cuda = Spec((SquaredDistance(),), (torch.exp(-S0),)), torch.device("cuda", 0)
    assert "not on cpu" in why_not_fused(spec, torch.float32, torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert "cuda:0 has 7.5" in why_not_fused.__wrapped__(spec, torch.float32, cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert why_not_fused.__wrapped__(spec, torch.float32, cuda) is None
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert "ROCm" in why_not_fused.__wrapped__(spec, torch.float32, cuda)


@pytest.mark.parametrize(
    ("device", "nu", "words"),
    [
        ("cpu", 1.5, "in cache, nothing is stored"),
        ("cuda", 1.5, "in one fused kernel, nothing is stored"),
        ("cuda", 1.2, "tile by tile, nothing is stored; the op 'matern' has no fused form"),
    ],
)
def test_the_plan_says_whether_the_fused_kernel_runs(device, nu, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    spec = Spec((SquaredDistance(),), (make("matern", S0, value=nu),))
    request = Request(spec, (3,), (100, 50), torch.float32, symmetric=False, device=device)
    assert words in TilesPlan().predict(request).reason


KERNEL = kernels.RBF(0.9) + 0.2 * kernels.Linear()


@pytest.mark.parametrize("batch", [(2,), (3, 2)])
@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("kernel", [KERNEL, KERNEL.derivative([1, 0], [0, 0])], ids=["sum", "slope"])
def test_a_batch_is_one_launch_and_equals_the_loop(kernel, sides, batch, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    points = [torch.randn(*batch, n, 2, dtype=DOUBLE, generator=generator) for n in (5, 4)[:sides]]
    v = torch.randn(*batch, points[-1].shape[-2], 2, dtype=DOUBLE, generator=generator)
    launches = []

    def run():
        leaves = [t.clone().requires_grad_(True) for t in (*points, v)]
        K = kernel(*leaves[:-1]).with_plan("tiles")
        product = K @ leaves[-1]
        return K.symmetric, product.detach(), torch.autograd.grad(product.square().sum(), leaves)

    symmetric, expected, slopes = run()
    for module in ("tiles.pull", "plans.tiles"):
        monkeypatch.setattr(import_module(f"mercer.operators.{module}"), "runs_fused", lambda operands: True)
    launch = _Prepared.launch
    monkeypatch.setattr(_Prepared, "launch", lambda *args: (launches.append(1), launch(*args)))
    _, got, gradients = run()
    torch.testing.assert_close(got, expected)
    for mine, theirs in zip(gradients, slopes, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert len(launches) == (3 if symmetric else 4)  # K v, K' u, the rows' gradient, the columns'


def test_without_triton_the_reason_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    spec = Spec((L1Distance(),), (torch.exp(-3.7 * S0),))
    assert "mercer[gpu]" in why_not_fused.__wrapped__(spec, torch.float32)


def test_every_op_can_be_printed():
    lowered_away = {"exp"} | {name for name, operation in OPERATIONS.items() if operation.expand}
    assert set(OPERATIONS) - lowered_away == set(FORMS) | {"clamp"}


def test_factors_common_to_all_pairs_become_one_number():
    printed = print_triton((torch.exp(-0.5 * S0 / (T0 * T0)),), "tl.float32")
    assert printed.lines[0] == "e0 = s0 * p0"
    assert len(printed.lines) == 3  # times a number, at least -80, exp2
    (value,) = printed.values({0: torch.tensor(2.0, dtype=DOUBLE)})
    torch.testing.assert_close(
        value, torch.tensor(-0.125 / torch.log(torch.tensor(2.0, dtype=DOUBLE)).item(), dtype=DOUBLE)
    )


UNIT = torch.cat([torch.linspace(-1.0, 1.0, 41), torch.tensor([0.99999994, -0.99999994, 1e-6])])
FUNCTIONS = [  # map, torch's function, arguments, absolute error in float32
    (make("acos", S0), torch.acos, UNIT, 3e-7),
    (make("asin", S0), torch.asin, UNIT, 2e-7),
    (make("angle", S0), lambda x: torch.acos(x.clamp(-1.0, 1.0)), UNIT * 1.5, 3e-7),
    (make("erf", S0), torch.erf, 3.0 * UNIT, 2e-7),
    (make("log1p", S0), torch.log1p, torch.tensor([0.0, 1e-9, 1e-4, 0.3, 2.0, 50.0]), 5e-7),
    (make("expm1", S0), torch.expm1, torch.tensor([0.0, -1e-9, 1e-4, -0.3, -2.0, -200.0, 3.0]), 1e-5),
    (make("sin", S0), torch.sin, 9.0 * UNIT, 2e-7),
    (make("pow", S0, 1.7), lambda x: x**1.7, UNIT.abs(), 2e-7),
    (make("pow", S0, 17.0), lambda x: x**17, UNIT, 2e-6),
    (make("rsqrt", S0), torch.rsqrt, 1.0 + UNIT.abs(), 2e-7),
    (make("reciprocal_or_zero", S0), lambda x: torch.where(x == 0, 0.0, 1.0 / x), torch.tensor([0.0, 2.0, -0.7]), 2e-7),
    (make("step", S0), lambda x: torch.heaviside(x, x.new_tensor(0.5)), torch.tensor([-1.0, 0.0, 3.0]), 0.0),
    (make("sqrt", S0), lambda x: x.clamp(min=0.0).sqrt(), UNIT, 2e-7),
    (make("atan2", S0, S0 - 0.25), lambda x: torch.atan2(x, x - 0.25), UNIT, 3e-7),
    (make("maximum", S0, S0 * S0), lambda x: torch.maximum(x, x * x), UNIT, 2e-7),
]


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
@pytest.mark.parametrize(("k", "function", "x", "error"), FUNCTIONS, ids=[repr(f[0]) for f in FUNCTIONS])
def test_functions_keep_their_stated_accuracy(k, function, x, error, dtype):
    x = x.to(dtype)
    operands = Operands(Spec((DotProduct(),), (k,)), (x[:, None],), (torch.ones(1, 1, dtype=dtype),), (), (), ((),), ())
    got = Fused(operands).product(torch.ones(1, 1, dtype=dtype))[:, 0]
    assert (got.double() - function(x.double())).abs().max() <= error * (1.0 if dtype == torch.float32 else 2e-8)


@pytest.mark.filterwarnings("ignore:invalid value encountered in sqrt")  # NumPy, on behalf of the interpreter
def test_an_arc_cosine_beyond_1_is_nan():
    x = torch.tensor([[1.5], [-1.5]])
    operands = Operands(Spec((DotProduct(),), (make("acos", S0),)), (x,), (torch.ones(1, 1),), (), (), ((),), ())
    assert Fused(operands).product(torch.ones(1, 1)).isnan().all()
