"""The inverse of a Kronecker sum: an equation of separate axes, solved axis by axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.linalg import get_lapack_funcs, lapack, schur
from torch import Tensor

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
        found: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._eigen = []
        worst = 1.0
        for i, A in enumerate(matrices):
            same = next((j for j in range(i) if torch.equal(A, matrices[j])), i)
            if same not in found:
                values, V = np.linalg.eig(A.numpy())
                found[same] = values, V, _inverse(V)
                worst = max(worst, float(np.linalg.norm(V, 1) * np.linalg.norm(found[same][2], 1)))
            self._eigen.append(found[same])
        self._schur = None
        if worst > WORST_EIGENVECTORS * max(A.shape[0] for A in matrices) and len(matrices) == 2:
            left, right = (A.numpy() for A in matrices)
            self._schur = schur(left, output="real"), schur(right, output="real")
        elif not np.isfinite(worst):
            raise ValueError("An axis has a derivative without eigenvectors, which is solved in two axes only.")
        self._beyond = np.zeros(())
        for values, _, _ in self._eigen[1:]:
            self._beyond = np.add.outer(self._beyond, values)
        sizes = [abs(np.add.outer(value, self._beyond)) for value in self._eigen[0][0]]
        _check_divisors(min(float(size.min()) for size in sizes), max(float(size.max()) for size in sizes))

    def solve(self, R: Tensor) -> Tensor:
        """For R of the shape of the free nodes."""
        if self._single is not None:
            factors, pivots = self._single
            solved: Tensor = torch.linalg.lu_solve(factors, pivots, R.unsqueeze(1))
            return solved.squeeze(1)
        X = R.numpy()
        if self._schur is not None:
            (T, Q), (S, P) = self._schur
            Y, scale, _ = lapack.dtrsyl(T, S, Q.T @ X @ P, tranb="C")
            return torch.from_numpy(Q @ (Y / scale) @ P.T)
        return torch.from_numpy(self._by_eigenvectors(X))

    def _by_eigenvectors(self, R: np.ndarray) -> np.ndarray:
        """Block by block, so that beside the result one complex array of its size is held."""
        values, V, inverse = self._eigen[0]
        right = R.reshape(len(R), -1)
        Z = np.empty(right.shape, dtype=np.result_type(V, *(each[1] for each in self._eigen)))
        columns = [slice(start, start + BLOCK) for start in range(0, right.shape[1], BLOCK)]
        for block in columns:
            Z[:, block] = inverse @ right[:, block]
        for start in range(0, len(R), BLOCK):
            rows = slice(start, start + BLOCK)
            part = Z[rows].reshape(-1, *R.shape[1:])
            for i, (_, _, other) in enumerate(self._eigen[1:], 1):
                part = np.moveaxis(np.tensordot(other, part, (1, i)), 0, i)
            part = part / np.add.outer(values[rows], self._beyond)
            for i, (_, other, _) in enumerate(self._eigen[1:], 1):
                part = np.moveaxis(np.tensordot(other, part, (1, i)), 0, i)
            Z[rows] = part.reshape(len(part), -1)
        found = np.empty(right.shape)
        for block in columns:
            found[:, block] = (V @ Z[:, block]).real
        return found.reshape(R.shape)


def _inverse(V: np.ndarray) -> np.ndarray:
    """In place of its own factors, and infinite where there is none: Schur vectors are used then."""
    functions: Any = get_lapack_funcs(("getrf", "getri"), (V,))
    factorise, invert = functions
    factors, pivots, singular = factorise(V)
    if singular:
        return np.full_like(V, np.inf)
    found: np.ndarray = invert(factors, pivots, lwork=64 * len(V), overwrite_lu=True)[0]
    return found


def _check_divisors(smallest: float, largest: float) -> None:
    if not smallest > SINGULAR * largest:
        raise ValueError(
            f"The boundary data leave the solution open: the smallest divisor is {smallest:.1e}, the largest "
            f"{largest:.1e}. Give values on at least one face (slopes alone leave a constant open), or change the "
            f"coefficients: the operator may have an eigenvalue 0 on this domain."
        )
