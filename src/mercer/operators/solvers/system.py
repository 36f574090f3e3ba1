"""The system ``(A + diag(noise)) x = b`` as the solvers see it: products in two precisions, rows, and the diagonal."""

import math
from typing import Any, Protocol

import torch
from linear_operator.operators import DenseLinearOperator
from torch import Tensor

from mercer.errors import ShapeError
from mercer.operators.solvers.double import in_double

__all__ = ["Inverse", "Matrix", "Products", "System"]

Matrix = Any  # a Tensor or a linear_operator.LinearOperator, square and symmetric

_PANEL_BYTES = 64 * 2**20  # how much of a stored float32 matrix is converted to float64 at a time


class Products(Protocol):
    """What conjugate gradients need of a positive definite matrix."""

    has_single: bool

    def product(self, V: Tensor, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """The product with V ``(n, t)`` in float64, computed in ``dtype`` if ``has_single``."""


class Inverse(Protocol):
    """What they need of a preconditioner P."""

    def solve(self, V: Tensor) -> Tensor:
        """``P^-1 V`` for V ``(n, t)``."""


class System:
    """``A + diag(noise)`` for one symmetric matrix of shape ``(n, n)``, without batch dimensions.

    A stored matrix is never copied as a whole: float32 rows are converted to float64 a panel at a time. An operator is
    recast with ``A.double()`` and ``A.float()``, which for a kernel matrix recasts the points, so that the float64
    product is that of the kernel matrix formed in float64.

    Args:
        A: tensor or linear operator.
        noise: number, ``()`` or ``(n,)``, zero or more, in the units of A (a variance).

    Raises:
        ShapeError: A is not a single square matrix, or ``noise`` has another length.
        ValueError: ``noise`` is negative or not finite.
    """

    def __init__(self, A: Matrix, noise: float | Tensor = 0.0) -> None:
        if isinstance(A, DenseLinearOperator):
            A = A.tensor
        if A.ndim != 2 or A.shape[0] != A.shape[1]:
            raise ShapeError(f"A must be square, but has shape {tuple(A.shape)}.")
        self.A = A.detach()
        self.n = int(A.shape[0])
        self.device = A.device
        self.noise = check_noise(noise, self.n, self.device)
        self.is_stored = isinstance(A, Tensor)
        # A stored float64 matrix has no float32 twin: copying it would cost more memory than it saves time.
        self.has_single = A.dtype != torch.float64 or not self.is_stored
        self._double = self.A if self.is_stored else in_double(self.A)
        self._single = None if self.is_stored or not self.has_single else self.A.float()
        self._diagonal: Tensor | None = None

    def product(self, V: Tensor, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """``(A + diag(noise)) @ V`` for V ``(n, t)`` in float64, the product with A itself computed in ``dtype``."""
        if dtype == torch.float32 and self.has_single:
            values = V.to(torch.float32)
            result = self._stored_product(values) if self._single is None else self._single @ values
            result = result.to(torch.float64)
        else:
            result = self._stored_product(V) if self.is_stored else self._double @ V
        return result + (self.noise[:, None] if self.noise.ndim else self.noise) * V

    def _stored_product(self, V: Tensor) -> Tensor:
        if V.dtype == self.A.dtype:
            return torch.as_tensor(self.A @ V)
        step = max(1, _PANEL_BYTES // (V.element_size() * self.n))
        return torch.cat([self.A[i : i + step].to(V.dtype) @ V for i in range(0, self.n, step)])

    def operator(self, dtype: torch.dtype) -> Any:
        """What a product in ``dtype`` multiplies by, if that is an operator; a stored matrix is given as it is."""
        if self.is_stored:
            return self.A
        return self._single if dtype == torch.float32 else self._double

    def expect(self, products: int, dtype: torch.dtype) -> None:
        """Tell a kernel matrix how often it will be multiplied in ``dtype``: its plan is the best for that."""
        expect = getattr(self.operator(dtype), "expect", None)
        if expect is not None:
            expect(products)

    def diagonal(self) -> Tensor:
        """The diagonal of A in float64, ``(n,)``, without the noise."""
        if self._diagonal is None:
            self._diagonal = self._double.diagonal().to(torch.float64)
        return self._diagonal

    def rows(self, index: Tensor) -> Tensor:
        """The rows ``A[index]`` in float64, ``(b, n)``, without the noise."""
        return _dense(self._double[index, :]).to(torch.float64)

    def block(self, rows: slice, columns: slice, dtype: torch.dtype = torch.float64) -> Tensor:
        """A block of A in float32 or float64, without the noise."""
        operator = self._single if dtype == torch.float32 and self._single is not None else self._double
        return _dense(operator[rows, columns]).to(dtype)

    def column_norm_bound(self) -> float:
        """An upper bound of the norm of any column of A + diag(noise), if A is positive semidefinite.

        From ``a_ij^2 <= a_ii a_jj``: the square root of the largest diagonal entry times the trace.
        """
        diagonal = self.diagonal().abs()
        return math.sqrt(float(diagonal.max()) * float(diagonal.sum())) + float(self.noise.max())


def check_noise(noise: float | Tensor, n: int, device: torch.device) -> Tensor:
    """``noise`` as a float64 tensor ``()`` or ``(n,)`` on the device, checked."""
    result = torch.as_tensor(noise, dtype=torch.float64, device=device).detach()
    if result.ndim and result.shape != (n,):
        if result.numel() != 1:
            raise ShapeError(f"noise must be one number or one a row: ({n},), but has shape {tuple(result.shape)}.")
        result = result.reshape(())
    if not bool(torch.isfinite(result).all()) or bool((result < 0).any()):
        raise ValueError("noise must be finite and not negative: it is a variance that is added to the diagonal.")
    return result


def _dense(values: Any) -> Tensor:
    return torch.as_tensor(values if isinstance(values, Tensor) else values.to_dense())
