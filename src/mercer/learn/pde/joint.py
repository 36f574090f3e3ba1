"""The paper's own objective: values at the nodes, kernels and precisions, all by Adam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.kernels import SpectralMixture
from mercer.learn.pde.axis_kernel import Gram
from mercer.learn.pde.equation import Equation, Product
from mercer.learn.pde.parameters import Parameters
from mercer.progress import track

__all__ = ["JITTER", "JointResult", "Process", "fit_jointly", "joint_log_density"]

JITTER = 1e-6  # added to the diagonal, absolute, as the released code does

Callback = Callable[[int, Tensor, list[SpectralMixture]], None]


@dataclass(frozen=True)
class JointResult:
    """What Adam arrived at.

    Attributes:
        values: on the grid, of all processes together.
        kernels: of each process, one an axis.
        parts: values of each process.
        curve: minus the log density at each step.
        misfit: mean square of the boundary's error plus that of the equation's, at each step.
    """

    values: Tensor
    kernels: list[list[SpectralMixture]]
    parts: list[Tensor]
    curve: list[float]
    misfit: list[float]


class Process:
    """One Gaussian process on the grid, on the device of its Gram matrices."""

    def __init__(self, grams: Sequence[Gram], kernels: Sequence[SpectralMixture], shape: tuple[int, ...]) -> None:
        device = grams[0].z.device
        self.grams, self.parameters = grams, Parameters(kernels, {}, in_widths=False, device=device)
        self.values = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)

    def leaves(self) -> list[Tensor]:
        """All that is learnt."""
        return [self.values, *self.parameters.leaves()]

    def prior(self, orders: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Sum of log-determinants, the quadratic form, and derivatives of these orders on the grid."""
        kernels, N = self.parameters.kernels(), self.values.numel()
        factors = []
        logdet = self.values.new_zeros(())
        for gram, kernel in zip(self.grams, kernels, strict=True):
            K = gram(kernel)
            L = torch.linalg.cholesky(K + JITTER * torch.eye(len(K), dtype=K.dtype, device=K.device))
            factors.append(L)
            logdet = logdet + (N / len(K)) * 2.0 * L.diagonal().log().sum()
        solved = []  # A_i along each axis once, shared by all derivatives
        for i, L in enumerate(factors):
            flat = self.values.movedim(i, 0)
            solved.append(torch.cholesky_solve(flat.reshape(len(L), -1), L).reshape(flat.shape).movedim(0, i))
        whole = solved[0]
        for i, L in list(enumerate(factors))[1:]:
            flat = whole.movedim(i, 0)
            whole = torch.cholesky_solve(flat.reshape(len(L), -1), L).reshape(flat.shape).movedim(0, i)
        quad = (self.values * whole).sum()
        found = []
        for each in orders:
            moved = [i for i, order in enumerate(each) if order]
            value = self.values
            for step, i in enumerate(moved):
                if step == 0:
                    value = solved[i]
                else:
                    flat = value.movedim(i, 0)
                    value = (
                        torch.cholesky_solve(flat.reshape(len(factors[i]), -1), factors[i])
                        .reshape(flat.shape)
                        .movedim(0, i)
                    )
                matrix = self.grams[i](kernels[i], each[i])
                value = torch.tensordot(matrix, value, ([1], [i])).movedim(0, i)
            found.append(value)
        return logdet, quad, found


def joint_log_density(
    process: Process,
    equation: Equation,
    precisions: tuple[Tensor, Tensor],
    boundary_weight: float,
    offset: tuple[Tensor, list[Tensor]] | None = None,
) -> tuple[Tensor, Tensor]:
    """The paper's log density without constants, and the misfit of boundary and equation; ``offset`` is a process
    that is frozen: its values, and its derivatives in the order of :func:`_all_orders`."""
    orders = _all_orders(equation)
    logdet, quad, derivatives = process.prior(orders)
    U = process.values
    if offset is not None:
        U = U + offset[0]
        derivatives = [a + b for a, b in zip(derivatives, offset[1], strict=True)]
    by_orders = dict(zip(orders, derivatives, strict=True))
    zero = (0,) * equation.domain.d
    by_orders[zero] = U

    def linear(products: Sequence[Product]) -> Tensor:
        return sum((p.coefficient * by_orders[p.orders] for p in products), U.new_zeros(()))

    value = linear(equation.products)
    for c, function, inner in equation.functions:
        value = value + c * function.torch_values([linear(products) for products in inner])
    wrong = (value - equation.source).square().sum()
    off, count = U.new_zeros(()), 0
    for face in equation.boundary.faces:  # corners count once for each face they are on
        own = U.select(face.axis, -1 if face.side else 0)
        off = off + (own - face.values).square().sum()
        count += face.values.numel()
    log_tau, log_v = precisions
    N = U.numel()
    density = (
        -0.5 * (logdet + quad)
        + boundary_weight * (0.5 * count * log_tau - 0.5 * log_tau.exp() * off)
        + 0.5 * N * log_v
        - 0.5 * log_v.exp() * wrong
    )
    return density, off.detach() / max(count, 1) + wrong.detach() / N


def fit_jointly(
    equation: Equation,
    kernels: Sequence[SpectralMixture],
    *,
    boundary_weight: float,
    lr: float,
    max_iter: int,
    tol: float,
    early_stopping: bool,
    change_point: float | None = None,
    callback: Callback | None = None,
    device: torch.device | str = "cpu",
) -> JointResult:
    """Adam on everything from U = 0.

    Args:
        equation: on a grid.
        kernels: where the kernels start.
        boundary_weight: lambda_b of the paper.
        lr: of Adam.
        max_iter: steps.
        tol: of the misfit, relative to the mean square of source and boundary data.
        early_stopping: whether to stop there.
        change_point: share of the steps after which the first process is frozen and a second one, with a Matern
            kernel, is fitted to what is left.
        callback: called after each step with its number, the values so far and their kernels.
        device: where it is done; what comes out is on the CPU.
    """
    if any(face.order for face in equation.boundary.faces) or equation.boundary.periodic or equation.unknowns:
        raise ValueError(
            "method='joint' is the paper's and knows values on the boundary alone: use method='collocation' or "
            "'marginal' for slopes, periodic axes and unknown coefficients."
        )
    equation = equation.to(device)
    grams = [Gram(x, x) for x in equation.domain.nodes]
    size = float(equation.source.square().mean()) + sum(
        float(f.values.square().mean()) for f in equation.boundary.faces
    )
    stages = (
        [max_iter] if change_point is None else [int(change_point * max_iter), max_iter - int(change_point * max_iter)]
    )
    offset: tuple[Tensor, list[Tensor]] | None = None
    made, parts, curve, misfits = [], [], [], []
    for stage, steps in enumerate(stages):
        process = Process(grams, kernels if stage == 0 else [_matern() for _ in kernels], equation.domain.shape)
        precisions = (
            torch.zeros((), dtype=torch.float64, device=device, requires_grad=True),
            torch.zeros((), dtype=torch.float64, device=device, requires_grad=True),
        )
        optimiser = torch.optim.Adam([*process.leaves(), *precisions], lr=lr)
        for step in track(range(steps), description="joint fit"):
            optimiser.zero_grad()
            density, misfit = joint_log_density(process, equation, precisions, boundary_weight, offset)
            (-density).backward()
            optimiser.step()
            curve.append(-float(density.detach()))
            misfits.append(float(misfit))
            if callback is not None:
                values = process.values.detach() if offset is None else process.values.detach() + offset[0]
                callback(step + 1, values.cpu(), process.parameters.mixtures())
            if early_stopping and misfits[-1] < tol**2 * size:
                break
        with torch.no_grad():
            _, _, derivatives = process.prior(_all_orders(equation))
        own = process.values.detach().clone()
        made.append(process.parameters.mixtures())
        parts.append(own)
        if offset is None:
            offset = own, derivatives
        else:
            offset = offset[0] + own, [a + b for a, b in zip(derivatives, offset[1], strict=True)]
    assert offset is not None
    return JointResult(offset[0].cpu(), made, [part.cpu() for part in parts], curve, misfits)


def _all_orders(equation: Equation) -> list[tuple[int, ...]]:
    """Orders of the derivatives that the equation takes, without the solution itself."""
    inner = [p for _, _, arguments in equation.functions for products in arguments for p in products]
    return list(dict.fromkeys(p.orders for p in (*equation.products, *inner) if any(p.orders)))


def _matern() -> SpectralMixture:
    return SpectralMixture(1, weights=[1.0], frequencies=[0.0], lengthscale=[1.0], envelope="student_t")
