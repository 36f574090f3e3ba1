"""Logarithms of maps against the logarithm of the map in float64, and where there are none."""

import math

import pytest
import torch

from mercer.operators.logarithm import log_of
from mercer.operators.maps import constant, derivatives, evaluate, leaf, make

S, S1, T, ROW = leaf("statistic", 0), leaf("statistic", 1), leaf("theta", 0), leaf("row", 0)
DISTANCES = frozenset({S, S1})

FORMS = {
    "number": constant(3.0),
    "exp": torch.exp(-0.5 * S),
    "exp2": make("exp2", -S),
    "product": torch.exp(-S) * torch.exp(-0.1 * S1) * T,
    "quotient": torch.exp(-S) / (1.0 + S1),
    "power": torch.exp(-S) ** 3.0,
    "rough power": (torch.exp(-S) + T) ** 0.3,
    "roots": torch.sqrt(torch.exp(-S)) * torch.rsqrt(T + torch.exp(-S1)),
    "sum": torch.exp(-S) + T * torch.exp(-0.2 * S1) + 0.3,
    "maximum": torch.maximum(torch.exp(-S), T * torch.exp(-S1)),
    "rational": (1.0 + S / (2.0 * T)) ** -0.7,
    "square": (leaf("statistic", 2) + T) ** 2.0,
    **{f"matern {nu}": make("matern", S / T, value=nu) for nu in (0.3, 0.5, 1.0, 1.3, 1.5, 2.5, 4.5, 5.5)},
}


def values(scale=1.0):
    draw = torch.Generator().manual_seed(0)
    found = {leaf("statistic", g): scale * torch.rand(50, dtype=torch.float64, generator=draw) + 0.01 for g in range(3)}
    return found | {T: torch.tensor(0.7, dtype=torch.float64)}


@pytest.mark.parametrize("name", FORMS)
def test_logarithm_agrees_with_the_logarithm_of_the_value(name):
    form = log_of(FORMS[name], DISTANCES)
    expected, found = evaluate([FORMS[name]], values())[0].log(), evaluate([form], values())[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", [n for n in FORMS if n != "number"])
def test_derivative_of_the_logarithm_is_the_ratio(name):
    # Both go through the rules of ops; those of K_0 (nu = 1) hold to 1e-8, as special.py says.
    inputs = [leaf("statistic", 0), leaf("statistic", 1), T]
    value = evaluate([FORMS[name]], values())[0]
    expected = evaluate(derivatives(FORMS[name], inputs), values())
    found = evaluate(derivatives(log_of(FORMS[name], DISTANCES), inputs), values())
    for ours, theirs in zip(found, expected, strict=True):
        ours, theirs = torch.broadcast_tensors(ours * torch.ones(50, dtype=torch.float64), theirs / value)
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5, 4.5, 5.5, 1.3])
def test_matern_far_away_is_minus_r_and_a_power(nu):
    r = 1e4
    s = torch.tensor([r * r / (2.0 * nu)], dtype=torch.float64)
    assert float(evaluate([make("matern", S, value=nu)], {S: s})[0]) == 0.0
    (found,) = evaluate([log_of(make("matern", S, value=nu))], {S: s})
    # K_nu(r) = sqrt(pi / 2r) e^-r (1 + (4 nu^2 - 1) / 8r + ...), Abramowitz & Stegun 9.7.2
    log_front = (1.0 - nu) * math.log(2.0) - math.lgamma(nu) + nu * math.log(r)
    expected = log_front + 0.5 * math.log(math.pi / (2.0 * r)) - r + (4.0 * nu * nu - 1.0) / (8.0 * r)
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_sum_survives_terms_that_underflow():
    form = log_of(torch.exp(-S) + torch.exp(-2.0 * S))
    (found,) = evaluate([form], {S: torch.tensor([1e4, 3e5], dtype=torch.float64)})
    torch.testing.assert_close(found, torch.tensor([-1e4, -3e5], dtype=torch.float64))


@pytest.mark.parametrize(
    "form",
    [
        constant(0.0),
        constant(-1.0),
        S1 * 2.0,  # may be negative: not said to be a distance
        torch.exp(-S) * S1,
        torch.exp(-S) - 0.5,
        torch.exp(-S) * torch.cos(S),
        torch.erf(torch.exp(-S)),
        torch.exp(-S) * ROW,
    ],
    ids=repr,
)
def test_no_logarithm_where_the_sign_or_the_form_is_unknown(form):
    assert log_of(form, frozenset({S})) is None
