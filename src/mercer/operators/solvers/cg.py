"""Block conjugate gradients: several right-hand sides in one Krylov space, with true residuals and mixed precision."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mercer.operators.solvers.system import Products

__all__ = ["Reached", "Saved", "block_cg", "rounding_ratio"]

_DROP = {torch.float32: 1e-2, torch.float64: 1e-6}  # how far the residual may fall between two true ones
_TOO_ROUGH = 0.3  # the rounding_ratio above which float64 is used at once
_RISE = 1e3  # conjugate gradients let the residual rise on the way, but not that far
_CHECK_EVERY = 50  # iterations in float32
_FAR = 5.0  # a true residual this many times the one promised, which has not fallen ...
_STALLED = 0.2  # ... to this part of the last true one: the products are too coarse
_TENSORS = ("X", "R", "active", "verified", "Q", "AQ", "factor")
_BEST = ("best_X", "best_R", "best_residual")

Saved = tuple[dict[str, Tensor], dict[str, Any]]  # the state of a run: tensors, and what JSON can hold


@dataclass
class Reached:
    """What block_cg has reached; the answer it returns and what its ``watch`` is shown.

    Attributes:
        X: ``(n, t)`` solution.
        residual: ``(t,)`` relative residuals; true ones (float64 products) once block_cg has returned.
        n_iter: block iterations.
        products: number of products in float32 and in float64, true residuals included.
        switched_at: the iteration at which float32 products had stopped helping (0: they would not have), or None.
        history: the largest relative residual after every iteration.
        stopped: why it ended: "converged", "max_iter", "stagnation", "breakdown" or "given up".
    """

    X: Tensor
    residual: Tensor
    n_iter: int = 0
    products: dict[str, int] = field(default_factory=lambda: {"float32": 0, "float64": 0})
    switched_at: int | None = None
    history: list[float] = field(default_factory=list)
    stopped: str = ""


def block_cg(
    system: Products,
    B: Tensor,
    *,
    rtol: float,
    max_iter: int,
    precondition: Callable[[Tensor], Tensor],
    initial: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    watch: Callable[[Reached], bool] | None = None,
    saved: Saved | None = None,
    note: Callable[[Saved], None] | None = None,
) -> Reached:
    """Solve ``system @ X = B`` for B ``(n, t)``; columns that have converged leave the block.

    All vectors are float64. In float32 mode only the product with A is rounded, if that does little harm. Whenever the
    residual has fallen by 100, the true one is computed in float64 and the iteration goes on from it without losing its
    directions. When a true residual has not followed, the products become float64.

    Args:
        rtol: for ``norm(b - A x) / norm(b)`` of every column.
        max_iter: block iterations.
        precondition: gives ``P^-1 V``.
        initial: ``(n, t)`` start; zero by default.
        dtype: of the first products: float32 or float64.
        watch: called after every iteration; True ends the iteration ("given up").
        saved: go on from what ``note`` was given. With the same preconditioner the rest is the same to the last bit.
        note: called after every iteration with all that the next one needs; the tensors are not copied.

    Source: Ji & Li, A breakdown-free block conjugate gradient method, BIT 57 (2017), algorithm 2; residual
    replacement: van der Vorst & Ye, SIAM J. Sci. Comput. 22 (2000).
    """
    run = _BlockCG(system, B, rtol, precondition, initial, dtype if system.has_single else torch.float64)
    if saved is not None:
        run.restore(*saved)
    state = run.state
    while not state.stopped:
        if not len(run.active):
            state.stopped = "converged"
        elif state.n_iter >= max_iter:
            state.stopped = "max_iter"
        elif run.advance():
            state.history.append(float(state.residual.max()))
            if watch is not None and watch(state):
                state.stopped = "given up"
            elif run.is_due():
                run.verify()
            if note is not None and not state.stopped:
                note(run.snapshot())
    if state.stopped != "converged":
        run.verify()
        run.restore_best()
    return state


class _BlockCG:
    """The state of one run: X and the residual R of all columns, and the directions Q of those still active."""

    def __init__(
        self,
        system: Products,
        B: Tensor,
        rtol: float,
        precondition: Callable[[Tensor], Tensor],
        initial: Tensor | None,
        dtype: torch.dtype,
    ) -> None:
        self.system, self.B, self.rtol, self.precondition, self.dtype = system, B, rtol, precondition, dtype
        norms = torch.linalg.vector_norm(B, dim=0)
        self.norms = torch.where(norms > 0, norms, 1.0)
        self.X = torch.zeros_like(B) if initial is None else initial.clone()
        self.state = Reached(self.X, torch.ones_like(self.norms))
        self.R = B.clone() if initial is None else B - self.multiply(self.X, torch.float64)
        self.active = torch.arange(B.shape[1], device=B.device)
        self.state.residual = self.relative()
        self.verified = self.state.residual.clone()  # the last true residuals
        self.verified_at = 0
        self.best = (self.X.clone(), self.R.clone(), self.state.residual.clone())
        self.active = self.active[~(self.state.residual <= rtol)]
        self.forget_directions()

    def snapshot(self) -> Saved:
        """Everything the next iteration needs."""
        state = self.state
        tensors = {name: getattr(self, name) for name in _TENSORS} | {"residual": state.residual}
        tensors |= dict(zip(_BEST, self.best, strict=True))
        numbers = {name: getattr(state, name) for name in ("n_iter", "switched_at")}
        numbers |= {"products": dict(state.products), "history": list(state.history)}
        return tensors, {**numbers, "verified_at": self.verified_at, "dtype": str(self.dtype).removeprefix("torch.")}

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Go on from a :meth:`snapshot`."""
        for name in _TENSORS:
            setattr(self, name, tensors[name])
        self.best = (tensors["best_X"], tensors["best_R"], tensors["best_residual"])
        self.verified_at, self.dtype = numbers["verified_at"], getattr(torch, numbers["dtype"])
        names = ("n_iter", "switched_at", "products", "history")
        self.state = Reached(self.X, tensors["residual"], **{name: numbers[name] for name in names})

    def multiply(self, V: Tensor, dtype: torch.dtype) -> Tensor:
        self.state.products["float32" if dtype == torch.float32 else "float64"] += 1
        return self.system.product(V, dtype=dtype)

    def relative(self) -> Tensor:
        """Relative residuals of the active columns."""
        result: Tensor = torch.linalg.vector_norm(self.R[:, self.active], dim=0) / self.norms[self.active]
        return result

    def forget_directions(self) -> None:
        self.Q = self.AQ = self.factor = self.B[:, :0]

    def advance(self) -> bool:
        """One block iteration; False where there was none to make."""
        active = self.active
        Z = self.precondition(self.R[:, active])
        if self.Q.shape[1]:
            Z = Z - self.Q @ torch.cholesky_solve(self.AQ.mT @ Z, self.factor)
        is_sound = bool(torch.isfinite(Z).all())
        if is_sound:
            self.Q = _basis(Z)
            self.AQ = self.multiply(self.Q, self.dtype)
            if self.dtype == torch.float32 and not self.state.n_iter:
                self.compare_precisions()
            H = self.Q.mT @ self.AQ
            self.factor, failed = torch.linalg.cholesky_ex(0.5 * (H + H.mT))
            is_sound = int(failed) == 0 and bool(torch.isfinite(self.factor).all())
        if not is_sound:
            # In float32 the matrix may have lost its definiteness to rounding; in float64 there is nothing better.
            if self.dtype == torch.float64:
                self.state.stopped = "breakdown"
            else:
                self.use_float64()
            return False
        step = torch.cholesky_solve(self.Q.mT @ self.R[:, active], self.factor)
        self.X[:, active] += self.Q @ step
        self.R[:, active] -= self.AQ @ step
        self.state.n_iter += 1
        self.state.residual[active] = self.relative()
        return True

    def compare_precisions(self) -> None:
        """Begin in float64 where rounding to float32 would undo what the preconditioner does."""
        exact = self.multiply(self.Q, torch.float64)
        ratio = rounding_ratio(self.Q, exact, self.AQ, self.precondition)
        self.AQ = exact
        if not ratio <= _TOO_ROUGH:
            self.dtype, self.state.switched_at = torch.float64, 0

    def is_due(self) -> bool:
        """Whether the residual has fallen far, or risen far, or float32 has not been checked for long."""
        now, then = self.state.residual[self.active], self.verified[self.active]
        moved = (now <= (_DROP[self.dtype] * then).clamp(min=self.rtol)) | ~(now <= _RISE * then)
        overdue = self.dtype == torch.float32 and self.state.n_iter - self.verified_at >= _CHECK_EVERY
        return overdue or bool(moved.any())

    def verify(self) -> None:
        """Replace the residuals by true ones; go over to float64, or stop, where they do not follow."""
        active = self.active
        promised, before = self.state.residual[active], self.verified[active]
        self.R[:, active] = self.B[:, active] - self.multiply(self.X[:, active], torch.float64)
        true = self.relative()
        self.state.residual[active] = self.verified[active] = true
        self.verified_at = self.state.n_iter
        best_X, best_R, best = self.best
        better = active[true < best[active]]
        best_X[:, better], best_R[:, better], best[better] = self.X[:, better], self.R[:, better], self.verified[better]
        is_far = ~(true <= self.rtol) & ~(true <= _FAR * promised) & ~(true <= _STALLED * before)
        self.active = active[~(true <= self.rtol)]
        if not bool(is_far.any()) or self.state.stopped:
            return
        if self.dtype == torch.float64:
            self.state.stopped = "stagnation"
        else:
            self.restore_best()
            self.use_float64()

    def restore_best(self) -> None:
        """Go back to the smallest true residual of every column."""
        best_X, best_R, best = self.best
        worse = self.active[~(self.state.residual[self.active] <= best[self.active])]
        self.X[:, worse], self.R[:, worse] = best_X[:, worse], best_R[:, worse]
        self.state.residual[worse] = self.verified[worse] = best[worse]

    def use_float64(self) -> None:
        """Products in float64 from here on, starting from the true residual."""
        self.dtype, self.state.switched_at = torch.float64, self.state.n_iter
        self.forget_directions()
        self.R[:, self.active] = self.B[:, self.active] - self.multiply(self.X[:, self.active], torch.float64)


def rounding_ratio(Q: Tensor, exact: Tensor, rounded: Tensor, precondition: Callable[[Tensor], Tensor]) -> float:
    """By how much a solution with rounded products can at best reduce a residual, seen on the directions Q.

    The error E of the products matters as ``P^-1/2 E P^-1/2``: this is its size relative to Q in the norm of A.

    Args:
        Q: ``(n, s)``.
        exact: ``A Q``.
        rounded: the same, computed in float32.
        precondition: gives ``P^-1 V``.
    """
    E = exact - rounded
    error, size = (E * precondition(E)).sum(0).clamp(min=0.0), (Q * exact).sum(0)
    return float((error / size.clamp(min=1e-300)).max().sqrt())


def _basis(P: Tensor) -> Tensor:
    """A well-conditioned basis of the columns of P; columns that depend on others to 1e-10 are dropped."""
    P = P / torch.linalg.vector_norm(P, dim=0).clamp(min=1e-300)
    if P.shape[1] == 1:
        return P
    values, vectors = torch.linalg.eigh(P.mT @ P)
    kept = values > 1e-10 * values[-1]
    basis: Tensor = P @ (vectors[:, kept] / values[kept].sqrt())
    return basis
