"""Functions the op set needs and torch lacks: guarded roots and powers, the Matern correlation of any smoothness."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.operators.maps.expression import Expression, clamp, constant, evaluate, leaf, make
from mercer.operators.watchers import is_recorded


def safe_sqrt(x: Tensor) -> Tensor:
    """Square root, 0 for x <= 0, with derivative 0 there: a coincident pair pulls in no direction."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))


def safe_power(x: Tensor, exponent: Tensor) -> Tensor:
    """x ** exponent, with derivatives of all orders 0 at x = 0, where those of a fractional power are infinite."""
    is_zero = x == 0
    elsewhere = torch.where(is_zero, torch.ones_like(x), x) ** exponent
    return torch.where(is_zero, torch.zeros_like(x) ** exponent, elsewhere)


def reciprocal_or_zero(x: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 / x, and 0 at x = 0."""
    if out is not None:
        torch.reciprocal(x, out=out)
        return torch.nan_to_num(out, nan=0.0, posinf=0.0, neginf=0.0, out=out)
    nonzero = x != 0
    return torch.where(nonzero, 1.0 / torch.where(nonzero, x, torch.ones_like(x)), torch.zeros_like(x))


def step(x: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 where x > 0, 1/2 at 0, else 0."""
    half = torch.tensor(0.5, dtype=x.dtype, device=x.device)
    return torch.heaviside(x.detach(), half) if out is None else torch.heaviside(x, half, out=out)


@lru_cache(maxsize=64)
def matern_polynomial(nu: float) -> tuple[float, ...] | None:
    """Coefficients, highest power first, of the polynomial in r = sqrt(2 nu s) that multiplies exp(-r); None unless
    ``nu`` is half an odd integer. Source: Rasmussen & Williams (2006), eq. 4.16."""
    order = nu - 0.5
    if not order.is_integer() or not 0 <= order <= 10:
        return None
    p = int(order)
    front = math.factorial(p) / math.factorial(2 * p)
    return tuple(
        front * math.comb(p, i) * math.factorial(p + i) / math.factorial(p) * 2.0 ** (p - i) for i in range(p + 1)
    )


def _matern_series(r: Any, nu: float) -> Any:
    """The analytic part of the power series about 0 (Abramowitz & Stegun 9.6.2 and 9.6.10)."""
    term = total = np.ones_like(r)
    for k in range(1, min(16, math.ceil(nu))):
        term = term * (r * r / 4.0) / (k * (k - nu))
        total = total + term
    return total


def _matern_bessel(s: Tensor, nu: float) -> Tensor:
    from scipy.special import gammaln, kve

    r = np.sqrt(np.maximum(2.0 * nu * s.detach().cpu().double().numpy(), 0.0))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        bessel = kve(nu, r)
        value = np.exp((1.0 - nu) * math.log(2.0) - gammaln(nu) + nu * np.log(r) + np.log(bessel) - r)
        # kve overflows near 0, where the power series is short, and gives NaN for r beyond 1e9
        value = np.where(np.isfinite(bessel), value, np.where(r <= 1.0 + nu, _matern_series(r, nu), 0.0))
    return torch.from_numpy(np.asarray(value)).to(dtype=s.dtype, device=s.device)


class _Matern(torch.autograd.Function):
    """Autograd for any smoothness by the recursion of :func:`matern_rule`; each derivative lowers ``nu`` by one."""

    generate_vmap_rule = True

    @staticmethod
    def forward(s: Tensor, nu: float) -> Tensor:
        polynomial = matern_polynomial(nu)
        if polynomial is None:
            return _matern_bessel(s, nu)
        r = (s.clamp(min=0.0) * (2.0 * nu)).sqrt()
        value = torch.full_like(r, polynomial[0])
        for coefficient in polynomial[1:]:
            value = value * r + coefficient
        return value * torch.exp(-r)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.nu = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (s,) = ctx.saved_tensors
        slot = leaf("statistic", 0)
        (slope,) = evaluate([matern_slope(slot, ctx.nu)], {slot: s})
        return grad * slope, None


def matern(s: Tensor, *, value: float | None) -> Tensor:
    """Matern correlation at squared distance ``s`` (in lengthscales), smoothness ``value``."""
    assert value is not None
    if not is_recorded(s):
        return _Matern.forward(s, value)
    result: Tensor = _Matern.apply(s, value)  # type: ignore[no-untyped-call]
    return result


def matern_into(s: Tensor, nu: float, *, out: Tensor) -> Tensor:
    """:func:`matern` written into ``out``; the Bessel case of a tile."""
    return out.copy_(_Matern.forward(s, nu))


def matern_slope(s: Expression, nu: float) -> Expression:
    r"""dM/ds. From d/dr [r^nu K_nu(r)] = -r^nu K_{nu-1}(r) with r = sqrt(2 nu s):
    dM_nu/ds = -nu / (2 (nu - 1)) M_{nu-1} at the same r; for nu < 1 through K_{nu-1} = K_{1-nu}."""
    if nu == 1.0:
        nu = 1.0 + 1e-8  # K_0 as the limit of K_p: relative error 1e-8
    if nu > 1.0:
        lower = make("matern", s * (nu / (nu - 1.0)), value=nu - 1.0)
        return lower * (-nu / (2.0 * (nu - 1.0)))
    other = 1.0 - nu
    ratio = math.pow(2.0, other - nu) * math.gamma(other) / math.gamma(nu)
    inverse = make("reciprocal_or_zero", make("sqrt", s * (2.0 * nu)))
    singular = inverse if nu == 0.5 else make("pow", inverse, 2.0 - 2.0 * nu)
    smooth = make("matern", s * (nu / other), value=other)
    return smooth * singular * (-nu * ratio)


def matern_rule(node: Expression, position: int) -> Expression:
    """The derivative rule of the op ``matern``."""
    return matern_slope(node.args[0], node.number)


def matern_expand(node: Expression, s: Expression) -> Expression:
    """The op in terms of simpler ones, at half-integer smoothness; the node itself (Bessel) otherwise."""
    nu = node.number
    polynomial = matern_polynomial(nu)
    if polynomial is None:
        return Expression("matern", (s,), nu)
    # Programs end exponents at -80; beyond r = 80 the polynomial would outgrow that (r^10 at nu = 21/2).
    r = make("sqrt", clamp(s, max=80.0**2 / (2.0 * nu)) * (2.0 * nu))
    e = make("exp", -r)
    if nu == 0.5:
        return e
    # 1 + r + r^2 (...): both first coefficients are 1, and sums of products are one call each
    factor = r
    if len(polynomial) > 2:
        rest = constant(polynomial[0])
        for coefficient in polynomial[1:-2]:
            rest = r * rest + coefficient
        factor = r + (r * r) * rest
    return e + e * factor
