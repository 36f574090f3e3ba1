"""Kernels of one axis as functions of a signed difference, with derivatives, in closed form and all waves at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mercer.kernels import Kernel, SpectralMixture

__all__ = ["AxisKernel", "Gram"]

SAME_LAGS = 1e-9  # of the extent: nodes that are closer are one
LARGEST_TABLE = 250_000  # differences times waves held at once, in each of a dozen temporaries: 2 MB

# Derivatives of (g C): binomials, with the derivatives of C = cos(m z) as (sign, is_sine, power of m).
_COSINE = ((1.0, False), (-1.0, True), (-1.0, False), (1.0, True), (1.0, False))


class AxisKernel:
    r"""``k(z) = sum_q w_q E(z / l_q) cos(2 pi mu_q z)`` and its derivatives in z, up to the fourth.

    ``Kernel.derivative`` gives the same numbers for any kernel (tests compare them); for 30 waves its expression takes
    seconds to build, and here a training step asks for new numbers each time.

    Args:
        weights: ``(Q,)``.
        frequencies: ``(Q,)``, in cycles per unit; of any sign.
        lengthscales: ``(Q,)``.
        envelope: ``"student_t"`` (Matern 5/2) or ``"gaussian"``.
    """

    def __init__(self, weights: Tensor, frequencies: Tensor, lengthscales: Tensor, envelope: str) -> None:
        self.weights, self.frequencies, self.lengthscales = weights, frequencies, lengthscales
        self.envelope = envelope

    @classmethod
    def of(cls, kernel: Kernel) -> AxisKernel | GeneralAxisKernel:
        """The kernel of one axis: a spectral mixture of one column in closed form, any other by its expression."""
        if not isinstance(kernel, SpectralMixture):
            return GeneralAxisKernel(kernel)
        values = [kernel.hyperparameter(name) for name in ("weights", "frequencies", "lengthscale")]
        if any(value.dim() == 2 and value.shape[1] > 1 for value in values):
            raise ValueError(f"{kernel!r} is of several columns. Give one kernel for each axis, as a list.")
        w, mu, scale = (value.reshape(-1) for value in values)
        return cls(w, mu, scale.expand_as(w), kernel.envelope)

    def __call__(self, z: Tensor, order: int = 0) -> Tensor:
        """The derivative of an order at differences z of any shape."""
        flat, parts = z.reshape(-1), []
        size = max(1, LARGEST_TABLE // len(self.weights))
        for start in range(0, len(flat), size):
            parts.append(self._table(flat[start : start + size], order))
        return torch.cat(parts).reshape(z.shape)

    def _table(self, z: Tensor, order: int) -> Tensor:
        z = z.unsqueeze(-1)  # (m, 1) against (Q,)
        envelopes = _envelopes(self.envelope, z, self.lengthscales, order)
        m = (2.0 * math.pi) * self.frequencies
        C, S = torch.cos(m * z), torch.sin(m * z)
        total = torch.zeros_like(C)
        for j in range(order + 1):
            sign, is_sine = _COSINE[j]
            total = total + (sign * math.comb(order, j)) * envelopes[order - j] * m**j * (S if is_sine else C)
        return total @ self.weights

    def variance(self) -> Tensor:
        """k(0)."""
        return self.weights.sum()


class GeneralAxisKernel:
    """The same for any stationary kernel of one column, by ``Kernel.derivative``; its hyperparameters stay."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __call__(self, z: Tensor, order: int = 0) -> Tensor:
        """The derivative of an order at differences z of any shape."""
        kernel = self.kernel if order == 0 else self.kernel.derivative(order, 0)
        flat = z.reshape(-1, 1)
        return torch.as_tensor(kernel(flat, flat.new_zeros(1, 1)).to_dense()).reshape(z.shape)

    def variance(self) -> Tensor:
        """k(0)."""
        return self(torch.zeros(1, dtype=torch.float64))[0]


class Gram:
    """Differences between two sets of coordinates, reduced to those that differ: the lags of a uniform grid.

    A uniform grid of n nodes has ``2 n - 1`` differences in place of ``n^2``, so a table costs n times fewer
    exponentials and cosines.

    Args:
        rows: ``(n,)`` coordinates.
        columns: ``(m,)`` coordinates.
    """

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self._places: tuple[Tensor, Tensor] | None = None
        step = _common_step(torch.cat([rows, columns]))
        if step is not None:
            own, other = (torch.round((side - rows[0]) / step).long() for side in (rows, columns))
            low, high = int(own.min() - other.max()), int(own.max() - other.min())
            if high - low + 1 < len(rows) * len(columns):
                self._places = own - low, other
                self.z = step * torch.arange(low, high + 1, dtype=torch.float64, device=rows.device)
        if self._places is None:
            self.z = rows[:, None] - columns[None, :]

    def __call__(self, kernel: AxisKernel | GeneralAxisKernel, order: int = 0) -> Tensor:
        """The derivative in the rows' coordinate, ``(n, m)``."""
        table = kernel(self.z, order)
        if self._places is None:
            return table
        own, other = self._places
        return table[own[:, None] - other]


def _common_step(values: Tensor) -> float | None:
    """The step of the uniform grid on which all values lie, if they do and it has few nodes."""
    distinct = torch.unique(values)
    if len(distinct) < 3:
        return None
    gaps = distinct.diff()
    gaps = gaps[gaps > SAME_LAGS * (distinct[-1] - distinct[0])]
    step = float(gaps.min())
    count = round(float(distinct[-1] - distinct[0]) / step)
    if count > 8 * len(distinct):
        return None
    step = float(distinct[-1] - distinct[0]) / count
    places = (values - distinct[0]) / step
    return step if bool(((places - places.round()).abs() < 1e-6).all()) else None


def _envelopes(kind: str, z: Tensor, lengthscales: Tensor, order: int) -> Sequence[Tensor]:
    """The envelope and its derivatives up to an order, each ``(m, Q)``, with their exact limits at z = 0."""
    if kind == "gaussian":
        rho = 0.5 / lengthscales.square()
        G = torch.exp(-rho * z.square())
        factors: tuple[Callable[[], Tensor], ...] = (
            lambda: torch.ones_like(z),
            lambda: -2.0 * rho * z,
            lambda: 4.0 * rho.square() * z.square() - 2.0 * rho,
            lambda: 12.0 * rho.square() * z - 8.0 * rho**3 * z**3,
            lambda: 16.0 * rho**4 * z**4 - 48.0 * rho**3 * z.square() + 12.0 * rho.square(),
        )
        return [factor() * G for factor in factors[: order + 1]]
    a, r = math.sqrt(5.0) / lengthscales, z.abs()
    ar, c = a * r, a.square() / 3.0
    E = torch.exp(-ar)
    polynomials: tuple[Callable[[], Tensor], ...] = (
        lambda: 1.0 + ar + ar.square() / 3.0,
        lambda: -c * z * (1.0 + ar),
        lambda: -c * (1.0 + ar - ar.square()),
        lambda: c * a.square() * z * (3.0 - ar),
        lambda: c * a.square() * (3.0 - 5.0 * ar + ar.square()),
    )
    return [polynomial() * E for polynomial in polynomials[: order + 1]]
