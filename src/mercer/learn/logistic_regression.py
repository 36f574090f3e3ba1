"""Logistic regression on given columns by Newton's method: two classes, or several by a softmax."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn.functional import one_hot

from mercer.config import require_memory
from mercer.operators.solvers import block_cg

__all__ = ["LogisticFit", "fit_logistic"]

_DENSE = 800  # unknowns up to which the Hessian of several classes is formed; see fit_logistic
_INNER = 500  # iterations of conjugate gradients a step at most
_LOOSEST = 0.1  # residual to which a step is solved at most; it falls with the gradient, for quadratic convergence
_HALVINGS = 40
_ARMIJO = 1e-4  # share of the promised decrease that a step must give
_ROUND_OFF = 1e-14  # of the objective: what a sum over rows cannot tell from a decrease
_ROWS = 4096  # whose scaled columns are held at a time


@dataclass(frozen=True)
class LogisticFit:
    """What :func:`fit_logistic` has found.

    Attributes:
        solution: ``(columns, 1)`` for two classes, else ``(columns, classes)`` of rows with sum 0.
        gradient: its norm, relative to that at zero.
        n_iter: Newton steps.
        converged: whether the gradient is as small as was asked.
    """

    solution: Tensor
    gradient: float
    n_iter: int
    converged: bool


def fit_logistic(
    F: Tensor,
    codes: Tensor,
    n_classes: int,
    *,
    alpha: float,
    weights: Tensor | None = None,
    rtol: float = 1e-11,
    max_iter: int = 100,
) -> LogisticFit:
    r"""The least penalised log loss, by damped Newton steps from zero.

    .. math:: \min_B \sum_i s_i \left(-\log p_{y_i}(x_i)\right) + \tfrac{\alpha}{2} |B_{1:}|^2

    with ``p = softmax(F B)``, or for two classes ``p_1 = 1 / (1 + exp(-F B))`` of one column. The first row of B has no
    penalty: the first column of F is the constant. It is convex with one minimum (up to a shift of all intercepts of
    several classes, which are those of sum 0).

    Each step solves with the Hessian: by Cholesky for two classes, and for several where classes times columns are at
    most 800; beyond, by conjugate gradients, preconditioned by the Cholesky factors of each class's own block. Steps
    are halved until the objective falls.

    Args:
        F: ``(n, columns)``, float64, the first column 1.
        codes: ``(n,)``, from 0 to ``n_classes - 1``.
        n_classes: at least 2.
        alpha: > 0.
        weights: ``(n,)``, >= 0.
        rtol: norm of the gradient at which to stop, relative to that at zero.
        max_iter: Newton steps.

    Raises:
        MemoryBudgetError: the Hessian or its blocks do not fit.

    Warns:
        ConvergenceWarning: the gradient is larger than was asked; the best B so far is returned.

    Cost: a step ``n c^2`` (two classes: ``n c^2 / 2``) for c unknowns, and ``c^3 / 3``; by conjugate gradients
        ``classes (n columns^2 + columns^3 / 3)``, and ``4 n columns classes`` an iteration.
    Source: Boyd & Vandenberghe, Convex optimization (2004), section 9.5; inexact steps: Nocedal & Wright, Numerical
        optimization (2nd ed., 2006), section 7.1.

    >>> F = torch.tensor([[1.0, -1.0], [1.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
    >>> found = fit_logistic(F, torch.tensor([0, 1, 1]), 2, alpha=1.0)
    >>> found.solution.flatten(), found.converged
    (tensor([0.5980, 0.7080], dtype=torch.float64), True)
    """
    problem = _Problem(F, codes, n_classes, alpha, weights)
    B = F.new_zeros(F.shape[1], problem.n_columns)
    value, gradient, P = problem.at(B)
    start = size = float(gradient.norm())
    n_iter, has_stalled = 0, False
    while size > rtol * start and n_iter < max_iter and not has_stalled:
        n_iter += 1
        step = _newton_step(problem, gradient, P, rtol=min(_LOOSEST, size / start))
        slope = float((gradient * step).sum())
        share, has_stalled = 1.0, True
        for _ in range(_HALVINGS):
            found = problem.at(B + share * step)
            if found[0] <= value + _ARMIJO * share * slope + _ROUND_OFF * abs(value):
                # Where round-off hides the decrease, the gradient tells whether the step was one.
                has_stalled = found[0] > value - _ROUND_OFF * abs(value) and float(found[1].norm()) >= size
                break
            share *= 0.5
        if not has_stalled:
            B = B + share * step
            value, gradient, P = found
            size = float(gradient.norm())
    converged = size <= rtol * start
    if not converged:
        warnings.warn(
            f"Newton's method for the logistic loss has stopped after {n_iter} steps with a gradient of "
            f"{size / start:.1e} of the first, above {rtol:g}: the coefficients are less exact. Raise alpha (it is "
            f"{alpha:g}), or give features of a similar size.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return LogisticFit(B, size / start if start else 0.0, n_iter, converged)


class _Problem:
    """The objective of :func:`fit_logistic` and its derivatives."""

    def __init__(self, F: Tensor, codes: Tensor, n_classes: int, alpha: float, weights: Tensor | None) -> None:
        self.F = F
        truth = one_hot(codes.to(F.device), n_classes).to(F.dtype)
        self.truth = truth[:, 1:] if n_classes == 2 else truth
        self.n_columns = self.truth.shape[1]
        self.weights = F.new_ones(len(F), 1) if weights is None else weights.to(F)[:, None]
        self.penalty = F.new_full((F.shape[1], 1), alpha)
        self.penalty[0] = 0.0

    def at(self, B: Tensor) -> tuple[float, Tensor, Tensor]:
        """The objective, its gradient ``(columns, k)``, and the probabilities ``(n, k)``."""
        Z = self.F @ B
        if self.n_columns == 1:
            losses, P = torch.logaddexp(Z, torch.zeros_like(Z)), torch.sigmoid(Z)
        else:
            losses, P = torch.logsumexp(Z, 1, keepdim=True), torch.softmax(Z, 1)
        losses = losses - (self.truth * Z).sum(1, keepdim=True)
        value = float((self.weights * losses).sum() + 0.5 * (self.penalty * B.square()).sum())
        return value, self.F.mT @ (self.weights * (P - self.truth)) + self.penalty * B, P

    def block(self, P: Tensor, a: int, b: int) -> Tensor:
        """The Hessian by columns a and b of B, ``(columns, columns)``."""
        curvature = self.weights[:, 0] * P[:, a] * ((1.0 - P[:, a]) if a == b else -P[:, b])
        made = torch.zeros(self.F.shape[1], self.F.shape[1], dtype=self.F.dtype, device=self.F.device)
        for F, c in zip(self.F.split(_ROWS), curvature.split(_ROWS), strict=True):
            made.addmm_((F * c[:, None]).mT, F)
        if a == b:
            made.diagonal().add_(self.penalty[:, 0])
        return made


@dataclass(frozen=True)
class _Curvature:
    """Products with the Hessian for conjugate gradients, and the preconditioner: a factor a class.

    Unknowns are B, flattened. Steps have rows of sum 0, where a shift of all intercepts has no part.
    """

    problem: _Problem
    P: Tensor
    factors: Tensor  # (k, columns, columns)
    has_single = False

    def product(self, V: Tensor, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """``(columns k, t)`` to the same."""
        F, P = self.problem.F, self.P
        found = []
        for v in V.mT:
            own = v.view(-1, P.shape[1])
            D = P * (F @ own)
            D = self.problem.weights * (D - P * D.sum(1, keepdim=True))
            found.append((F.mT @ D + self.problem.penalty * own).flatten())
        return torch.stack(found, 1)

    def precondition(self, V: Tensor) -> Tensor:
        """The inverse of the blocks on the diagonal, within the steps of rows of sum 0."""
        own = V.view(-1, self.P.shape[1], V.shape[1]).transpose(0, 1)  # (k, columns, t)
        solved = torch.cholesky_solve(own - own.mean(0), self.factors)
        return (solved - solved.mean(0)).transpose(0, 1).reshape(V.shape)


def _newton_step(problem: _Problem, gradient: Tensor, P: Tensor, *, rtol: float) -> Tensor:
    columns, k = gradient.shape
    is_dense = k == 1 or columns * k <= _DENSE
    require_memory(
        16 * columns**2 * (k**2 if is_dense else k),
        asked=f"Newton's method with {columns} features and {k} classes",
        instead="Use fewer features.",
    )
    if not is_dense:
        factors = torch.stack([_factor(problem.block(P, a, a)) for a in range(k)])
        curvature = _Curvature(problem, P, factors)
        right = -gradient.reshape(-1, 1)
        found = block_cg(
            curvature, right, rtol=rtol, max_iter=_INNER, precondition=curvature.precondition, dtype=torch.float64
        )
        step = found.X.view(columns, k)
        return step - step.mean(1, keepdim=True)
    H = gradient.new_empty(k, columns, k, columns)
    for a in range(k):
        for b in range(a + 1):
            H[a, :, b] = H[b, :, a] = problem.block(P, a, b)
    if k > 1:
        # A shift of all intercepts changes nothing: the Hessian is singular there, and the gradient 0.
        H[:, 0, :, 0] += H[:, 0, :, 0].diagonal().mean()
    lower = _factor(H.view(k * columns, k * columns))
    solved = torch.cholesky_solve(-gradient.mT.reshape(-1, 1), lower).view(k, columns).mT
    return solved - solved.mean(1, keepdim=True) if k > 1 else solved


def _factor(H: Tensor) -> Tensor:
    """The Cholesky factor; where all probabilities are 0 or 1 the intercept has no curvature, and H a little more."""
    more = 1e-14 * float(H.diagonal().mean())
    lower, failed = torch.linalg.cholesky_ex(H)
    while int(failed):
        H.diagonal().add_(more)
        more *= 10.0
        lower, failed = torch.linalg.cholesky_ex(H)
    result: Tensor = lower
    return result
