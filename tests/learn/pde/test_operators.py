import numpy as np
import pytest

from mercer.learn.pde import D, Field, Identity, Laplacian, Nonlinear, Power, Unknown
from mercer.learn.pde.text import parse_operator


def terms(operator, names="xyt"):
    return {(t.orders, t.symbols): t.number for t in parse_operator(operator).linear_terms(tuple(names))}


def test_the_laplacian_is_of_all_axes_but_time():
    assert terms(Laplacian()) == {((2, 0, 0), ()): 1.0, ((0, 2, 0), ()): 1.0}
    assert terms(Laplacian("x", "t")) == {((2, 0, 0), ()): 1.0, ((0, 0, 2), ()): 1.0}


def test_arithmetic_adds_like_terms_and_applies_products_one_after_the_other():
    assert terms(3.0 * D("x", 2) - D("x") * D("x") + 0 * Identity()) == {((2, 0, 0), ()): 2.0}
    assert terms((D("x") + 2 * D("y")) * (D("x") - D("y")) / 2) == {
        ((2, 0, 0), ()): 0.5,
        ((1, 1, 0), ()): 0.5,
        ((0, 2, 0), ()): -1.0,
    }
    assert terms(sum([D(0), D(1)])) == {((1, 0, 0), ()): 1.0, ((0, 1, 0), ()): 1.0}


def test_symbols_stand_in_front():
    c, k = Field("c", lambda X: X[:, 0]), Unknown("k", 2.0)
    assert terms(c * D("x") - k * Identity()) == {((1, 0, 0), (c,)): 1.0, ((0, 0, 0), (k,)): -1.0}


@pytest.mark.parametrize(
    "text", ["-Laplacian() + 3**2 * Identity()", "D('t') + 200 * D('x')", "Laplacian() + Power(3) - Identity()"]
)
def test_text_and_representation_mean_the_same(text):
    operator = parse_operator(text)
    assert repr(parse_operator(repr(operator))) == repr(operator)
    assert terms(repr(operator)) == terms(operator)


@pytest.mark.parametrize(
    "text", ["__import__('os')", "Laplacian().__class__", "Laplacian(", "x + 1", "D('x')(2)", "[1]"]
)
def test_text_that_is_no_formula_is_refused(text):
    with pytest.raises(ValueError, match="no differential operator"):
        parse_operator(text)


def test_nonlinear_functions_know_their_derivatives():
    u, v = np.array([0.5, -1.0]), np.array([2.0, 3.0])
    by_torch = Nonlinear(lambda a, b: a * b**2, of=(Identity(), D("x")))
    by_hand = Nonlinear(lambda a, b: a * b**2, lambda a, b: (b**2, 2 * a * b), of=(Identity(), D("x")))
    for one, other in zip(by_torch.values([u, v])[1], by_hand.values([u, v])[1], strict=True):
        np.testing.assert_allclose(one, other)
    np.testing.assert_allclose(Power(3).values([u])[1][0], 3 * u**2)
    assert len((2.0 * by_hand - Power(2) + Laplacian()).nonlinear) == 2


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Laplacian() + 1.0, TypeError, r"c \* Identity"),
        (lambda: terms(D("z")), ValueError, "no axis 'z'"),
        (lambda: terms(Laplacian() * Laplacian()), ValueError, "4 times along one axis"),
        (lambda: D("x", -1), ValueError, "whole number"),
        (lambda: D("x") * (Field("c") * D("x")), TypeError, "product rule"),
        (lambda: D("x") * Power(2), TypeError, "cannot be multiplied"),
        (lambda: Field("c") * Power(2), TypeError, r"into Nonlinear\(fn\)"),
        (lambda: Nonlinear(np.sin, of=(Power(2),)), TypeError, "takes linear operators"),
        (lambda: Nonlinear(lambda u: np.ones(3)).values([np.ones(3)]), TypeError, "written in torch"),
        (lambda: Nonlinear(np.sin, lambda u: (u, u)).values([np.ones(3)]), ValueError, "2 derivatives for 1"),
    ],
)
def test_what_means_nothing_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
