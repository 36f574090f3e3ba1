"""The inverse of a Kronecker sum: an equation of separate axes, solved axis by axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.linalg import lapack, schur
from torch import Tensor

from mercer.learn.pde.axis_reduction import along
from mercer.learn.pde.modes import Modes

__all__ = ["KroneckerSum"]

WORST_EIGENVECTORS = 1e8  # condition beyond which eigenvectors are left for Schur vectors
BLOCK = 128  # rows or columns multiplied at once
SINGULAR = 1e-14  # smallest divisor as a share of the largest, below which there is no unique solution


class KroneckerSum:
    """``(A_1 x I x ... + I x A_2 x ... + ...)^-1``, by eigenvectors, or for two axes by Schur vectors.

    Raises:
        ValueError: the sum is singular.
    """

    def __init__(self, matrices: Sequence[Tensor]) -> None:
        self._single = None
        if len(matrices) == 1:
            self._single = torch.linalg.lu_factor(matrices[0])
            pivots = self._single[0].diagonal().abs()
            _check_divisors(float(pivots.min()), float(pivots.max()))
            return
        self._modes: list[Modes] = []
        for i, A in enumerate(matrices):
            same = next((j for j in range(i) if torch.equal(A, matrices[j])), i)
            self._modes.append(self._modes[same] if same < i else Modes(A))
        self._schur = None
        worst = max(modes.condition for modes in self._modes)
        if worst > WORST_EIGENVECTORS * max(len(A) for A in matrices) and len(matrices) == 2:
            left, right = (A.numpy() for A in matrices)
            self._schur = schur(left, output="real"), schur(right, output="real")
        elif not math.isfinite(worst):
            raise ValueError("An axis has a derivative without eigenvectors, which is solved in two axes only.")
        self._beyond = self._modes[1].values
        for modes in self._modes[2:]:
            self._beyond = self._beyond.unsqueeze(-1) + modes.values
        self._blocks = self._modes[0].blocks(BLOCK)
        sizes = [self._divisors(rows).abs() for rows in self._blocks]
        _check_divisors(min(float(size.min()) for size in sizes), max(float(size.max()) for size in sizes))

    def solve(self, R: Tensor) -> Tensor:
        """For R of the shape of the free nodes. Beside the result, a block of rows is held."""
        if self._single is not None:
            factors, pivots = self._single
            solved: Tensor = torch.linalg.lu_solve(factors, pivots, R.unsqueeze(1))
            return solved.squeeze(1)
        if self._schur is not None:
            (T, Q), (S, P) = self._schur
            Y, scale, _ = lapack.dtrsyl(T, S, Q.T @ R.numpy() @ P, tranb="C")
            return torch.from_numpy(Q @ (Y / scale) @ P.T)
        first, *others = self._modes
        Z = first.inverse @ R.reshape(len(R), -1)
        for rows in self._blocks:
            part = Z[rows].reshape(-1, *R.shape[1:])
            for i, modes in enumerate(others, 1):
                part = along(modes.inverse, part, i)
            part = self._divided(part, rows)
            for i, modes in enumerate(others, 1):
                part = along(modes.vectors, part, i)
            Z[rows] = part.reshape(len(part), -1)
        for start in range(0, Z.shape[1], BLOCK):
            columns = slice(start, start + BLOCK)
            Z[:, columns] = first.vectors @ Z[:, columns]
        return Z.reshape(R.shape)

    def _divided(self, part: Tensor, rows: slice) -> Tensor:
        """The rows' coefficients, each divided by the sum of its eigenvalues."""
        part = self._modes[0].to_eigenvectors(part, 0, rows)
        for i, modes in enumerate(self._modes[1:], 1):
            part = modes.to_eigenvectors(part, i)
        part = part / self._divisors(rows)
        for i, modes in enumerate(self._modes[1:], 1):
            part = modes.to_parts(part, i)
        part = self._modes[0].to_parts(part, 0, rows)
        return part.real if part.is_complex() else part

    def _divisors(self, rows: slice) -> Tensor:
        own = self._modes[0].values[rows]
        return own.reshape(-1, *[1] * self._beyond.dim()) + self._beyond


def _check_divisors(smallest: float, largest: float) -> None:
    if not smallest > SINGULAR * largest:
        raise ValueError(
            f"The boundary data leave the solution open: the smallest divisor is {smallest:.1e}, the largest "
            f"{largest:.1e}. Give values on at least one face (slopes alone leave a constant open), or change the "
            f"coefficients: the operator may have an eigenvalue 0 on this domain."
        )
