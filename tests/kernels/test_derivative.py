"""Covariances of derivatives: closed forms, finite differences, exact limits, and what is refused."""

import math

import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import (
    RBF,
    Derivative,
    Laplacian,
    Linear,
    Matern,
    Pairwise,
    Polynomial,
    RationalQuadratic,
    SpectralMixture,
    White,
    parse,
)

DOUBLE = torch.float64
X = torch.randn(6, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
Y = torch.randn(4, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
P = torch.randn(6, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
Q = torch.randn(4, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(3))
POINT = torch.zeros(1, 1, dtype=DOUBLE)
WAVES = {"frequencies": [0.3, 1.1], "lengthscale": [0.8, 1.5]}
SMOOTH = [
    RBF(0.7),
    Matern(0.7, nu=2.5),
    Matern(0.7, nu=3.2),
    Matern(0.7, nu=4.5),
    RationalQuadratic(0.7, 0.9),
    SpectralMixture(2, **WAVES),
    SpectralMixture(2, **WAVES, envelope="student_t"),
    Linear(bias=0.3),
    Polynomial(4, 0.5),
    (RBF(0.7) + 0.2 * Linear()) ** 2 * Matern(1.0, nu=3.5),
]


def closed_form(name, z, a):
    """The derivative of order a by z, written out: card formulas of GP-HM (Fang et al. 2024)."""
    if name == "rbf":
        rho = 0.5 / 0.7**2
        factor = {
            1: -2 * rho * z,
            2: 4 * rho**2 * z**2 - 2 * rho,
            3: 12 * rho**2 * z - 8 * rho**3 * z**3,
            4: 16 * rho**4 * z**4 - 48 * rho**3 * z**2 + 12 * rho**2,
        }[a]
        return factor * torch.exp(-rho * z**2)
    s = math.sqrt(5.0) / 0.7
    r = z.abs()
    factor = {
        1: -(s**2 / 3) * z * (1 + s * r),
        2: -(s**2 / 3) * (1 + s * r - s**2 * r**2),
        3: s**4 / 3 * z * (3 - s * r),
        4: s**4 / 3 * (3 - 5 * s * r + s**2 * r**2),
    }[a]
    return factor * torch.exp(-s * r)


@pytest.mark.parametrize("orders", [(1, 0), (0, 1), (1, 1), (2, 0), (2, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize(("name", "kernel"), [("rbf", RBF(0.7)), ("matern", Matern(0.7, nu=2.5))])
def test_derivatives_are_the_closed_forms_also_at_coincident_points(name, kernel, orders):
    a, b = orders
    x, y = torch.cat([X, POINT, Y]), torch.cat([Y, POINT])
    expected = (-1.0) ** b * closed_form(name, x - y.mT, a + b)
    for plan in ("tiles", "dense"):
        found = kernel.derivative(a, b)(x, y, plan=plan) @ torch.eye(len(y), dtype=DOUBLE)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_the_second_derivative_of_matern_at_0_is_the_limit():
    assert float(Matern(2.0, nu=2.5).derivative(2, 0)(POINT).to_dense()) == pytest.approx(-5.0 / 12.0, rel=1e-14)
    assert float(Matern(2.0, nu=2.5).derivative(2, 2)(POINT).to_dense()) == pytest.approx((5**0.5 / 2) ** 4, rel=1e-14)
    assert float(Matern(2.0, nu=1.5).derivative(1, 1)(POINT).to_dense()) == pytest.approx(3.0 / 4.0, rel=1e-14)
    assert float(Matern(2.0, nu=2.0).derivative(1, 1)(POINT).to_dense()) == pytest.approx(2.0 / 4.0, rel=1e-7)


@pytest.mark.parametrize("nu", [1.5, 2.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_near_points_far_off_centre_keep_their_digits(nu, dtype):
    x = (torch.arange(5, dtype=DOUBLE) / 1024.0 + 1024.0).to(dtype)[:, None]  # exact in both types
    far = torch.cat([x, x + 7.0])
    order = math.ceil(nu) - 1
    found = Matern(0.7, nu=nu).derivative(order, order)(far, x).to_dense().double()
    exact = far.double() - x.double().mT
    s = math.sqrt(2 * nu) / 0.7
    r = exact.abs()
    if nu == 1.5:
        expected = s**2 * (1 - s * r) * torch.exp(-s * r)
    else:
        expected = s**4 / 3 * (3 - 5 * s * r + s**2 * r**2) * torch.exp(-s * r)
    tolerance = 300 * torch.finfo(dtype).eps  # (|x| / l)^2 is 50 here
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("kernel", SMOOTH, ids=lambda k: repr(k)[:24])
def test_each_derivative_is_the_slope_of_the_one_before(kernel):
    h = 1e-4
    smoothness = kernel.nu if isinstance(kernel, Matern) else (2.5 if "student" in repr(kernel) else 9.0)
    for a, b in [(1, 0), (0, 1), (1, 1), (2, 1), (2, 2)]:
        if max(a, b) >= smoothness:
            continue
        if a > b:
            lower = kernel.derivative(a - 1, b)
            slope = (lower(X + h, Y).to_dense() - lower(X - h, Y).to_dense()) / (2 * h)
        else:
            lower = kernel.derivative(a, b - 1)
            slope = (lower(X, Y + h).to_dense() - lower(X, Y - h).to_dense()) / (2 * h)
        found = kernel.derivative(a, b)(X, Y).to_dense()
        torch.testing.assert_close(found, slope, rtol=1e-5, atol=1e-5 * float(found.abs().max()))


@pytest.mark.parametrize(
    "kernel",
    [
        RBF([0.7, 1.1, 2.0]),
        Matern([0.7, 1.1, 2.0], nu=3.5),
        Polynomial(3, 0.4, [1.0, 2.0, 1.5]),
        SpectralMixture(2, frequencies=[[0.1, 0.3, 0.2], [0.5, 0.2, 0.1]]),
        RBF(0.9).on([0, 2]) * Matern(1.1, nu=2.5).on(1) + Linear().on([2, 0]),
    ],
    ids=["rbf", "matern", "polynomial", "spectral", "columns"],
)
def test_mixed_derivatives_in_several_columns(kernel):
    h, step = 1e-4, torch.tensor([0.0, 0.0, 1e-4], dtype=DOUBLE)
    lower = kernel.derivative([1, 0, 0], [0, 1, 0])
    for side in ("x", "y"):
        if side == "x":
            slope = (lower(P + step, Q).to_dense() - lower(P - step, Q).to_dense()) / (2 * h)
            found = kernel.derivative([1, 0, 1], [0, 1, 0])(P, Q).to_dense()
        else:
            slope = (lower(P, Q + step).to_dense() - lower(P, Q - step).to_dense()) / (2 * h)
            found = kernel.derivative([1, 0, 0], [0, 1, 1])(P, Q).to_dense()
        torch.testing.assert_close(found, slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kernel", SMOOTH, ids=lambda k: repr(k)[:24])
def test_a_cross_covariance_is_a_matrix_of_its_own_in_each_triangle(kernel):
    one, other = kernel.derivative(1, 0), kernel.derivative(0, 1)
    K = one(X)
    dense = K.to_dense()
    torch.testing.assert_close(dense, other(X).to_dense().mT, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(K.mT.to_dense(), dense.mT, rtol=1e-12, atol=1e-12)
    v, u = torch.randn(6, 2, dtype=DOUBLE), torch.randn(6, 2, dtype=DOUBLE)
    for plan in ("dense", "tiles"):
        torch.testing.assert_close(K.with_plan(plan) @ v, dense @ v)
        torch.testing.assert_close(K.with_plan(plan).mT @ v, dense.mT @ v)
    torch.testing.assert_close((3.0 * one)(X).to_dense(), 3.0 * dense)
    torch.testing.assert_close((one + other)(X).to_dense(), dense + dense.mT)
    torch.testing.assert_close(K[1:4, 2:].mT.to_dense(), dense[1:4, 2:].mT)
    torch.testing.assert_close(K.diagonal(), dense.diagonal())
    v.requires_grad_(True)
    ((K @ v) * u).sum().backward()
    torch.testing.assert_close(v.grad, dense.mT @ u)


@pytest.mark.parametrize(
    "kernel", [RBF([0.7, 1.1, 2.0]), Matern(0.8, nu=2.5), Polynomial(3), SpectralMixture(2, **WAVES)], ids=repr
)
def test_gradients_of_a_cross_covariance(kernel):
    bound = kernel.derivative([0, 1, 0], [0, 0, 0])
    paths = [h.path for h in bound.hyperparameters()]
    theta = [h.value.clone().requires_grad_(True) for h in bound.hyperparameters()]
    A, B = P[:3].clone().requires_grad_(True), Q[:2].clone().requires_grad_(True)
    v = torch.randn(2, 1, dtype=DOUBLE, requires_grad=True)

    def product(A, B, v, *theta):
        return bound.with_values(dict(zip(paths, theta, strict=True)))(A, B, plan="tiles") @ v

    assert torch.autograd.gradcheck(product, (A, B, v, *theta), atol=1e-7, fast_mode=True)
    assert torch.autograd.gradgradcheck(product, (A, B, v, *theta), atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("kernel", SMOOTH, ids=lambda k: repr(k)[:24])
def test_equal_orders_give_a_positive_semidefinite_kernel(kernel):
    x = torch.linspace(-2.0, 2.0, 25, dtype=DOUBLE)[:, None]
    for order in (1, 2):
        if isinstance(kernel, Matern) and order >= kernel.nu:
            continue
        values = torch.linalg.eigvalsh(kernel.derivative(order, order)(x).to_dense())
        assert values[0] >= -1e-12 * values[-1]


@pytest.mark.parametrize("orders", [(a, b) for a in range(5) for b in range(5 - a)])
@pytest.mark.parametrize("envelope", ["student_t", "gaussian"])
def test_waves_have_all_derivatives_up_to_the_fourth(envelope, orders):
    kernel = SpectralMixture(2, weights=[0.7, 0.3], frequencies=[0.4, 1.1], lengthscale=[0.8, 1.3], envelope=envelope)
    z = torch.tensor([-1.3, -0.2, 0.05, 0.7], dtype=DOUBLE, requires_grad=True)
    r = z.abs()
    total = torch.zeros_like(z)
    for w, mu, scale in ((0.7, 0.4, 0.8), (0.3, 1.1, 1.3)):
        s = 5.0**0.5 * r / scale
        shape = (1 + s + s**2 / 3) * torch.exp(-s) if envelope == "student_t" else torch.exp(-0.5 * (r / scale) ** 2)
        total = total + w * shape * torch.cos(2 * torch.pi * mu * z)
    for _ in range(sum(orders)):
        (total,) = torch.autograd.grad(total.sum(), z, create_graph=True)
    sign = (-1.0) ** orders[1]
    derivative = kernel.derivative(*orders)
    found = derivative(z.detach()[:, None], POINT).to_dense()[:, 0]
    torch.testing.assert_close(found, sign * total.detach(), rtol=1e-11, atol=1e-11)
    if sum(orders) == 4:  # where x = y, autograd of |z| has no limit: a^4 of the envelope and the waves' own
        near = derivative(POINT + 1e-7, POINT).to_dense()
        torch.testing.assert_close(derivative(POINT, POINT).to_dense(), near, rtol=1e-4, atol=0)
    if sum(orders) % 2:
        assert float(derivative(POINT, POINT).to_dense()) == 0.0


def test_the_fourth_derivative_of_matern_at_0_is_the_limit_for_all_orders():
    for a in range(5):
        found = float(Matern(2.0, nu=2.5).derivative(a, 4 - a)(POINT).to_dense())
        assert found == pytest.approx((-1.0) ** a * (5**0.5 / 2) ** 4, rel=1e-13)
    twice = Matern(2.0, nu=2.5).derivative(1, 1).derivative(1, 1)
    torch.testing.assert_close(twice(X, Y).to_dense(), Matern(2.0, nu=2.5).derivative(2, 2)(X, Y).to_dense())


def test_derivatives_of_order_0_and_of_derivatives():
    torch.testing.assert_close(RBF(0.7).derivative(0, 0)(P, Q).to_dense(), RBF(0.7)(P, Q).to_dense())
    twice = RBF(0.7).derivative(1, 0).derivative(0, 1)
    torch.testing.assert_close(twice(X, Y).to_dense(), RBF(0.7).derivative(1, 1)(X, Y).to_dense())
    kernel = 2.0 * Matern(0.7, nu=2.5).derivative(1, 1) + White(0.1)
    assert parse(repr(kernel)) == kernel
    assert [h.path for h in kernel.derivative(0, 0).hyperparameters()][:1] == ["kernel__left__scale"]


def test_a_column_that_the_kernel_does_not_see_has_derivative_0():
    kernel = RBF(0.7).on(0) * Laplacian().on(1)
    assert not kernel.derivative([0, 0, 1], [0, 0, 0])(P, Q).to_dense().any()
    # the rough factor is harmless where its own column is left alone
    found = kernel.derivative([1, 0, 0], [0, 0, 0])(P, Q).to_dense()
    expected = RBF(0.7).derivative(1, 0)(P[:, :1], Q[:, :1]).to_dense() * Laplacian()(P[:, 1:2], Q[:, 1:2]).to_dense()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("kernel", "orders", "error", "message"),
    [
        (Matern(nu=1.5), (2, 1), ValueError, "has derivatives of orders below 2 nu in all, and order 3 is asked for"),
        (Matern(nu=0.5), (1, 0), ValueError, "has derivatives of orders below 2 nu in all, and order 1 is asked for"),
        (Matern(nu=1.5).derivative(1, 1), (1, 1), ValueError, r"nu=1\.5 has derivatives .*, and order 4 is asked for"),
        (RBF() + White(0.1), (1, 1), TypeError, "tells a point from itself"),
        (Laplacian(), (1, 0), TypeError, "there is no rule for L1Distance of Columns"),
        (Pairwise("cosine"), (1, 0), TypeError, "there is no rule for TileStatistic"),
    ],
)
def test_what_is_not_smooth_enough_is_refused(kernel, orders, error, message):
    with pytest.raises(error, match=message):
        kernel.derivative(*orders)(X)


def test_orders_that_are_none_are_refused():
    for orders in [(-1, 0), (0.5, 0), (True, 0), ([1, "1"], [0, 0])]:
        with pytest.raises(ValueError, match="orders are whole numbers >= 0"):
            RBF().derivative(*orders)
    with pytest.raises(ValueError, match="is of order 5 in all, and 4 is the most"):
        RBF().derivative(3, 2)
    with pytest.raises(ShapeError, match="the kernel sees 3 columns, so it needs 3 orders"):
        RBF().derivative(1, 0)(P)
    with pytest.raises(TypeError, match="must be a kernel"):
        Derivative(3.0, 1, 1)
