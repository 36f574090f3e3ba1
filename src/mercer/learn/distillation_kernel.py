"""Self-distillation of kernel models without a single refit: every round from one factorisation."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.config import fits_memory
from mercer.errors import NotConverged
from mercer.learn.eigenvalues import inverse_or_zero
from mercer.learn.expansion import Expansion, ExpansionPath
from mercer.learn.primal import PrimalPath, row_blocks
from mercer.operators.solvers import CholeskyFactor, System, block_cg, build_preconditioner, cholesky, cholesky_bytes

__all__ = ["EigenForm", "KernelForm", "KernelRounds", "SolverForm"]

_REFINEMENTS = 5
_MAX_ITER = 1000  # of conjugate gradients
_MAX_TRIED = 200  # of them where a Cholesky factorisation can take over
_COLUMNS = 64  # right-hand sides of conjugate gradients at a time
_LEAST_REST = 0.01  # one minus an estimated diagonal is never taken to be less


class KernelForm(Protocol):
    """A ridge regression that can be applied again to its own predictions; a state stands for a fitted function.

    States are tensors that mix as the functions do: ``a * s1 + (1 - a) * s2``.
    """

    @property
    def reason(self) -> str:
        """How it is done, as a sentence without its full stop."""

    @property
    def first(self) -> Tensor:
        """The state of the fit to the targets."""

    def again(self, state: Tensor) -> Tensor:
        """The state of the fit to what ``state`` predicts at the training rows."""

    def expansion(self, state: Tensor) -> Expansion:
        """The function."""

    def left_out(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """``y - S y`` ``(n, t)`` for the smoother S of the state, and one minus its diagonal ``(n,)``."""


class EigenForm:
    """By eigenvalues: a state holds what the coefficient of each eigenvector is multiplied by, ``(r,)``.

    Args:
        path: the eigendecomposition, over rows, features or centres.
        Y: targets ``(n, t)``.
        alpha: the penalty of the ridge regression.
    """

    def __init__(self, path: ExpansionPath, Y: Tensor, alpha: float) -> None:
        self.path, self.Y, self.alpha = path, Y, alpha
        self.values = path.path.values
        self.first = inverse_or_zero(self.values + alpha, self.values)
        kind = "centres" if path.centers is not None else "features" if path.path.is_primal else "rows"
        self.reason = f"every round from the eigenvalues over {len(self.values)} {kind}"

    def again(self, state: Tensor) -> Tensor:
        """Times ``d / (d + alpha)``."""
        again: Tensor = state * self.values * self.first
        return again

    def filters(self, state: Tensor) -> Tensor:
        """What is left of each eigenvector of the targets, ``(..., r)``."""
        kept: Tensor = state * self.values
        return kept

    def expansion(self, state: Tensor) -> Expansion:
        """The function."""
        return self.path.expansion(self.path.path.vectors @ (state[:, None] * self.path.path.rotated))

    def left_out(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Exactly."""
        path = self.path.path
        weighted = state[:, None] * path.rotated
        if not isinstance(path, PrimalPath):
            kept = self.filters(state)
            return self.Y - path.vectors @ (self.values[:, None] * weighted), 1.0 - path.vectors.square() @ kept
        fitted, diagonal = torch.empty_like(self.Y), torch.empty_like(self.Y[:, 0])
        for block in row_blocks(path.rows.n, path.rows.width):
            Z = path.rows.block(block) @ path.vectors
            fitted[block], diagonal[block] = Z @ weighted, Z.square() @ state
        return self.Y - fitted, 1.0 - diagonal


class SolverForm:
    """By conjugate gradients with one preconditioner for all rounds: for more rows than eigenvalues are worth.

    Where they do not reach the residual, one Cholesky factorisation takes over, if it fits the memory. A state
    holds the targets of a fit and its coefficients, ``(2, n, t + probes)``. Probes are random signs as further
    targets: ``mean(z * S z)`` estimates the diagonal of a smoother, and costs only more right-hand sides.

    Args:
        similarity: the kernel; None for a kernel matrix.
        points: the training points, or the kernel matrix.
        Y: targets ``(n, t)``.
        alpha: the penalty of the ridge regression.
        rtol: relative residual of every solve.
        n_probes: 0 where no diagonal will be asked for.

    Raises:
        NotConverged: ``rtol`` was not reached.
    """

    def __init__(
        self,
        similarity: Any,
        points: Any,
        Y: Tensor,
        alpha: float,
        *,
        rtol: float,
        n_probes: int,
        random_state: Any,
    ) -> None:
        self.similarity, self.points, self.Y, self.alpha, self.rtol = similarity, points, Y, alpha, rtol
        K = points if similarity is None else similarity.matrix(points)
        self.system = System(K, alpha)
        signs = torch.randint(0, 2, (len(Y), n_probes), generator=generator(random_state), dtype=torch.float64)
        self.probes = (2.0 * signs - 1.0).to(Y.device)
        columns = min(Y.shape[1] + n_probes, _COLUMNS)
        self.preconditioner = build_preconditioner(self.system, rtol=rtol, columns=columns, random_state=random_state)
        self.factor: CholeskyFactor | None = None
        self.can_factorise = fits_memory(cholesky_bytes(len(Y)))
        targets = torch.cat([Y, self.probes], 1)
        self.first = torch.stack([targets, self._solve(targets)])

    @property
    def reason(self) -> str:
        """How the rounds were found."""
        kind = "preconditioner of conjugate gradients" if self.factor is None else "Cholesky factorisation"
        return f"every round from one {kind} over {len(self.Y)} rows"

    def again(self, state: Tensor) -> Tensor:
        """One more solve, for what the state predicts: its targets less alpha times its coefficients."""
        fitted = state[0] - self.alpha * state[1]
        return torch.stack([fitted, self._solve(fitted, start=state[1])])

    def expansion(self, state: Tensor) -> Expansion:
        """The function."""
        return Expansion(self.similarity, self.points, state[1][:, : self.Y.shape[1]].clone())

    def left_out(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """With a diagonal estimated from the probes."""
        t = self.Y.shape[1]
        fitted = state[0] - self.alpha * state[1]
        diagonal = (self.probes * fitted[:, t:]).mean(1)
        return self.Y - fitted[:, :t], (1.0 - diagonal).clamp(min=_LEAST_REST)

    def _solve(self, B: Tensor, *, start: Tensor | None = None) -> Tensor:
        if self.factor is None:
            X, reached = self._iterate(B, start)
            if reached <= self.rtol:
                return X
            if not self.can_factorise:
                raise self._not_converged(reached, X)
            self.factor = cholesky(self.system, description="self-distillation")
        X = self.factor.solve(B)
        for _ in range(_REFINEMENTS):
            residual = B - self.system.product(X)
            reached = _relative(residual, B)
            if reached <= self.rtol:
                return X
            X = X + self.factor.solve(residual)
        raise self._not_converged(reached, X)

    def _iterate(self, B: Tensor, start: Tensor | None) -> tuple[Tensor, float]:
        """The best of conjugate gradients, and its largest relative residual."""
        parts, reached = [], 0.0
        for j in range(0, B.shape[1], _COLUMNS):
            found = block_cg(
                self.system,
                B[:, j : j + _COLUMNS],
                rtol=0.8 * self.rtol,  # a little lower, so that the round-off of the residual is covered
                max_iter=_MAX_TRIED if self.can_factorise else _MAX_ITER,
                precondition=self.preconditioner.solve,
                initial=None if start is None else start[:, j : j + _COLUMNS],
            )
            parts.append(found.X)
            reached = max(reached, float(found.residual.max()))
        return torch.cat(parts, 1), reached

    def _not_converged(self, reached: float, X: Tensor) -> NotConverged:
        return NotConverged(
            f"Self-distillation on {len(X)} rows: a relative residual of {self.rtol:.0e} was asked for, {reached:.1e} "
            f"was reached. Give the kernel ridge a larger alpha or rtol.",
            X,
        )


class KernelRounds:
    """Rounds of kernel ridge regression; a model is a state of the form.

    Args:
        form: how states are found.
        offset: added to predictions, ``(t,)``: the mean of the targets where they were centred.
    """

    def __init__(self, form: KernelForm, offset: Tensor) -> None:
        self.form, self.offset = form, offset

    def first(self) -> Tensor:
        """The ridge regression."""
        return self.form.first

    def student(self, teacher: Tensor) -> Tensor:
        """The ridge regression of the teacher's predictions."""
        return self.form.again(teacher)

    def mix(self, teacher: Tensor, alpha: float, *, first: Tensor, student: Tensor | None) -> Tensor:
        """Linear: no fit but the student's is needed."""
        if alpha == 1.0:
            return first
        student = self.student(teacher) if student is None else student
        return alpha * first + (1.0 - alpha) * student

    def evaluate(self, model: Tensor, points: Any) -> Tensor:
        """The function and the offset."""
        return self.form.expansion(model)(points) + self.offset

    def left_out(self, model: Tensor) -> tuple[Tensor, Tensor]:
        """As the form has it; the offset is taken as known."""
        return self.form.left_out(model)


def _relative(residual: Tensor, B: Tensor) -> float:
    norms = torch.linalg.vector_norm(B, dim=0)
    return float((torch.linalg.vector_norm(residual, dim=0) / torch.where(norms > 0, norms, 1.0)).max())
