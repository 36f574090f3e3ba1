"""Cosines and sines of the modes of a Fourier series as real features, which are never stored."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mercer.operators.fourier.grid import FourierGrid
from mercer.operators.fourier.nufft import NonuniformTransform

__all__ = ["FourierBasis", "FourierFeatures"]

_EXACT = 1e-13  # relative error of the transforms behind sums over the rows, float64
_BLOCK = 1 << 24  # entries of explicit features formed at a time


class FourierBasis:
    """The functions 1, ``sqrt(2) cos(w_j x)`` and ``sqrt(2) sin(w_j x)``, one of each two opposite modes.

    ``k(x, y) = sum_a c_a f_a(x) f_a(y)`` for a series with coefficients ``c_j``.

    Args:
        grid: all modes.
        coefficients: of the series, to choose from; see :meth:`FourierGrid.coefficients`.
        neglect: the share of ``k(0)`` that may be dropped: modes of least coefficients are.
        center: subtracted from points, ``(d,)``.
    """

    def __init__(self, grid: FourierGrid, coefficients: Tensor, *, neglect: float, center: Tensor) -> None:
        self.grid, self.center = grid, center
        index = torch.cartesian_prod(*(torch.arange(-m, m + 1) for m in grid.modes)).reshape(-1, grid.d)
        # One of j and -j: the last coordinate that is not 0 is positive.
        sign = torch.zeros(len(index), dtype=torch.int64)
        for c in range(grid.d):
            sign = torch.where(index[:, c] != 0, index[:, c].sign(), sign)
        index = index[sign >= 0]
        sizes = self._of_modes(coefficients, index) * torch.where((index == 0).all(1), 1.0, 2.0)
        ordered, order = sizes.sort(descending=True)
        beyond = ordered.flip(0).cumsum(0).flip(0)
        kept = order[beyond > neglect * float(sizes.sum())]
        zero = (index[kept] == 0).all(1)
        self.index = torch.cat([index[kept[zero]], index[kept[~zero]]])  # (p, d), 0 first
        self.has_constant = bool(zero.any())
        self.omega = self.index.to(torch.float64) * torch.tensor(
            [2.0 * math.pi / P for P in grid.period], dtype=torch.float64
        )

    @staticmethod
    def _of_modes(coefficients: Tensor, index: Tensor) -> Tensor:
        return coefficients[tuple(index.abs().unbind(-1))]

    @property
    def size(self) -> int:
        """Number of functions M."""
        return 2 * len(self.index) - int(self.has_constant)

    def coefficients(self, coefficients: Tensor) -> Tensor:
        """``c_a`` of every function, ``(M,)``: cosines (0 first), then sines; differentiable."""
        values = self._of_modes(coefficients, self.index)
        return torch.cat([values, values[int(self.has_constant) :]])

    def split(self, w: Tensor) -> Tensor:
        """Weights ``(M, t)`` as complex coefficients ``(p, t)`` whose sum's real part is the function."""
        p, first = len(self.index), int(self.has_constant)
        imaginary = torch.zeros_like(w[:p])
        imaginary[first:] = -math.sqrt(2.0) * w[p:]
        real = math.sqrt(2.0) * w[:p]
        if first:
            real[0] = w[0]
        return torch.complex(real, imaginary)

    def join(self, sums: Tensor) -> Tensor:
        """The transpose of :meth:`split`: ``sum_x v(x) exp(-i w x)`` ``(p, t)`` to ``sum_x v(x) f_a(x)`` ``(M, t)``."""
        first = int(self.has_constant)
        real = math.sqrt(2.0) * sums.real
        if first:
            real[0] = sums.real[0]
        return torch.cat([real, -math.sqrt(2.0) * sums.imag[first:]])

    def explicit(self, points: Tensor) -> Tensor:
        """The values of all functions at points ``(n, d)``, ``(n, M)`` float64."""
        angle = (points.to(torch.float64) - self.center) @ self.omega.mT
        values = math.sqrt(2.0) * torch.cat([angle.cos(), angle[:, int(self.has_constant) :].sin()], 1)
        if self.has_constant:
            values[:, 0] = 1.0
        return values

    def flat(self, index: Tensor, factor: int) -> Tensor:
        """Positions of modes in the grid of frequencies ``-factor m .. factor m``, flattened."""
        position = torch.zeros(len(index), dtype=torch.int64)
        for c, m in enumerate(self.grid.modes):
            position = position * (2 * factor * m + 1) + index[:, c] + factor * m
        return position

    def gram(self, sums: Tensor, count: int | None = None) -> Tensor:
        """``sum_x w(x) f_a(x) f_b(x)``, ``(M, M)``, from ``sum_x w(x) exp(-i k x)`` on the doubled grid of modes.

        Args:
            sums: see :func:`mode_sums`.
            count: of modes; those of the first ones, which are the largest. All if None.
        """
        flat, index = sums.flatten(), self.index[:count]
        linear, center = self.flat(index, 2), int(self.flat(self.index.new_zeros(1, self.grid.d), 2))
        shifted = linear - center
        minus, plus = flat[linear[:, None] - shifted], flat[linear[:, None] + shifted]
        first = int(self.has_constant)
        p = len(index)
        M = 2 * p - first
        G = torch.empty(M, M, dtype=torch.float64)
        G[:p, :p] = minus.real + plus.real
        G[p:, p:] = (minus.real - plus.real)[first:, first:]
        # sin_a cos_b: the sums hold exp(-i k x), so their sines are minus the imaginary parts
        mixed = -(plus.imag + minus.imag)[first:]
        G[p:, :p], G[:p, p:] = mixed, mixed.mT
        if first:
            G[0] /= math.sqrt(2.0)
            G[:, 0] /= math.sqrt(2.0)
        return G

    def square(self, B: Tensor) -> Tensor:
        """``sum_ab B_ab f_a(x) f_b(x)`` as complex coefficients on the doubled grid, whose sum's real part it is."""
        p, first = len(self.index), int(self.has_constant)
        B = B.clone()
        if first:
            B[0] /= math.sqrt(2.0)
            B[:, 0] /= math.sqrt(2.0)
        cosines, sines, mixed = B[:p, :p], B.new_zeros(p, p), B.new_zeros(p, p)
        sines[first:, first:], mixed[first:] = B[p:, p:], B[p:, :p]
        linear, center = self.flat(self.index, 2), int(self.flat(self.index.new_zeros(1, self.grid.d), 2))
        shape = tuple(4 * m + 1 for m in self.grid.modes)
        real, imaginary = (torch.zeros(math.prod(shape), dtype=torch.float64) for _ in range(2))
        minus, plus = linear[:, None] - (linear - center), linear[:, None] + (linear - center)
        real.index_add_(0, minus.flatten(), (cosines + sines).flatten())
        real.index_add_(0, plus.flatten(), (cosines - sines).flatten())
        # 2 sin_a cos_b = sin(a + b) + sin(a - b), both orders of a and b
        imaginary.index_add_(0, minus.flatten(), -2.0 * mixed.flatten())
        imaginary.index_add_(0, plus.flatten(), -2.0 * mixed.flatten())
        return torch.complex(real, imaginary).reshape(shape)


class FourierFeatures:
    """``Z = f(X) diag(sqrt(c))`` with ``Z Z'`` the kernel matrix of the series, by non-uniform FFT in float64.

    Args:
        basis: the functions.
        points: X ``(n, d)``.
        coefficients: ``c_a``, ``(M,)``, not negative.
    """

    def __init__(self, basis: FourierBasis, points: Tensor, coefficients: Tensor) -> None:
        self.basis, self.points = basis, points.to(torch.float64)
        self.root = coefficients.detach().sqrt()
        grid = basis.grid
        self.transform = NonuniformTransform(self.points - basis.center, grid.period, grid.modes, tolerance=_EXACT)
        self._position = basis.flat(basis.index, 1)

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, M)``."""
        return len(self.points), self.basis.size

    def times(self, w: Tensor) -> Tensor:
        """``Z w``."""
        half = self.basis.split(w * self.root[:, None])  # (p, t)
        grid = self.basis.grid
        modes = half.new_zeros(math.prod(grid.shape), half.shape[1])
        modes[self._position] = half
        out: Tensor = self.transform.forward(modes.mT.reshape(-1, *grid.shape)).real
        return out

    def transposed(self, v: Tensor) -> Tensor:
        """``Z' v``."""
        sums = self.transform.adjoint(v).flatten(1)[:, self._position].mT
        return self.basis.join(sums) * self.root[:, None]

    def sums(self, weights: Tensor | None = None) -> Tensor:
        """``sum_x w(x) exp(-i k x)`` for all differences k of two modes: all that the Gram matrix knows of points."""
        return mode_sums(self.basis, self.points, weights)

    def gram(self, weights: Tensor | None = None) -> Tensor:
        """``Z' diag(weights) Z``, from one transform."""
        return self.root[:, None] * self.basis.gram(self.sums(weights)) * self.root

    def explicit(self, points: Tensor) -> Tensor:
        """Rows of Z at any points ``(n, d)``."""
        return self.basis.explicit(points) * self.root


def mode_sums(basis: FourierBasis, points: Tensor, weights: Tensor | None = None) -> Tensor:
    """``sum_x w(x) exp(-i k x)`` on the doubled grid of modes, complex128."""
    doubled = tuple(2 * m for m in basis.grid.modes)
    transform = NonuniformTransform(
        points.to(torch.float64) - basis.center, basis.grid.period, doubled, tolerance=_EXACT
    )
    ones = torch.ones(len(points), dtype=torch.float64) if weights is None else weights
    return transform.adjoint(ones[:, None])[0]


def evaluate_square(basis: FourierBasis, B: Tensor, points: Tensor) -> Tensor:
    """``sum_ab B_ab f_a(x) f_b(x)`` at points ``(n, d)``: one transform, whatever M."""
    doubled = tuple(2 * m for m in basis.grid.modes)
    transform = NonuniformTransform(
        points.to(torch.float64) - basis.center, basis.grid.period, doubled, tolerance=_EXACT
    )
    values: Tensor = transform.forward(basis.square(B)[None])[:, 0].real
    return values
