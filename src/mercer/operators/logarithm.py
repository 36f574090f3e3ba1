"""The logarithm of a kernel as an expression: right where the kernel itself has underflowed to 0.

A Gaussian kernel is 0 in float32 beyond 14 lengthscales; its logarithm is minus half the squared distance everywhere.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mercer.operators.maps import (
    OPERATIONS,
    Expression,
    Operation,
    constant,
    leaf,
    make,
    matern_polynomial,
    postorder,
    safe_sqrt,
    substitute,
)
from mercer.operators.spec import Spec

__all__ = ["log_of", "log_spec"]

_UNDERFLOWS = frozenset({"exp", "exp2", "matern"})
_HIGHEST_POWER = 4  # of r in a Matern polynomial: beyond, r^5 could overflow float32 where the logarithm is wanted


def log_of(expression: Expression, nonnegative: frozenset[Expression] = frozenset()) -> Expression | None:
    """log(expression) with the exponentials taken off, or None where the sign is not known or no such form exists.

    exp(e) becomes e, a product the sum of the logarithms, a sum ``max(a, b) + log(1 + exp(-abs(a - b)))``, a Matern
    correlation the logarithm of its polynomial minus r. Factors without exponentials that cannot be negative get a
    plain ``log``. Hyperparameters are taken to be positive.

    Args:
        expression: a kernel's map.
        nonnegative: statistics that are never negative, such as distances.

    >>> from mercer.operators.maps import leaf
    >>> log_of(torch.exp(-0.5 * leaf("statistic", 0)) * 2.0)
    add(mul(statistic[0], -0.5), 0.6931471805599453)
    """

    def log(x: Expression) -> Expression | None:
        if x.is_constant:
            return constant(math.log(x.number)) if x.number > 0.0 else None
        if not any(node.op in _UNDERFLOWS for node in postorder([x])):
            return make("log", x) if _is_nonnegative(x, nonnegative) else None
        if x.op in ("exp", "exp2"):
            return x.args[0] * (1.0 if x.op == "exp" else math.log(2.0))
        if x.op == "matern":
            return _log_matern(x.args[0], x.number)
        a, b = log(x.args[0]), log(x.args[-1])
        if x.op == "pow" and a is not None:
            return a * x.args[1]
        if a is None or b is None:
            return None
        if x.op in ("sqrt", "rsqrt"):
            return a * (0.5 if x.op == "sqrt" else -0.5)
        if x.op == "add":
            gap = a - b
            return make("maximum", a, b) + make("log1p", make("exp", -make("maximum", gap, -gap)))
        if x.op == "maximum":
            return make("maximum", a, b)
        if x.op == "mul":
            return a * 2.0 if a is b else a + b
        return a - b if x.op == "div" else None

    return log(expression)


def log_spec(spec: Spec) -> Spec | None:
    """The description of log k, without ``delta``: a kernel whose values are the logarithms; None where none exists."""
    (total,) = substitute((spec.total,), {leaf("delta"): constant(0.0)})
    distances = frozenset(leaf("statistic", g) for g, s in enumerate(spec.statistics) if s.nonnegative)
    form = log_of(total, distances)
    if form is None:
        return None
    return Spec(spec.statistics, (form,), spec.event_dims, spec.row_values, f"log of {spec.name}")


def _is_nonnegative(x: Expression, known: frozenset[Expression]) -> bool:
    """Whether ``x`` cannot be below 0, as far as its outermost operations say."""
    if x.is_constant:
        return x.number >= 0.0
    if x.op in ("exp", "exp2", "matern", "sqrt", "rsqrt", "step", "theta", "acos", "angle", "delta"):
        return True
    if x.op == "clamp":
        return bool(x.value[0] >= 0.0) or _is_nonnegative(x.args[0], known)
    if x.op == "mul" and x.args[0] is x.args[1]:
        return True
    signs = [_is_nonnegative(a, known) for a in x.args]
    if x.op == "pow":
        return signs[0]
    if x.op == "maximum":
        return any(signs)
    return all(signs) if x.op in ("add", "mul", "div", "log1p", "reciprocal_or_zero") else x in known


# The logarithm of the Matern correlation as an op of its own, so that its derivative is a ratio and not a difference.


def _log_matern(s: Expression, nu: float) -> Expression:
    return -make("sqrt", s) if nu == 0.5 else make("log_matern", s, value=nu)


def _short_polynomial(nu: float) -> tuple[float, ...] | None:
    polynomial = matern_polynomial(nu)
    return polynomial if polynomial is not None and len(polynomial) <= _HIGHEST_POWER + 1 else None


def _horner(polynomial: tuple[float, ...], r: Expression) -> Expression:
    value = constant(polynomial[0])
    for coefficient in polynomial[1:]:
        value = value * r + coefficient
    return value


def _compute(s: Tensor, *, value: float) -> Tensor:
    polynomial = _short_polynomial(value)
    if polynomial is None:
        return _log_bessel(s, value)
    r = safe_sqrt(s.clamp(min=0.0) * (2.0 * value))
    factor = torch.full_like(r, polynomial[0])
    for coefficient in polynomial[1:]:
        factor = factor * r + coefficient
    return factor.log() - r


def _log_bessel(s: Tensor, nu: float) -> Tensor:
    from scipy.special import gammaln, kve

    r = np.sqrt(np.maximum(2.0 * nu * s.detach().cpu().double().numpy(), 0.0))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        bessel = kve(nu, r)
        value = (1.0 - nu) * math.log(2.0) - gammaln(nu) + nu * np.log(r) + np.log(bessel) - r
    # At the smallest r kve overflows, and the correlation is 1.
    value = np.where(np.isfinite(bessel), value, np.where(r <= 1.0, 0.0, -r))
    return torch.from_numpy(np.asarray(value)).to(dtype=s.dtype, device=s.device)


def _into(s: Tensor, nu: float, *, out: Tensor) -> Tensor:
    return out.copy_(_log_bessel(s, nu))


def _expand(node: Expression, s: Expression) -> Expression:
    polynomial = _short_polynomial(node.number)
    if polynomial is None:
        return Expression("log_matern", (s,), node.number)
    r = make("sqrt", s * (2.0 * node.number))
    return make("log", _horner(polynomial, r)) - r


def _slope(node: Expression, position: int) -> Expression:
    """d log M_nu / ds = M_nu' / M_nu; see :func:`mercer.operators.maps.special.matern_slope` for M_nu'."""
    (s,), nu = node.args, node.number
    above, below = _short_polynomial(nu - 1.0) if nu > 1.0 else None, _short_polynomial(nu)
    if above is not None and below is not None:
        r = make("sqrt", s * (2.0 * nu))
        return _horner(above, r) / _horner(below, r) * (-nu / (2.0 * (nu - 1.0)))
    if nu == 1.0:
        nu = 1.0 + 1e-8  # K_0 as the limit of K_p, as in special.py
    if nu > 1.0:
        lower = _log_matern(s * (nu / (nu - 1.0)), nu - 1.0)
        return make("exp", lower - node) * (-nu / (2.0 * (nu - 1.0)))
    other = 1.0 - nu
    front = math.pow(2.0, other - nu) * math.gamma(other) / math.gamma(nu)
    inverse = make("reciprocal_or_zero", make("sqrt", s * (2.0 * nu)))
    smooth = make("exp", _log_matern(s * (nu / other), other) - node)
    return smooth * make("pow", inverse, 2.0 - 2.0 * nu) * (-nu * front)


OPERATIONS["log_matern"] = Operation(_compute, _slope, _into, None, _expand)
