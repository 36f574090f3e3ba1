"""Solve by preconditioned conjugate gradients: how large a preconditioner, when to stop, what to say."""

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from mercer.config import fits_memory, memory_budget
from mercer.operators.machine import rates
from mercer.operators.solvers.cg import Reached, Saved, block_cg
from mercer.operators.solvers.checkpoint import Checkpoint
from mercer.operators.solvers.methods import ITERATIONS, Attempt, Options, finish, product_seconds
from mercer.operators.solvers.nystrom import nystrom
from mercer.operators.solvers.pivots import pivoted_cholesky
from mercer.operators.solvers.precondition import Preconditioner, precondition
from mercer.operators.solvers.system import System
from mercer.progress import Progress, track

__all__ = ["build_preconditioner", "expected_iterations", "iteration_seconds", "solve_by_cg"]

_BLOCK = 64  # right-hand sides at a time; more cost memory and gain little
_MAX_ITER = 1000
_MAX_RANK = 4000
_OF_EXPECTED = 0.7  # of the bound on the iterations is needed where it matters (RBF, d = 30, n = 10 000)
_MOST_EXPECTED = 100.0  # iterations, in the choice of the rank: the bound is far too high where it is large
_SHARE_OF_MEMORY = 0.25  # of the budget, for the preconditioner


def build_preconditioner(
    system: System,
    *,
    rtol: float,
    columns: int = 1,
    rank: int | None = None,
    random_state: Any = 0,
    at_most_seconds: float = math.inf,
    kind: str = "pivoted_cholesky",
) -> Preconditioner:
    """The preconditioner, of the rank given, or grown until its cost is half that of the iterations still expected.

    Args:
        kind: "pivoted_cholesky" or "nystrom".
        at_most_seconds: stop growing at this predicted cost.
    """
    n = system.n
    noise = float(system.noise.min())
    product = iteration_seconds(system, columns, 0)

    def enough(r: int, eigenvalue: float) -> bool:
        spent = 4.0 * n * r * r / rates().cholesky_flops
        if kind == "nystrom":
            spent += -(-r // _BLOCK) * product_seconds(system, _BLOCK, torch.float64)
        iterations = min(_MOST_EXPECTED, expected_iterations(eigenvalue, noise, rtol))
        return spent > min(at_most_seconds, 0.5 * iterations * product)

    largest = min(n, _MAX_RANK)
    if not fits_memory(8 * n * largest / _SHARE_OF_MEMORY):
        largest = max(1, int(_SHARE_OF_MEMORY * memory_budget() / (8 * n)))
    if kind == "nystrom":
        found = nystrom(
            system,
            largest if rank is None else rank,
            enough=enough if rank is None else None,
            random_state=random_state,
        )
        return precondition(system, found)
    approximation = pivoted_cholesky(
        system,
        largest if rank is None else rank,
        tolerance=0.1 * noise,
        enough=enough if rank is None else None,
        random_state=random_state,
    )
    return precondition(system, approximation)


def expected_iterations(next_eigenvalue: float, noise: float, rtol: float) -> float:
    """The classical bound for the condition number ``1 + next_eigenvalue / noise``; often twice what is needed."""
    return 0.5 * math.sqrt(1.0 + next_eigenvalue / max(noise, 1e-300)) * math.log(2.0 / rtol)


def iteration_seconds(system: System, columns: int, rank: int) -> float:
    """Predicted time of one iteration for all columns: the product with A, and reading the preconditioner twice."""
    blocks = -(-columns // _BLOCK)
    return blocks * (product_seconds(system, min(columns, _BLOCK)) + 16.0 * system.n * rank / rates().memory)


def solve_by_cg(
    system: System,
    B: Tensor,
    initial: Tensor | None,
    options: Options,
    *,
    reason: str,
    alternative_seconds: float = math.inf,
) -> Attempt:
    """Blocks of 64 right-hand sides with one preconditioner.

    Args:
        alternative_seconds: predicted time of another method. No more than a quarter of it goes into the
            preconditioner; the iteration gives up when what remains of it is predicted, from the preconditioner before
            it starts and from its progress later, to take longer.
    """
    t, rtol = B.shape[1], options.rtol
    checkpoint = None if options.checkpoint is None else Checkpoint(options.checkpoint, system, B, rtol)
    max_iter = _MAX_ITER if options.max_iter is None else options.max_iter
    P = build_preconditioner(
        system,
        rtol=rtol,
        columns=t,
        rank=options.rank,
        random_state=options.random_state,
        at_most_seconds=0.25 * alternative_seconds,
        kind=options.preconditioner,
    )
    worth = alternative_seconds / iteration_seconds(system, t, P.rank)  # iterations
    expected = expected_iterations(P.next_eigenvalue, float(system.noise.min()), rtol)
    if _OF_EXPECTED * expected > worth:
        return Attempt(
            x=torch.zeros_like(B) if initial is None else initial,
            residuals=B.new_ones(t),
            converged=False,
            n_iter=0,
            method="cg",
            precision="float64",
            reason=f"conjugate gradients were expected to need {expected:.0f} iterations",
            rank=P.rank,
            advice="",
        )
    if 0.5 * expected > ITERATIONS:  # the bound is often twice what is needed
        system.expect(ITERATIONS, torch.float64 if options.precision == "float64" else torch.float32)
    X = torch.empty_like(B)
    steps: list[Reached] = []
    # A little lower than asked, so that the round-off of the residual is covered.
    target = 0.8 * rtol
    digits = -math.log(target)
    progress: Progress[int] = track(None, description="conjugate gradients", total=digits * -(-t // _BLOCK))
    saved, begun, unfinished = None if checkpoint is None else checkpoint.load(), 0, False
    if saved is not None:
        begun = saved[1]["column"]
        X[:, :begun] = saved[0]["X_before"]
    with progress, nullcontext() if checkpoint is None else checkpoint:
        for j in range(begun, t, _BLOCK):
            columns = slice(j, j + _BLOCK)
            done = progress.done

            def watch(state: Reached, done: float = done) -> bool:
                residual = state.history[-1]
                gained = min(digits, max(0.0, -math.log(residual))) if residual > 0 else digits
                note = f"{state.n_iter} iterations, residual {residual:.0e}"
                progress.advance(done + gained - progress.done, note=note)
                return _is_too_slow(state.history, target, worth)

            def note(state: Saved, j: int = j) -> None:
                assert checkpoint is not None
                checkpoint.note({**state[0], "X_before": X[:, :j]}, {**state[1], "column": j})
                if state[1]["n_iter"] >= max_iter:
                    checkpoint.save()

            state = block_cg(
                system,
                B[:, columns],
                rtol=target,
                max_iter=max_iter,
                precondition=P.solve,
                initial=None if initial is None else initial[:, columns],
                dtype=torch.float64 if options.precision == "float64" else torch.float32,
                watch=watch,
                saved=saved if j == begun else None,
                note=None if checkpoint is None or unfinished else note,
            )
            X[:, columns] = state.X
            steps.append(state)
            unfinished = unfinished or state.stopped == "max_iter"
            if state.stopped == "given up":
                X[:, j + _BLOCK :] = 0.0
                reached = f"{state.history[-1]:.0e} after {state.n_iter} iterations"
                reason = f"conjugate gradients had only come to a residual of {reached}"
                break
    if checkpoint is not None and not unfinished:
        checkpoint.remove()
    last = max(steps, key=lambda state: float(state.residual.max()))
    return finish(
        system,
        B,
        X,
        rtol=rtol,
        method="cg",
        reason=reason,
        advice=_advice(last, max_iter, P.rank),
        n_iter=max(state.n_iter for state in steps),
        precision=_precision(steps),
        rank=P.rank,
    )


def _is_too_slow(history: list[float], target: float, alternative_iterations: float) -> bool:
    """Whether the rest, at the rate of the second half so far, takes more iterations than the alternative is worth.

    Counted in iterations, not by the clock, so that the same call takes the same way every time.
    """
    k = len(history)
    if k < max(20.0, 0.3 * alternative_iterations) or history[-1] <= 0:
        return False
    rate = math.log(history[k // 2] / history[-1]) / (k - 1 - k // 2)
    return rate <= 0 or math.log(history[-1] / target) / rate > alternative_iterations


def _precision(steps: list[Reached]) -> str:
    if not any(state.products["float32"] for state in steps):
        return "float64"
    switches = [state.switched_at for state in steps if state.switched_at is not None]
    if switches and not max(switches):
        return "float64, since float32 is too coarse"
    if switches:
        return f"float32 until iteration {max(switches)}, then float64"
    return "float32 (residuals float64)"


def _advice(state: Reached, max_iter: int, rank: int) -> str:
    if state.stopped == "max_iter":
        return f"Give max_iter above {max_iter}, a rank above {rank}, a larger noise, or a larger rtol."
    if state.stopped == "breakdown":
        return "A + noise is not positive definite to float64 round-off: give a larger noise, or method='lstsq'."
    return f"It had stopped falling: give a larger noise, a rank above {rank}, or a larger rtol."
