"""Ridge regression over the rows: ``(K + alpha / s) c = y``, one alpha by a solver, all of them by eigenvalues."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.config import require_memory
from mercer.errors import ApproximationWarning, NotConverged
from mercer.learn.eigenvalues import inverse_or_zero
from mercer.operators import solve
from mercer.operators.solvers import CholeskyFactor, System, cholesky

__all__ = ["Dual", "DualPath", "inverse_diagonal", "solve_dual"]

_LEAST_SQUARES_LIMIT = 5000  # rows up to which a singular system is solved by eigenvalues (a minute on two cores)


@dataclass(frozen=True)
class Dual:
    """A ridge regression, and how it was found; tensors in float64.

    Attributes:
        coefficients: of the training points or centres, ``(n, t)``.
        residual: the largest relative residual of the system that was solved.
        n_iter: iterations, 0 for direct methods.
        reason: which method, and why.
        feature_weights: of the features, ``(r, t)``; None where it was not solved over features.
    """

    coefficients: Tensor
    residual: float
    n_iter: int
    reason: str
    feature_weights: Tensor | None = None


def solve_dual(
    K: Any,
    Y: Tensor,
    *,
    alpha: float,
    weights: Tensor | None,
    rtol: float,
    random_state: Any,
) -> Dual:
    """``c`` with ``(K + alpha diag(1 / weights)) c = Y``; weights are positive.

    A system that is singular to round-off gets its least-squares solution and a warning, as scikit-learn does.

    Raises:
        NotConverged: the residual ``rtol`` was not reached, and there are too many rows for least squares.
    """
    noise: float | Tensor = alpha if weights is None else alpha / weights
    found = solve(K, Y, noise=noise, rtol=rtol, random_state=random_state, raise_on_failure=False)
    if found.converged:
        return Dual(found.x, found.residual, found.n_iter, f"{found.method}: {found.reason}; {found.precision}")
    n = len(Y)
    if n > _LEAST_SQUARES_LIMIT:
        raise NotConverged(
            f"Kernel ridge with alpha = {alpha:g} on {n} rows: a relative residual of {rtol:.0e} was asked for, "
            f"{found.residual:.1e} was reached by {found.method}. Give a larger alpha or rtol.",
            found,
        )
    dense = System(K).block(slice(0, n), slice(0, n)).clone()
    root = torch.ones_like(Y[:, 0]) if weights is None else weights.sqrt()
    dense *= root[:, None] * root
    least = solve(dense, root[:, None] * Y, noise=alpha, rtol=rtol, method="lstsq", raise_on_failure=False)
    coefficients = root[:, None] * least.x
    if not least.residual < found.residual:
        coefficients, least = found.x, found
    warnings.warn(
        f"K + {alpha:g} is singular to round-off: the coefficients are the least-squares solution, relative residual "
        f"{least.residual:.1e}. Give a larger alpha.",
        ApproximationWarning,
        stacklevel=5,  # whoever called fit
    )
    return Dual(coefficients, least.residual, 0, f"{least.method}: K + alpha is singular to round-off")


class DualPath:
    """Ridge for every alpha, from one eigendecomposition of ``S^(1/2) K S^(1/2)``, S the weights.

    Args:
        K: kernel matrix ``(n, n)``, tensor or operator.
        Y: ``(n, t)`` targets, float64.
        weights: of the rows, ``(n,)``, or None.

    Raises:
        MemoryBudgetError: four matrices of float64 do not fit; before anything is allocated.

    Cost: about ``9 n^3`` multiply-adds once, ``n^2`` for every alpha.
    """

    is_primal = False

    def __init__(self, K: Any, Y: Tensor, weights: Tensor | None) -> None:
        n = len(Y)
        require_memory(
            32 * n * n,
            asked=f"The eigenvalues of a kernel matrix of {n} rows",
            instead="Give n_centers, or choose alpha by KernelRidge in a grid search.",
        )
        self.Y = Y
        self.root = torch.ones_like(Y[:, 0]) if weights is None else weights.sqrt()
        self.K = System(K).block(slice(0, n), slice(0, n))
        self.values, self.vectors = torch.linalg.eigh(self.K * (self.root[:, None] * self.root))
        self.rotated = self.vectors.mT @ (self.root[:, None] * Y)
        self.least = n * torch.finfo(torch.float64).eps * float(self.values.abs().max())
        self.values[self.values.abs() <= self.least] = 0.0

    def coefficients(self, alpha: float) -> Tensor:
        """Dual coefficients, ``(n, t)``; of least norm where K + alpha is singular."""
        inverse = inverse_or_zero(self.values + alpha, self.values)
        dual: Tensor = self.root[:, None] * (self.vectors @ (inverse[:, None] * self.rotated))
        return dual

    def leave_one_out(self, alphas: Sequence[float]) -> Tensor:
        """For every row, y minus the prediction of a model made without it, ``(alphas, n, t)``.

        The error of row i is ``c_i / G_ii`` with ``G = (K + alpha / s)^-1`` and ``c = G y``; at alpha = 0 its limit.
        """
        # At alpha = 0 something far below the eigenvalues that are not 0, so that only the null space counts.
        shifts = self.values.new_tensor(list(alphas)).clamp(min=max(self.least, 1e-300))
        inverses = 1.0 / (self.values[:, None] + shifts)  # (n, a)
        diagonal = self.vectors.square() @ inverses
        errors = []
        for a, alpha in enumerate(alphas):
            scaled = self.vectors @ (inverses[:, a, None] * self.rotated)
            error = scaled / (self.root * diagonal[:, a])[:, None]
            left_out = self.root == 0  # the model never saw them
            if bool(left_out.any()):
                error[left_out] = (self.Y - self.K @ self.coefficients(alpha))[left_out]
            errors.append(error)
        return torch.stack(errors)


def inverse_diagonal(K: Any, *, alpha: float, weights: Tensor | None) -> Tensor:
    """The diagonal of ``(K + alpha / s)^-1`` by a Cholesky factorisation, ``(n,)``.

    Cost: ``2 n^3 / 3`` multiply-adds, ``8 n^2`` bytes.
    """
    system = System(K, alpha if weights is None else alpha / weights)
    factor = cholesky(system, description="leave-one-out")
    n = system.n
    diagonal = factor.buffer.new_empty(n)
    step = max(1, min(n, 2**23 // n))
    for i in range(0, n, step):
        below = CholeskyFactor(factor.buffer[i:, i:])  # a column of the inverse is zero above its own row
        columns = factor.buffer.new_zeros(n - i, min(step, n - i))
        columns.diagonal().fill_(1.0)
        diagonal[i : i + step] = below.solve_lower(columns).square().sum(0)
    return diagonal
