"""Kernel ridge regression and its gradients with the matrices stored: an iterate on up to a few thousand rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mercer.operators.machine import exp2_is_faster

__all__ = ["StoredIterate", "Workspace"]

_ROWS = 256  # of a block: its distances, powers and kernel values stay in cache
_DIRECT_COLUMNS = 3  # up to so many, differences cost no more than a product of matrices, and lose no digits
_SAME = 8.0  # times the round-off of a product: squared distances below are those of a point to itself


class Workspace:
    """The buffers of successive iterates: fresh pages would cost as much as the kernel values that go into them.

    Attributes:
        matrix, slopes: ``(n, n)``, of the iterate that was made last.
    """

    def __init__(self, n: int, like: Tensor) -> None:
        self.matrix, self.slopes = like.new_empty(n, n), like.new_empty(n, n)
        self._factors: list[Tensor] = []

    def factor(self) -> Tensor:
        """A buffer in the order that LAPACK writes."""
        n = len(self.matrix)
        return self._factors.pop() if self._factors else self.matrix.new_empty(n, n).mT

    def release(self, factor: Tensor | None) -> None:
        """Give a factor's buffer back."""
        if factor is not None:
            self._factors.append(factor)

    @staticmethod
    def bytes(n: int, dtype: torch.dtype) -> int:
        """Memory of a workspace with the factors of two iterates."""
        return 4 * n * n * dtype.itemsize


class StoredIterate:
    r"""Kernel ridge regression with ``exp(-(|z - z'| / l)^q)``, Euclidean, and the gradients of its prediction.

    Everything is in the type of Z; in float32 a squared distance has an error of ``4e-7 |z|^2``, which two digits of
    the coefficients survive. Points closer than that are taken for one: k is 1 and has no gradient there.

    Args:
        Z: ``(n, r)``.
        lengthscale: l; ``exponent``: q, 0 < q <= 2.
        noise: ``()`` or ``(n,)``, added to the diagonal.
        Y: ``(n, t)`` targets.
        workspace: for n rows; what an earlier iterate has in it is lost, but for its factor.

    Attributes:
        factor: of ``K + noise``, lower; None where there is none in this type.
        dual: ``(K + noise)^-1 Y``, ``(n, t)``; zero without a factor.
        residual: the largest relative residual of a column; infinite without a factor.

    Cost: half of the n^2 pairs (a GEMM of inner size r, a root or a logarithm and an exponential, another one), and
    ``n^3 / 3`` multiply-adds for the factor, which at n = 2000 are two thirds of the time.
    """

    def __init__(
        self, Z: Tensor, *, lengthscale: float, exponent: float, noise: Tensor, Y: Tensor, workspace: Workspace
    ) -> None:
        self.lengthscale, self.exponent, self._workspace = lengthscale, exponent, workspace
        self.centre = Z.mean(0)
        self.Z = Z - self.centre
        self.norms = self.Z.square().sum(1)
        self.binary = exp2_is_faster(Z)
        self.unit = 1.0 / math.log(2.0) if self.binary else 1.0
        self.same = _SAME * torch.finfo(Z.dtype).eps * float(self.norms.mean())
        matrix, slopes = workspace.matrix, workspace.slopes  # the lower blocks only
        for rows, columns in self._lower():
            S, P = self._powers(self.Z[rows], self.norms[rows], columns)
            k = self._raise_(torch.neg(P, out=matrix[rows, columns]))
            # dk/dS up to a factor, which no metric sees; 0 / 0 at a point itself
            torch.mul(k, P, out=slopes[rows, columns]).div_(S).nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        matrix.diagonal().add_(noise)
        factor, failed = workspace.factor(), torch.zeros((), dtype=torch.int32, device=Z.device)
        torch.linalg.cholesky_ex(matrix, out=(factor, failed))
        self.factor: Tensor | None = factor
        self.dual, self.residual = torch.zeros_like(Y), float("inf")
        if int(failed):
            self.release()
            return
        self.dual = self.solve(Y)
        rest = Y - self._symmetric_product(matrix, self.dual)
        scale = torch.linalg.vector_norm(Y, dim=0).clamp(min=1e-30)
        self.residual = float((torch.linalg.vector_norm(rest, dim=0) / scale).nan_to_num(nan=torch.inf).max())

    def release(self) -> None:
        """Give the factor's buffer to the iterates to come."""
        self._workspace.release(self.factor)
        self.factor = None

    def solve(self, B: Tensor) -> Tensor:
        """``(K + noise)^-1 B`` by the factor, ``(n, t)``."""
        assert self.factor is not None
        half = torch.linalg.solve_triangular(self.factor, B, upper=False)
        whole: Tensor = torch.linalg.solve_triangular(self.factor.mT, half, upper=True)
        return whole

    def inverse_diagonal(self) -> Tensor:
        """The diagonal of ``(K + noise)^-1``, ``(n,)``; ``2 n^3 / 3`` multiply-adds."""
        assert self.factor is not None
        return torch.cholesky_inverse(self.factor).diagonal()

    def values(self, points: Tensor, dual: Tensor) -> Tensor:
        """``k(points, Z) dual``, ``(m, t)``."""
        points = points - self.centre
        everything = slice(0, len(self.Z))
        blocks = [
            self._raise_(self._powers(rows, rows.square().sum(1), everything)[1].neg_()) @ dual
            for rows in points.split(_ROWS)
        ]
        return torch.cat(blocks)

    def gradients(self, n_points: int) -> Tensor:
        """The gradients of ``k(z, Z) dual`` at the first rows of Z up to a common factor, ``(n_points, t, r)``.

        Only of the iterate that was made last in its workspace.
        """
        t = self.dual.shape[1]
        right = torch.cat([self.dual, (self.dual.unsqueeze(2) * self.Z.unsqueeze(1)).flatten(1)], 1)  # (n, t + t r)
        sums = self._symmetric_product(self._workspace.slopes, right, n_points)
        return sums[:, :t, None] * self.Z[:n_points].unsqueeze(1) - sums[:, t:].reshape(n_points, t, -1)

    def _powers(self, points: Tensor, norms: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
        """Squared distances of centred points to some rows of Z, and minus the logarithm of k, to the base in use."""
        others = self.Z[columns]
        if self.Z.shape[1] <= _DIRECT_COLUMNS:
            S = others.new_zeros(len(points), len(others))
            for c in range(self.Z.shape[1]):
                S.add_((points[:, c, None] - others[:, c]).square_())
        else:
            S = torch.mm(points, others.mT).mul_(-2.0).add_(norms.unsqueeze(1)).add_(self.norms[columns])
            torch.threshold_(S, self.same, 0.0)
        scale = self.unit / self.lengthscale**self.exponent
        if self.exponent == 2.0:
            P = S * scale
        elif self.exponent == 1.0:
            P = S.sqrt().mul_(scale)
        else:  # a logarithm and an exponential take two thirds of the time of torch's power
            logarithm = S.log2() if self.binary else S.log()
            P = self._raise_(logarithm.mul_(0.5 * self.exponent)).mul_(scale)
        return S, P

    def _raise_(self, exponents: Tensor) -> Tensor:
        """The power of the base in use, in place."""
        return exponents.exp2_() if self.binary else exponents.exp_()

    def _lower(self) -> Iterator[tuple[slice, slice]]:
        """Rows, and the columns up to their diagonal block."""
        for start in range(0, len(self.Z), _ROWS):
            rows = slice(start, min(start + _ROWS, len(self.Z)))
            yield rows, slice(0, rows.stop)

    def _symmetric_product(self, lower: Tensor, B: Tensor, n_rows: int | None = None) -> Tensor:
        """The first rows of ``A B`` for a symmetric A whose lower blocks are given."""
        n_rows = len(B) if n_rows is None else n_rows
        out = B.new_zeros(n_rows, B.shape[1])
        for rows, columns in self._lower():
            top, above = slice(rows.start, min(rows.stop, n_rows)), slice(0, min(rows.start, n_rows))
            if top.start < top.stop:
                out[top] += lower[top, columns] @ B[columns]
            out[above] += lower[rows, above].mT @ B[rows]
        return out
