"""Arc-cosine kernels: the integral they stand for, and angles near 0 and pi."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from mercer.kernels import ArcCosine
from mercer.operators.maps import derivatives, evaluate, leaf, make
from mercer.operators.statistics import Angle, Columns

DOUBLE = torch.float64
S = leaf("statistic", 0)


def on_circle(angles, radius=1.0, dtype=DOUBLE):
    angles = torch.as_tensor(angles, dtype=DOUBLE)
    return (radius * torch.stack([angles.cos(), angles.sin()], -1)).to(dtype)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2, 2.5, 3.0])
def test_it_is_twice_the_mean_over_random_units(order, angle):
    # w of a standard normal, in polar coordinates: the mean of |w|^(2n) is 2^n n!
    def over_directions(t):
        return max(math.cos(t), 0.0) ** order * max(math.cos(t - angle), 0.0) ** order

    low, high = angle - math.pi / 2, math.pi / 2  # where both are positive
    mean = quad(over_directions, low, high)[0] / (2.0 * math.pi)
    expected = 2.0 * mean * 2.0**order * math.factorial(order) * (1.5 * 0.7) ** order
    K = ArcCosine(order, bias_variance=0.0)(on_circle([0.0], 1.5), on_circle([angle], 0.7))
    assert K.to_dense().item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("near", [0.0, math.pi])
def test_nearly_parallel_and_opposite_points_lose_no_digits_in_float32(order, near):
    gaps = np.array([0.0, 1e-6, 3e-5, 1e-4, 1e-3, 1e-2, 0.3])
    X, Y = on_circle([0.7], dtype=torch.float32), on_circle(0.7 + near + gaps, dtype=torch.float32)
    A, B = X.double(), Y.double()
    cross = (A[:, 0] * B[:, 1] - A[:, 1] * B[:, 0]).numpy()
    angle = np.abs(np.arctan2(cross, (A @ B.T).numpy()[0]))
    J = {
        0: np.pi - angle,
        1: np.sin(angle) + (np.pi - angle) * np.cos(angle),
        2: 3.0 * np.sin(angle) * np.cos(angle) + (np.pi - angle) * (1.0 + 2.0 * np.cos(angle) ** 2),
    }[order]
    norms = (A.norm(dim=1)[:, None] * B.norm(dim=1)).numpy()[0] ** order
    kernel = ArcCosine(order, bias_variance=0.0)
    for plan in ("dense", "tiles"):
        values = kernel(X, Y, plan=plan) @ torch.eye(len(gaps))
        np.testing.assert_allclose(values.double().numpy()[0], norms * J / np.pi, rtol=0.0, atol=4e-7)


def test_one_column_without_bias_compares_signs():
    X = torch.tensor([[1.0], [-2.0], [3.0], [1e-3]])
    expected = (X.sign() @ X.sign().T + 1.0) / 2.0
    torch.testing.assert_close(ArcCosine(0, bias_variance=0.0)(X).to_dense(), expected, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("plan", ["dense", "tiles"])
def test_zero_vectors_are_half_like_all_others_at_order_zero_and_nothing_above(plan):
    X = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    step = ArcCosine(0, bias_variance=0.0)(X, X.clone(), plan=plan) @ torch.eye(3)
    torch.testing.assert_close(step, torch.tensor([[1.0, 0.5, 1.0], [0.5, 1.0, 0.5], [1.0, 0.5, 1.0]]))
    ramp = ArcCosine(1, bias_variance=0.0)(X, plan=plan) @ torch.eye(3)
    torch.testing.assert_close(ramp, torch.diag(torch.tensor([0.0, 1.0, 0.0])))


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_derivative_rule_of_the_op_agrees_with_differences(order):
    h = torch.linspace(0.05, 1.95, 21, dtype=DOUBLE, requires_grad=True)  # 1 - cosine
    k = make("arc_cosine", S, value=order)
    (slope,) = evaluate(derivatives(k, [S]), {S: h})
    step = 1e-6
    up, down = (evaluate([k], {S: h.detach() + sign * step})[0] for sign in (1.0, -1.0))
    torch.testing.assert_close(slope.detach(), (up - down) / (2 * step), rtol=1e-6, atol=1e-8)
    assert torch.autograd.gradcheck(lambda h: evaluate([k], {S: h})[0], h)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_lose_no_digits_where_directions_nearly_coincide(order, dtype):
    gaps = torch.tensor([0.0, 1e-8, 1e-5, 1e-3, 0.1], dtype=DOUBLE)
    X, Y = on_circle([0.7], 1.5, dtype).requires_grad_(), on_circle(0.7 + gaps, 0.7, dtype)
    (ArcCosine(order, bias_variance=0.0)(X, Y, plan="tiles") @ torch.eye(5, dtype=dtype)).sum().backward()
    # d/dx of (|x| |y|)^n J_n(t) / pi, by hand
    x, others = X.detach().double()[0], Y.double()
    t = torch.atan2(others[:, 1] * x[0] - others[:, 0] * x[1], others @ x)
    c, sine, rest = t.cos(), t.sin(), math.pi - t.abs()
    J = {1: sine.abs() + rest * c, 2: 3.0 * sine.abs() * c + rest * (1.0 + 2.0 * c * c)}[order]
    lower = {1: rest, 2: sine.abs() + rest * c}[order]
    size, sizes = x.norm(), others.norm(dim=1)
    along, across = x / size, torch.stack([-x[1], x[0]]) / size
    slope = (size ** (order - 1) * sizes**order / math.pi)[:, None]
    expected = slope * (order * J[:, None] * along + (order**2 * lower * sine)[:, None] * across)
    error = (X.grad[0].double() - expected.sum(0)).norm() / expected.abs().sum()
    assert error < 8.0 * torch.finfo(dtype).eps


def test_angles_of_a_tile_are_those_of_the_definition():
    E = torch.nn.functional.normalize(torch.randn(40, 3), dim=1)
    F = torch.cat([E[:5], -E[5:9], torch.nn.functional.normalize(torch.randn(21, 3), dim=1)])
    angle = Angle(Columns())
    out, scratch = torch.empty(40, 30), torch.empty(40, 30)
    angle.panels(E, F, (), 1.0, False).fill(0, 40, 0, 30, out, scratch)
    expected = angle.table(E.double(), F.double())
    torch.testing.assert_close(out.double(), expected, rtol=0.0, atol=2e-6)


@pytest.mark.parametrize("order", [-1, 3, 0.5, True, "1"])
def test_another_order_is_refused(order):
    with pytest.raises(ValueError, match="the order must be 0, 1 or 2"):
        ArcCosine(order)
