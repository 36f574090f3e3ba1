"""Dual activations by series in Hermite polynomials: polynomials exactly, any other function to some order."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from mercer.errors import ApproximationWarning
from mercer.kernels.duals import Dual, Value, root

__all__ = ["Powers", "Quadrature"]

REACH, STEP = 16.0, 1.0 / 16.0  # of the trapezoidal rule; products of 512 terms oscillate half as fast as the nodes
PIECE = 1 << 13  # variances whose nodes are held at once
NEGLIGIBLE = (1e-8, 1e-10)  # of the mean of squares, left by the terms: no more are taken; in float32, in float64
TOLERANCE = 1e-5  # left by all of them: a warning says so
FIRST, SECOND = 48, 128  # terms for all pairs, and for those with a correlation above NEAR; all above NEARER
NEAR, NEARER = 0.65, 0.85  # to the powers FIRST and SECOND 1e-9


@dataclass(frozen=True)
class Powers(Dual):
    """phi(z) = c_0 + c_1 z + c_2 z^2 + ...; exact moments."""

    coefficients: tuple[float, ...]

    def variance(self, p: Value) -> Value:
        return self._sum([a * a for a in self._hermite(self.coefficients, p)], None, p)

    def covariance(self, w: Value, p: Value, q: Value) -> Value:
        return self._series(self.coefficients, w, p, q)

    def slope(self, w: Value, p: Value, q: Value) -> Value:
        return self._series(_derivative(self.coefficients), w, p, q)

    def gap(self, w: Value, p: Value, q: Value) -> Value:
        pairs = list(zip(*(self._hermite(self.coefficients, side) for side in (p, q)), strict=True))
        total = p * 0.0
        for a, b in pairs:
            total = total + (a - b) * (a - b) * 0.5
        # 1 - rho^k = w (1 + rho + ... + rho^(k - 1))
        rest, tail = p * 0.0, p * 0.0
        for a, b in reversed(pairs[1:]):
            tail = tail + a * b
            rest = rest * (1.0 - w) + tail
        return total + w * rest

    def _series(self, coefficients: tuple[float, ...], w: Value, p: Value, q: Value) -> Value:
        pairs = zip(self._hermite(coefficients, p), self._hermite(coefficients, q), strict=True)
        return self._sum([a * b for a, b in pairs], 1.0 - w, p)

    @staticmethod
    def _sum(terms: Sequence[Value], rho: Value | None, like: Value) -> Value:
        """sum_k terms_k rho^k, by Horner; rho = 1 where it is None."""
        total = terms[-1]
        for term in reversed(terms[:-1]):
            total = term + (total if rho is None else total * rho)
        return total

    @staticmethod
    def _hermite(coefficients: tuple[float, ...], p: Value) -> list[Value]:
        """Coefficients of phi(sqrt(p) g) in normalised Hermite polynomials of a standard normal g."""
        side = root(p)
        found = []
        for k in range(len(coefficients)):
            total = side * 0.0
            power = total + 1.0
            for j, c in enumerate(coefficients):
                weight = _moment(j, k) * c
                if weight != 0.0:
                    total = total + power * weight
                power = power * side
            found.append(total)
        return found


class Quadrature(Dual):
    r"""Any function, by its coefficients in normalised Hermite polynomials; exact for polynomials below ``order``.

    With a_k and b_k those of phi(sqrt(p) g) and phi(sqrt(q) g), E is the sum of a_k b_k rho^k. What is left of the two
    means of squares after the last term counts as one further term, so that E is exact for equal points.

    Args:
        function: elementwise, on float64 tensors.
        name: of the function, for messages.
        order: terms of the series at most; as many are taken as the function needs at the variances at hand.

    Raises:
        ValueError: where it is computed: values that are not finite; for slopes, a function without derivative.

    Warns:
        ApproximationWarning: the terms leave more than 1e-6 of a mean of squares: at a kink or a jump the error falls
            like order^(-3/2) in E and order^(-1/2) in D.
    """

    in_maps = False

    def __init__(self, function: Callable[[Tensor], Tensor], name: str, order: int = 512) -> None:
        self.function, self.name, self.order = function, name, order

    def variance(self, p: Tensor) -> Tensor:  # type: ignore[override]
        return self._terms(self.function, p, 1)[1].reshape(p.shape).to(p.dtype)

    def covariance(self, w: Tensor, p: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        return self._series(self.function, w, p, q)

    def slope(self, w: Tensor, p: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        return self._series(self._derivative, w, p, q)

    def gap(self, w: Tensor, p: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        a, b = self._coefficients(self.function, p, q, w.dtype)
        if len(a) <= FIRST:
            return _gap(a, b, w.double()).to(w.dtype)
        means = (a.square().sum(0) + b.square().sum(0)) * 0.5
        return _refined(_gap, a, b, w, means - _apart(a, b, w), NEARER, math.inf).to(w.dtype)

    def _series(self, function: Callable[[Tensor], Tensor], w: Tensor, p: Tensor, q: Tensor) -> Tensor:
        a, b = self._coefficients(function, p, q, w.dtype)
        return _refined(_series, a, b, w, _apart(a, b, w), NEARER, math.inf).to(w.dtype)

    def _derivative(self, z: Tensor) -> Tensor:
        wanted = z.requires_grad
        with torch.enable_grad():
            z = z if wanted else z.detach().requires_grad_()
            out = self.function(z)
            if not out.requires_grad:
                raise ValueError(
                    f"Activation({self.name}) has no derivative by autograd, which the NTK needs. Use the NNGP kernel, "
                    f"or a function of torch's differentiable operations."
                )
            (grad,) = torch.autograd.grad(out.sum(), z, create_graph=wanted)
        return grad

    def _coefficients(
        self, function: Callable[[Tensor], Tensor], p: Tensor, q: Tensor, dtype: torch.dtype
    ) -> list[Tensor]:
        """Of both variances, ``(terms, *p.shape)``, as many terms as both need."""
        for terms in (min(FIRST - 1, self.order), self.order):
            found = [self._terms(function, side, terms) for side in (p, q)]
            left = torch.stack([_left(a, squares) for a, squares, _ in found]).amax(0)
            enough = torch.nonzero(left <= NEGLIGIBLE[dtype == torch.float64])
            if len(enough):
                terms = int(enough[0]) + 1
                break
        else:
            # The last term stands for all that is left; what that gets wrong falls as fast as the rest does.
            off = max(_next(float(left[terms // 2]), float(left[-1])), *(error for _, _, error in found))
            if off > TOLERANCE:
                warnings.warn(
                    f"Activation({self.name}): {terms} terms miss about {off:.0e} of a mean of squares, and "
                    f"the kernel of equal points. For a kink take a layer with a closed form (ReLU, LeakyReLU, "
                    f"Abs of mercer.kernels.neural.layers), for a smooth function a smaller sigma_w.",
                    ApproximationWarning,
                    stacklevel=2,
                )
        rows = []
        for (a, squares, _), side in zip(found, (p, q), strict=True):
            kept = a[:, :terms]
            rest = root(squares - kept.square().sum(1))
            rows.append(torch.cat([kept, rest.unsqueeze(1)], 1).mT.contiguous().reshape(terms + 1, *side.shape))
        return rows

    def _terms(self, function: Callable[[Tensor], Tensor], p: Tensor, terms: int) -> tuple[Tensor, Tensor, float]:
        """Coefficients ``(numbers of p, terms)``; the means of squares; and the error of the rule."""
        nodes, weights, table = (torch.from_numpy(part).to(p.device) for part in _rule(terms))
        coefficients, means, error = [], [], 0.0
        for part in torch.split(p.double().clamp(min=0.0).reshape(-1), PIECE):
            values = function(part.sqrt().unsqueeze(1) * nodes).double()
            squares = values.square() @ weights
            if not bool(torch.isfinite(squares).all()):
                raise ValueError(
                    f"Activation({self.name}) is not finite at some numbers of variance {float(part.max()):.3g}, so it "
                    f"has no kernel. Use a function that is finite everywhere."
                )
            coefficients.append(values @ table)
            means.append(squares)
            if len(part):
                scale = squares.detach().clamp(min=1e-300).sqrt()
                few = table[:, :8]  # a kink at a node shows in coefficients, one elsewhere in the squares as well
                shares = []
                for k in (4, 2):  # by fewer of the nodes
                    miss = (values[:, ::k].square() @ weights[::k] * k - squares).abs() / scale**2
                    shift = (values[:, ::k] @ few[::k] * k - values @ few).abs().amax(1) / scale
                    shares.append(float(torch.maximum(miss, shift).detach().max()))
                error = max(error, _next(*shares))
        return torch.cat(coefficients), torch.cat(means), error


def _next(before: float, last: float) -> float:
    """How large the next of errors is that fall by the same factor or faster."""
    return last * min(1.0, last / max(before, 1e-300))


def _left(a: Tensor, squares: Tensor) -> Tensor:
    """The largest share of the means of squares that is left after each term, ``(terms,)``."""
    if not len(a):
        return a.new_zeros(a.shape[1])
    a, squares = a.detach(), squares.detach().unsqueeze(1)
    # Below 0 the rule is to blame.
    return ((squares - a.square().cumsum(1)).abs() / squares.clamp(min=1e-300)).amax(0)


def _series(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """The sum of a_k b_k rho^k, by Horner; the terms are the first axis."""
    rho, total = 1.0 - w, a[-1] * b[-1]
    for k in range(len(a) - 2, -1, -1):
        total = torch.addcmul(a[k] * b[k], total, rho)
    return total


def _gap(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """Half of the sum of a_k^2 + b_k^2, less the series, without cancellation."""
    rho, tail, rest = 1.0 - w, 0.0 * a[0] * b[0], 0.0 * w
    for k in range(len(a) - 1, 0, -1):
        tail = torch.addcmul(tail, a[k], b[k])
        rest = torch.addcmul(tail, rest, rho)
    half = 0.0 * tail
    for one, two in zip(a, b, strict=True):
        half = half + (one - two).square()
    return half * 0.5 + w * rest


def _apart(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """The series, of pairs whose correlation is at most NEARER."""
    first = _series(a[:FIRST], b[:FIRST], w.double())
    return _refined(_series, a[:SECOND], b[:SECOND], w, first, NEAR, NEARER) if len(a) > FIRST else first


def _refined(
    formula: Callable[..., Tensor], a: Tensor, b: Tensor, w: Tensor, found: Tensor, least: float, most: float
) -> Tensor:
    """``found``, and by a formula of all terms what pairs have whose correlation is between two bounds."""
    if len(a) <= FIRST:
        return found
    if not found.dim():
        one = _refined(formula, a.unsqueeze(1), b.unsqueeze(1), w.reshape(1), found.reshape(1), least, most)
        return one.reshape(())
    a, b = (side.reshape(len(side), *[1] * (found.dim() + 1 - side.dim()), *side.shape[1:]) for side in (a, b))
    wide = w.expand(found.shape)
    size = (1.0 - wide).abs()
    for place in torch.split(torch.nonzero((size > least) & (size <= most)), PIECE):
        at = tuple(place.mT)
        one, two = (side.expand(len(a), *found.shape)[(slice(None), *at)] for side in (a, b))
        found = found.index_put(at, formula(one, two, wide[at].double()))
    return found


def _derivative(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    found = tuple(j * c for j, c in enumerate(coefficients))[1:]
    return found or (0.0,)


@lru_cache(maxsize=1024)
def _moment(j: int, k: int) -> float:
    """E[g^j h_k(g)] with normalised h_k: j! / (2^i i! sqrt(k!)), i = (j - k) / 2."""
    if j < k or (j - k) % 2:
        return 0.0
    i = (j - k) // 2
    return math.factorial(j) / (2.0**i * math.factorial(i) * math.sqrt(math.factorial(k)))


@lru_cache(maxsize=16)
def _rule(terms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes and weights of the trapezoidal rule for a standard normal, and weights that give Hermite coefficients.

    The rule is exact to round-off for functions that are analytic in a strip, and the recursion for polynomials times
    the root of the density (bounded by 1) is stable at any order; those of Gauss's rule overflow from order 180.
    """
    nodes = np.arange(-REACH, REACH + STEP / 2, STEP)
    half = np.exp(-0.25 * nodes**2) / (2.0 * math.pi) ** 0.25  # the root of the density
    table = np.empty((len(nodes), terms))
    table[:, 0] = half
    if terms > 1:
        table[:, 1] = nodes * half
    for k in range(2, terms):
        table[:, k] = (nodes * table[:, k - 1] - math.sqrt(k - 1) * table[:, k - 2]) / math.sqrt(k)
    return nodes, half * half * STEP, table * (half * STEP)[:, None]
