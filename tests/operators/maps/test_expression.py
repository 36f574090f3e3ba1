import math
import pickle

import pytest
import torch

from mercer.operators.maps import (
    OPERATIONS,
    Bounds,
    clamp,
    constant,
    count_calls,
    derivatives,
    evaluate,
    leaf,
    lower,
    make,
    matern,
    matern_polynomial,
    quick_forms,
    reciprocal_or_zero,
    safe_sqrt,
    substitute,
)
from mercer.operators.maps.special import safe_power
from mercer.operators.spec import singular_statistics

S, T, ROW = leaf("statistic", 0), leaf("theta", 0), leaf("row", 0)


def test_equal_expressions_are_one_object():
    assert torch.exp(-0.5 * S) is torch.exp(-0.5 * S)
    assert torch.exp(-0.5 * S) is not torch.exp(-0.25 * S)


def test_expressions_survive_pickle_as_the_same_object():
    k = torch.exp(-0.5 * S / (T * T)) * ROW + clamp(S, 0.0, 1.0)
    assert pickle.loads(pickle.dumps(k)) is k


def test_numbers_fold_and_meet():
    assert (S * 2.0) * 3.0 is S * 6.0
    assert (2.0 * S) * (3.0 * ROW) is (S * ROW) * 6.0
    assert S * 1.0 is S
    assert S + 0.0 is S
    assert (S * 0.0).number == 0.0
    assert S / 4.0 is S * 0.25
    assert make("exp", constant(0.0)).number == 1.0
    assert clamp(clamp(S, min=0.0), max=3.0) is clamp(S, 0.0, 3.0)


def test_theta_becomes_a_number_and_folds():
    (k,) = substitute((torch.exp(-0.5 * S / (T * T)),), {T: constant(2.0)})
    assert k is torch.exp(S * -0.125)


def test_a_function_outside_the_op_set_is_refused_by_name():
    with pytest.raises(TypeError, match=r"torch\.fft_fft is not in the op set.*exp"):
        torch.fft.fft(S)


UNARY = ["exp", "exp2", "log", "sqrt", "rsqrt", "sin", "cos", "erf", "asin", "acos", "angle"]


@pytest.mark.parametrize("op", UNARY)
def test_derivative_rule_of_a_unary_op_agrees_with_autograd(op):
    x = torch.linspace(0.1, 0.9, 7, dtype=torch.float64, requires_grad=True)
    k = make(op, S)
    (value,) = evaluate([k], {S: x})
    (expected,) = torch.autograd.grad(value.sum(), x)
    (slope,) = evaluate(derivatives(k, [S]), {S: x})
    torch.testing.assert_close(slope.expand_as(expected), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "atan2", "maximum"])
def test_derivative_rule_of_a_binary_op_agrees_with_autograd(op):
    x = torch.linspace(0.1, 0.9, 7, dtype=torch.float64, requires_grad=True)
    y = torch.linspace(0.8, 0.2, 7, dtype=torch.float64, requires_grad=True)
    k = make(op, S, ROW)
    values = {S: x, ROW: y}
    expected = torch.autograd.grad(evaluate([k], values)[0].sum(), (x, y))
    for got, want in zip(evaluate(derivatives(k, [S, ROW]), values), expected, strict=True):
        torch.testing.assert_close(got.expand_as(want), want)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0, 7.0, -1.0, -2.5, 0.3])
def test_powers_and_their_derivatives(exponent):
    x = torch.linspace(0.2, 2.0, 9, dtype=torch.float64)
    k = S**exponent
    value, slope = evaluate([k, *derivatives(k, [S])], {S: x})
    torch.testing.assert_close(value.expand_as(x), x**exponent)
    torch.testing.assert_close(slope.expand_as(x), exponent * x ** (exponent - 1.0))


def test_a_shared_part_is_differentiated_once_and_summed():
    e = torch.exp(-S)
    k = e * e + e
    x = torch.tensor([0.3], dtype=torch.float64)
    (slope,) = evaluate(derivatives(k, [S]), {S: x})
    torch.testing.assert_close(slope, -2.0 * torch.exp(-2.0 * x) - torch.exp(-x))


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5, 3.5, 0.3, 1.0, 1.7, 4.2])
def test_matern_agrees_with_scikit_learn_and_its_derivative_with_differences(nu):
    from sklearn.gaussian_process.kernels import Matern

    r = torch.linspace(0.0, 6.0, 25, dtype=torch.float64)
    expected = Matern(nu=nu)([[0.0]], r.unsqueeze(1).numpy())[0]
    # scikit-learn adds eps to r before the Bessel function: 1e-9 there, round-off at half-integer nu
    torch.testing.assert_close(matern(r * r, value=nu), torch.from_numpy(expected), rtol=1e-7, atol=1e-9)
    s = torch.linspace(0.05, 20.0, 30, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: matern(s, value=nu), s, atol=1e-6)
    (slope,) = evaluate(derivatives(make("matern", S, value=nu), [S]), {S: s.detach()})
    (expected_slope,) = torch.autograd.grad(matern(s, value=nu).sum(), s)
    torch.testing.assert_close(slope, expected_slope)


def test_matern_slope_at_zero_is_finite_where_it_exists():
    zero = torch.zeros(1, dtype=torch.float64)
    for nu in (1.5, 2.5, 1.7):
        (slope,) = evaluate(derivatives(make("matern", S, value=nu), [S]), {S: zero})
        torch.testing.assert_close(slope.item(), -nu / (2.0 * (nu - 1.0)))
    (rough,) = evaluate(derivatives(make("matern", S, value=0.5), [S]), {S: zero})
    assert rough.item() == 0.0  # infinite; a coincident pair pulls in no direction


def test_matern_polynomials_are_the_closed_forms():
    assert matern_polynomial(0.5) == (1.0,)
    assert matern_polynomial(1.5) == (1.0, 1.0)
    assert matern_polynomial(2.5) == pytest.approx((1.0 / 3.0, 1.0, 1.0))
    assert matern_polynomial(1.7) is None


def test_guarded_functions_are_zero_with_zero_slope_at_zero():
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    safe_sqrt(x).sum().backward()
    assert x.grad.abs().max() == 0.0
    assert reciprocal_or_zero(torch.tensor([0.0, 4.0])).tolist() == [0.0, 0.25]


@pytest.mark.parametrize("exponent", [0.3, 0.7, 1.4, 2.6])
def test_a_fractional_power_of_zero_has_no_slope_of_any_order(exponent):
    x = torch.tensor([0.0, 0.8], dtype=torch.float64, requires_grad=True)
    p = torch.tensor(exponent, dtype=torch.float64)
    value = safe_power(x, p)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    expected = [0.8**exponent, exponent * 0.8 ** (exponent - 1.0), exponent * (exponent - 1.0) * 0.8 ** (exponent - 2)]
    for found, other in zip((value, slope, bend), expected, strict=True):
        torch.testing.assert_close(found.detach(), torch.tensor([0.0, other], dtype=torch.float64))


def test_other_powers_of_zero_and_of_negative_numbers_are_those_of_torch():
    x = torch.tensor([0.0, -2.0, 3.0])
    for exponent in (-1.5, -20.0, 20.0, 0.4):
        found = safe_power(x, torch.tensor(exponent))
        torch.testing.assert_close(found, x**exponent, equal_nan=True)


def test_derivatives_may_be_singular_where_the_map_is_not():
    k = make("matern", S, value=1.5)
    assert singular_statistics((k,)) == frozenset()
    assert singular_statistics(tuple(derivatives(k, [S]))) == {0}
    assert singular_statistics((ROW * leaf("statistic", 1), S**0.4)) == {0}


def test_every_op_can_be_computed_into_a_buffer_or_expanded():
    for name, operation in OPERATIONS.items():
        assert operation.into is not None or operation.expand is not None, name


def test_angle_of_a_cosine_pushed_past_one_is_zero():
    (value,) = evaluate([make("angle", S)], {S: torch.tensor([1.0 + 1e-7, -1.0 - 1e-7], dtype=torch.float64)})
    assert value.tolist() == [0.0, math.pi]


def test_an_angle_has_no_slope_at_coincident_and_at_opposite_points():
    c = torch.tensor([1.0, -1.0, 0.6], dtype=torch.float64, requires_grad=True)
    evaluate([make("angle", S)], {S: c})[0].sum().backward()
    torch.testing.assert_close(c.grad, torch.tensor([0.0, 0.0, -1.25], dtype=torch.float64))


def test_a_shortcut_is_its_exact_form_except_for_tiles():
    s = leaf("statistic", 0)
    exact, quick = torch.sin(s), torch.cos(s)
    bounds = Bounds(0, 0.5, 2.0)
    root = 2.0 * make("shortcut", exact, quick, value=bounds) + 1.0
    values = {s: torch.tensor([0.3, 0.7], dtype=torch.float64)}
    torch.testing.assert_close(evaluate([root], values), evaluate([2.0 * exact + 1.0], values))
    assert derivatives(root, [s]) == derivatives(2.0 * exact + 1.0, [s])
    assert lower((root,), lambda node: node, prefer_exp2=False) == (2.0 * exact + 1.0,)
    assert quick_forms((root,)) == ((2.0 * quick + 1.0,), (bounds,))
    assert quick_forms((exact,)) == ((exact,), ())
    assert "cos" in count_calls(root, polynomials=True)
    assert "cos" not in count_calls(root, polynomials=False)
    assert pickle.loads(pickle.dumps(root)) is root
