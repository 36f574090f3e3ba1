"""Eigenvectors of a real matrix in real arithmetic."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

__all__ = ["Modes"]

WORKSPACE = 66  # times n numbers: what LAPACK's blocks of 64 columns take


class Modes:
    """``A V = V diag(values)``, where a pair of conjugate eigenvectors is kept as its real and its imaginary part.

    Half of the memory and a quarter of the multiplications of complex vectors: only coefficients, while they are
    divided by eigenvalues, become complex, a block at a time.

    Attributes:
        values: ``(n,)``, complex if one of them is; the two of a pair side by side.
        vectors: real ``(n, n)``, columns.
        inverse: of that; infinite where there is none.
        condition: of the vectors, in the 1-norm.

    Raises:
        numpy.linalg.LinAlgError: the eigenvalues were not found.
    """

    def __init__(self, A: Tensor) -> None:
        real, imaginary, _, vectors, failed = lapack.dgeev(
            np.array(A.numpy(), order="F"), compute_vl=0, overwrite_a=1, lwork=WORKSPACE * len(A)
        )
        if failed:
            raise np.linalg.LinAlgError("The eigenvalues of a derivative matrix did not converge.")
        self.values = torch.from_numpy(real + 1j * imaginary if imaginary.any() else real)
        self.vectors: Tensor = torch.from_numpy(vectors)
        self.inverse: Tensor
        self._first = torch.from_numpy(np.flatnonzero(imaginary > 0.0))  # of each pair
        self.inverse, singular = torch.linalg.inv_ex(self.vectors)
        if int(singular):
            self.inverse.fill_(math.inf)
        self.condition = float(torch.linalg.norm(self.vectors, 1) * torch.linalg.norm(self.inverse, 1))

    def blocks(self, size: int) -> list[slice]:
        """Slices of about this length that split no pair."""
        first, found, start = set(self._first.tolist()), [], 0
        while start < len(self.values):
            stop = start + size
            stop += stop - 1 in first
            found.append(slice(start, stop))
            start = stop
        return found

    def to_eigenvectors(self, part: Tensor, axis: int, rows: slice = slice(None)) -> Tensor:
        """Coefficients of the eigenvectors from those of their real and imaginary parts.

        ``a Re v + b Im v = c v + conj(c v)`` with ``c = (a - ib) / 2``, also for complex a and b.
        """
        first = self._inside(rows)
        if not len(first):
            return part
        made = part.to(torch.complex128)
        moved = made.movedim(axis, 0)
        a, b = moved[first], 1j * moved[first + 1]
        moved[first], moved[first + 1] = 0.5 * (a - b), 0.5 * (a + b)
        return made

    def to_parts(self, part: Tensor, axis: int, rows: slice = slice(None)) -> Tensor:
        """The inverse of :meth:`to_eigenvectors`, in place."""
        first = self._inside(rows)
        if len(first):
            moved = part.movedim(axis, 0)
            c, d = moved[first], moved[first + 1]
            moved[first], moved[first + 1] = c + d, 1j * (c - d)
        return part

    def _inside(self, rows: slice) -> Tensor:
        start, stop, _ = rows.indices(len(self.values))
        return self._first[(self._first >= start) & (self._first < stop)] - start
