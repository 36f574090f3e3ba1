"""Dual activations by series in Hermite polynomials: polynomials exactly, any other function to some order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from mercer.kernels.duals import Dual, Value, root

__all__ = ["Powers", "Quadrature"]


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
    """Any function, by its coefficients in normalised Hermite polynomials: exact for polynomials below ``order``.

    Args:
        function: elementwise, on float64 tensors.
        derivative: of it; None takes autograd's.
        order: terms of the series. For a kink, as of ReLU, the error falls like order^(-3/2) in E and
            order^(-1/2) in D.
    """

    in_maps = False

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        derivative: Callable[[Tensor], Tensor] | None = None,
        order: int = 48,
    ) -> None:
        self.function, self.derivative, self.order = function, derivative, order

    def variance(self, p: Tensor) -> Tensor:  # type: ignore[override]
        nodes, weights, _ = _rule(self.order)
        z = p.double().clamp(min=0.0).sqrt().unsqueeze(-1) * torch.from_numpy(nodes).to(p.device)
        return (self.function(z).square() * torch.from_numpy(weights).to(p.device)).sum(-1).to(p.dtype)

    def covariance(self, w: Tensor, p: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        return self._series(self.function, w, p, q)

    def gap(self, w: Tensor, p: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        a, b = self._coefficients(self.function, p), self._coefficients(self.function, q)
        rho, tail, rest = (1.0 - w).double(), 0.0 * a[..., 0] * b[..., 0], 0.0 * w.double()
        for k in range(self.order - 1, 0, -1):
            tail = tail + a[..., k] * b[..., k]
            rest = rest * rho + tail
        return ((a - b).square().sum(-1) * 0.5 + w.double() * rest).to(w.dtype)

    def slope(self, w: Tensor, p: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        return self._series(self.derivative or self._autograd, w, p, q)

    def _autograd(self, z: Tensor) -> Tensor:
        wanted = z.requires_grad
        with torch.enable_grad():
            z = z if wanted else z.detach().requires_grad_()
            (grad,) = torch.autograd.grad(self.function(z).sum(), z, create_graph=wanted)
        return grad

    def _series(self, function: Callable[[Tensor], Tensor], w: Tensor, p: Tensor, q: Tensor) -> Tensor:
        a, b = self._coefficients(function, p), self._coefficients(function, q)
        rho = (1.0 - w).double()
        total = a[..., -1] * b[..., -1]
        for k in range(self.order - 2, -1, -1):
            total = a[..., k] * b[..., k] + total * rho
        return total.to(w.dtype)

    def _coefficients(self, function: Callable[[Tensor], Tensor], p: Tensor) -> Tensor:
        nodes, weights, polynomials = _rule(self.order)
        z = p.double().clamp(min=0.0).sqrt().unsqueeze(-1) * torch.from_numpy(nodes).to(p.device)
        return function(z) @ torch.from_numpy(weights[:, None] * polynomials).to(p.device)


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
def _rule(order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Hermite nodes and weights of a standard normal, and the normalised polynomials there ``(nodes, order)``."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(2 * order)
    polynomials = np.ones((len(nodes), order))
    if order > 1:
        polynomials[:, 1] = nodes
    for k in range(2, order):
        polynomials[:, k] = (nodes * polynomials[:, k - 1] - math.sqrt(k - 1) * polynomials[:, k - 2]) / math.sqrt(k)
    return nodes, weights / weights.sum(), polynomials
