"""The log-determinant of a matrix that need not be stored, with its standard error and its gradient."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mercer.operators.functions.inv_quad_logdet import inv_quad_logdet
from mercer.operators.solvers import Matrix

__all__ = ["LogDeterminant", "logdet"]


@dataclass(frozen=True)
class LogDeterminant:
    """What :func:`logdet` gives.

    Attributes:
        value: ``(*batch,)`` float64, natural logarithm; differentiable.
        standard_error: ``(*batch,)``, over the probes; 0 where the value is exact.
        method: "cholesky" or "lanczos".
        n_iter: Lanczos steps; 0 with Cholesky.
        rank: of the preconditioner; 0 with Cholesky.
    """

    value: Tensor
    standard_error: Tensor
    method: str
    n_iter: int
    rank: int


def logdet(
    A: Matrix,
    *,
    noise: float | Tensor = 0.0,
    n_probes: int = 10,
    max_iter: int | None = None,
    method: Literal["cholesky", "lanczos"] | None = None,
    rank: int | None = None,
    random_state: Any = 0,
) -> LogDeterminant:
    """``log det(A + diag(noise))``: exact by Cholesky up to n = 4000, by stochastic Lanczos quadrature beyond.

    Beyond, ``log det P`` of a preconditioner P is exact and only ``tr log(P^-1/2 (A + diag(noise)) P^-1/2)`` is
    estimated from probes: the better P, the smaller the standard error. The gradient is estimated from the same probes.

    Args:
        A: ``(*batch, n, n)``, symmetric positive semidefinite: tensor or linear operator.
        noise: a number, ``(n,)`` or ``(*batch, n)``; differentiable too.
        n_probes, max_iter, method, rank, random_state: as in :func:`inv_quad_logdet`.

    Raises:
        NotConverged: the probes did not converge; or, as NotPositiveDefinite, the matrix is singular to round-off.

    >>> logdet(torch.eye(3), noise=1.0).value
    tensor(2.0794, dtype=torch.float64)
    """
    nothing = torch.zeros(A.shape[-1], 0, dtype=torch.float64, device=A.device)
    both = inv_quad_logdet(
        A,
        nothing,
        noise=noise,
        n_probes=n_probes,
        max_iter=max_iter,
        method=method,
        rank=rank,
        random_state=random_state,
    )
    return LogDeterminant(both.logdet, both.standard_error, both.method, both.n_iter, both.rank)
