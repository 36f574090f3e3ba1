"""What every mercer operator can do: linear_operator's protocol with none of its approximations."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from linear_operator import to_linear_operator
from linear_operator.operators import (
    CholLinearOperator,
    ConstantDiagLinearOperator,
    DiagLinearOperator,
    LinearOperator,
    RootLinearOperator,
    TriangularLinearOperator,
    ZeroLinearOperator,
)
from linear_operator.utils.generic import _to_helper
from torch import Tensor

from mercer import config
from mercer.arrays import broadcast_shapes
from mercer.errors import ShapeError
from mercer.operators.functions import eigsh, inv_quad_logdet, logdet_tensor, sample, solve_tensor
from mercer.operators.solvers import NotPositiveDefinite, pivoted_cholesky

Other: TypeAlias = Tensor | LinearOperator | float


class Operator(LinearOperator):
    """A lazy matrix, or a batch of them, ``(*batch, n, m)``.

    Products are exact to round-off; ``+``, elementwise ``*``, ``add_diagonal``, ``solve``, ``logdet``, roots and
    ``to_dense`` go through mercer, are exact or say what they approximate, and return mercer's classes.
    """

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.matrix_shape))
        batch = f", batch {tuple(self.batch_shape)}" if self.batch_shape else ""
        return f"{type(self).__name__}({self._shown()}{shape}{batch}, {self.dtype})"

    def _shown(self) -> str:
        """What else to say of it, before the shape."""
        return ""

    # products

    def matmul(self, other: Tensor | LinearOperator) -> Tensor | LinearOperator:
        """``K @ other`` for a vector ``(m,)``, a matrix ``(..., m, t)`` or an operator."""
        if isinstance(other, LinearOperator):
            return super().matmul(other)
        return self._matmul(other)

    def rmatmul(self, other: Tensor | LinearOperator) -> Tensor | LinearOperator:
        """``other @ K``."""
        if other.ndim == 1:
            return self.mT.matmul(other)
        return self.mT.matmul(other.mT).mT

    def _t_matmul(self, rhs: Tensor) -> Tensor:
        return self.mT._matmul(rhs)

    def to_dense(self) -> Tensor:
        """The matrix as a tensor ``(*batch, n, m)``; not kept."""
        raise NotImplementedError  # every subclass has its own

    def evaluate_kernel(self) -> Operator:
        """The operator itself: nothing is delayed beyond products."""
        return self

    # sums and products with other matrices

    def __add__(self, other: Other) -> LinearOperator:
        from mercer.operators.matrices.composite import SumOperator

        if isinstance(other, ZeroLinearOperator) or (isinstance(other, (int, float)) and other == 0):
            return self
        if isinstance(other, (int, float)):
            other = torch.full((1, 1), float(other), dtype=self.dtype, device=self.device).expand(self.matrix_shape)
        if isinstance(other, Tensor):
            other = to_linear_operator(other.expand(broadcast_shapes(other.shape, self.matrix_shape)))
        batch = broadcast_shapes(self.batch_shape, other.batch_shape)
        parts = [part if part.batch_shape == batch else part._expand_batch(batch) for part in (self, other)]
        return SumOperator(*parts)

    def __sub__(self, other: Other) -> LinearOperator:
        return self + (-other if isinstance(other, (int, float)) else other.mul(-1))

    def _mul_constant(self, other: float | Tensor) -> LinearOperator:
        from mercer.operators.matrices.composite import ScaledOperator

        return ScaledOperator(
            self, torch.as_tensor(other, dtype=self.dtype, device=self.device).expand(self.batch_shape)
        )

    def _mul_matrix(self, other: Tensor | LinearOperator) -> LinearOperator:
        from mercer.operators.matrices.composite import HadamardOperator

        other = to_linear_operator(other)
        batch = broadcast_shapes(self.batch_shape, other.batch_shape)
        parts = [part if part.batch_shape == batch else part._expand_batch(batch) for part in (self, other)]
        return HadamardOperator(*parts)

    def add_diagonal(self, diag: Tensor) -> LinearOperator:
        """K + diag(diag); ``diag`` is a number, ``(1,)`` or ``(..., n)``.

        Raises:
            ShapeError: K is not square, or ``diag`` does not fit it.
        """
        self._require_square("add_diagonal")
        diag = torch.as_tensor(diag, dtype=self.dtype, device=self.device)
        n = self.shape[-1]
        if diag.dim() and diag.shape[-1] not in (1, n):
            raise ShapeError(
                f"add_diagonal: K is {n} x {n}, so the diagonal needs 1 or {n} entries, not {tuple(diag.shape)}."
            )
        if n > 1 and diag.dim() and diag.shape[-1] == n:
            return self + DiagLinearOperator(diag.expand(*broadcast_shapes(self.batch_shape, diag.shape[:-1]), n))
        one = diag.reshape(1) if diag.dim() == 0 else diag
        return self + ConstantDiagLinearOperator(one.expand(*self.batch_shape, 1), diag_shape=n)

    def add_jitter(self, jitter_val: float = 1e-3) -> LinearOperator:
        """K + jitter_val * I."""
        return self.add_diagonal(torch.tensor(jitter_val, dtype=self.dtype, device=self.device))

    def add_low_rank(self, low_rank_mat: Tensor, *args: Any, **kwargs: Any) -> LinearOperator:
        """K + B B' for B ``(..., n, r)``."""
        return self + to_linear_operator(low_rank_mat @ low_rank_mat.mT)

    def _sum_batch(self, dim: int) -> LinearOperator:
        parts = self._unbind(dim)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def _prod_batch(self, dim: int) -> LinearOperator:
        parts = self._unbind(dim)
        total = parts[0]
        for part in parts[1:]:
            total = total * part
        return total

    def _unbind(self, dim: int) -> list[LinearOperator]:
        before = (slice(None),) * dim
        return [self[(*before, i)] for i in range(self.shape[dim])]

    # functions of a square matrix

    def solve(
        self,
        right_tensor: Tensor,
        left_tensor: Tensor | None = None,
        *,
        noise: float | Tensor = 0.0,
        rtol: float | None = None,
    ) -> Tensor:
        """(K + noise I)^-1 y, or left (K + noise I)^-1 y; differentiable. See :func:`mercer.operators.solve`.

        Args:
            right_tensor: y, ``(n,)`` or ``(..., n, t)``.
            left_tensor: ``(..., o, n)``.
            noise: a number, or one variance a row ``(n,)``.
            rtol: relative residual asked for (default 1e-6 in float32, 1e-8 in float64).

        Raises:
            NotConverged: the residual asked for was not reached.
        """
        self._require_square("solve")
        A, noise = self._split_noise(noise)
        x = solve_tensor(A, right_tensor, noise=noise, rtol=rtol)
        return x if left_tensor is None else left_tensor @ x

    def inv_quad_logdet(
        self, inv_quad_rhs: Tensor | None = None, logdet: bool = False, reduce_inv_quad: bool = True
    ) -> tuple[Tensor, Tensor]:
        """y' K^-1 y (summed over columns, or one a column) and log det K from one pass; differentiable."""
        self._require_square("inv_quad_logdet")
        zero = torch.zeros(self.batch_shape, dtype=self.dtype, device=self.device)
        if not logdet:
            return (zero if inv_quad_rhs is None else self.inv_quad(inv_quad_rhs, reduce_inv_quad)), zero
        if inv_quad_rhs is None:
            return zero, self.logdet()
        A, noise = self._split_noise(0.0)
        both = inv_quad_logdet(A, inv_quad_rhs, noise=noise)
        summed = reduce_inv_quad and inv_quad_rhs.dim() > 1
        quad = both.inv_quad.sum(-1) if summed else both.inv_quad
        return quad.to(self.dtype), both.logdet.to(self.dtype)

    def inv_quad(self, inv_quad_rhs: Tensor, reduce_inv_quad: bool = True, *, noise: float | Tensor = 0.0) -> Tensor:
        """y' (K + noise I)^-1 y for y ``(n,)`` or ``(..., n, t)``; summed over columns, or one a column."""
        y = inv_quad_rhs.unsqueeze(-1) if inv_quad_rhs.dim() == 1 else inv_quad_rhs
        per_column = (y * self.solve(y, noise=noise)).sum(-2)
        return per_column.sum(-1) if reduce_inv_quad else per_column

    def logdet(self, noise: float | Tensor = 0.0) -> Tensor:
        """log det(K + noise I); exact up to n = 4000, beyond see :func:`mercer.operators.logdet` for its error."""
        self._require_square("logdet")
        A, noise = self._split_noise(noise)
        return logdet_tensor(A, noise=noise).to(self.dtype)

    def eigsh(self, k: int = 6, **options: Any) -> tuple[Tensor, Tensor]:
        """The ``k`` largest eigenvalues ``(k,)``, largest first, and eigenvectors ``(n, k)``, in float64.

        See :func:`mercer.operators.eigsh` for options and errors.
        """
        self._require_square("eigsh")
        found = eigsh(self, k, **options)
        return found.values, found.vectors

    def sample(self, n_samples: int = 1, *, noise: float | Tensor = 0.0, random_state: Any = None) -> Tensor:
        """``(n_samples, n)`` draws of N(0, K + noise I); see :func:`mercer.operators.sample` for the error."""
        self._require_square("sample")
        return sample(self, n_samples, noise=noise, random_state=random_state).values.to(self.dtype)

    def _split_noise(self, noise: float | Tensor) -> tuple[LinearOperator, float | Tensor]:
        """(A, d) with self + noise I = A + diag(d): preconditioners are better when they know the diagonal."""
        return self, noise

    def _cholesky(self, upper: bool = False) -> TriangularLinearOperator:
        # in float64: a kernel matrix that is singular to round-off in float32 usually is not there
        L, failed = torch.linalg.cholesky_ex(self.double().to_dense())
        if bool(failed.any()):
            raise NotPositiveDefinite(int(failed.max()) - 1, self.shape[-1])
        L = L.to(self.dtype)
        return TriangularLinearOperator(L.mT.contiguous() if upper else L, upper=upper)

    def root_decomposition(self, method: str | None = None) -> LinearOperator:
        """K = L L' by Cholesky, exact to round-off."""
        self._require_square("root_decomposition")
        return CholLinearOperator(self.cholesky())

    def root_inv_decomposition(
        self, initial_vectors: Any = None, test_vectors: Any = None, method: str | None = None
    ) -> LinearOperator:
        """K^-1 = R R' with R = L^-T from a Cholesky, exact to round-off."""
        self._require_square("root_inv_decomposition")
        L = self.cholesky().to_dense()
        eye = torch.eye(L.shape[-1], dtype=L.dtype, device=L.device)
        R = torch.linalg.solve_triangular(L, eye.expand_as(L), upper=False).mT
        root = RootLinearOperator(R)
        from linear_operator.utils.memoize import add_to_cache

        add_to_cache(self, "root_inv_decomposition", root)
        return root

    def diagonalization(self, method: str | None = None) -> tuple[Tensor, LinearOperator]:
        """Eigenvalues and eigenvectors, exact; see :func:`mercer.operators.eigsh` for a few of a large matrix."""
        self._require_square("diagonalization")
        values, vectors = self._symeig(eigenvectors=True)
        return values, vectors

    def sqrt_inv_matmul(self, rhs: Tensor, lhs: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """K^-1/2 rhs by eigenvalues; with ``lhs`` (lhs K^-1/2 rhs, squared row norms of lhs K^-1/2). Differentiable."""
        self._require_square("sqrt_inv_matmul")
        values, vectors = torch.linalg.eigh(self.to_dense())
        half = vectors * values.clamp(min=torch.finfo(values.dtype).tiny).rsqrt().unsqueeze(-2) @ vectors.mT
        if lhs is None:
            return half @ rhs
        left = lhs @ half
        return left @ rhs, left.square().sum(-1)

    def zero_mean_mvn_samples(self, num_samples: int) -> Tensor:
        """``(num_samples, *batch, n)`` draws of N(0, K) from torch's global generator; see :meth:`sample`."""
        L = self.cholesky().to_dense()
        normal = torch.randn(*self.batch_shape, self.shape[-1], num_samples, dtype=self.dtype, device=self.device)
        return (L @ normal).movedim(-1, 0)

    def pivoted_cholesky(self, rank: int, error_tol: float | None = None, return_pivots: bool = False) -> Any:
        """L ``(n, rank)`` with K near L L', pivots drawn in proportion to the residual diagonal (seed 0)."""
        approximation = pivoted_cholesky(self, rank)
        return (approximation.factor, approximation.pivots) if return_pivots else approximation.factor

    def to(self, *args: Any, **kwargs: Any) -> LinearOperator:
        """The operator in another dtype or on another device."""
        device, dtype = _to_helper(*args, **kwargs)
        moved = [arg.to(dtype=dtype, device=device) for arg in self._args]
        return type(self)(*moved, **self._kwargs)

    def _require_square(self, what: str) -> None:
        if not self.is_square:
            n, m = self.shape[-2:]
            raise ShapeError(
                f"{what} needs a square matrix, but K is {n} x {m}. Did you mean kernel(X) instead of kernel(X, Y)?"
            )


def is_whole(index: Any) -> bool:
    """Whether an index keeps everything, in order."""
    return isinstance(index, slice) and index == slice(None)


def require_dense_memory(operator: LinearOperator, what: str) -> None:
    """Raise unless the whole matrix fits the memory budget."""
    config.require_memory(
        operator.shape.numel() * operator.dtype.itemsize, asked=what, instead="Use products K @ v, which store nothing."
    )
