"""Collocation on a grid: the kernel is fixed, so the equation at the nodes is a system, solved axis by axis."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, gmres
from torch import Tensor

from mercer.errors import NotConverged
from mercer.learn.pde.equation import Equation, Product
from mercer.learn.pde.grid_basis import AxisBasis
from mercer.learn.pde.kronecker_sum import KroneckerSum
from mercer.learn.pde.system import Collocation

__all__ = ["Result", "solve_by_collocation", "solve_linear"]

log = logging.getLogger(__name__)
RESTART = 20
REFINEMENTS = 3


@dataclass(frozen=True)
class Result:
    """A solution and how it was found.

    Attributes:
        values: on the grid.
        residual: of the equation at the nodes, relative to what is on its right-hand side.
        n_iter: Newton steps; 1 for a linear equation.
    """

    values: Tensor
    residual: float
    n_iter: int


def solve_by_collocation(
    equation: Equation, bases: Sequence[AxisBasis], *, tol: float, max_iter: int
) -> tuple[Result, Collocation]:
    """The values on the grid at which the equation holds at every free node.

    Raises:
        NotConverged: the residual stays above ``tol``.
        ValueError: the boundary data leave the solution open.
    """
    system = Collocation(equation, bases)
    U = system.known
    if equation.is_linear:
        rhs = system.at_free(equation.source).sub_(system.apply(equation.products, U))
        system.settle(equation.products)
        w, residual = solve_linear(system, equation.products, rhs, tol)
        return _checked(system, w, residual, 1, tol), system
    w, residual = torch.zeros(system.shape, dtype=torch.float64), math.inf
    for step in range(1, max_iter + 1):
        arguments = _arguments(system, U)
        products, source = _newton(system, arguments)
        before = _residual(system, U, arguments)
        rhs = source - system.apply(products, U)
        scale = float(rhs.abs().max())
        change, _ = solve_linear(system, products, rhs, min(1e-2, max(tol, 1e-10)))
        size = 1.0
        while size > 1e-3:
            trial = system.full(w + size * change)
            after = _residual(system, trial, _arguments(system, trial))
            if after < (1.0 - 0.1 * size) * before or after <= tol:
                break
            size /= 2.0
        if after >= before:
            residual = before
            break
        w, U, residual = w + size * change, trial, after
        log.debug("Newton step %d of size %g: residual %.1e, largest right-hand side %.1e", step, size, residual, scale)
        if residual <= tol * 1e-2 or (residual <= tol and size == 1.0 and after > 0.1 * before):
            break
    return _checked(system, w, residual, step, tol), system


def _checked(system: Collocation, w: Tensor, residual: float, n_iter: int, tol: float) -> Result:
    found = Result(system.full(w), residual, n_iter)
    if residual > tol:
        raise NotConverged(
            f"The equation is left with a residual of {residual:.1e} after {n_iter} steps, above tol={tol:g}. "
            f"Raise max_iter or tol, or take fewer nodes; a nonlinear equation may have no solution near 0.",
            found,
        )
    return found


def solve_linear(system: Collocation, products: Sequence[Product], rhs: Tensor, tol: float) -> tuple[Tensor, float]:
    """A direct solution where the operator is a Kronecker sum, else GMRES with the nearest one as preconditioner."""
    size = float(torch.linalg.norm(rhs)) or 1.0
    if len(system.shape) == 1:
        A = torch.zeros(*system.shape, *system.shape, dtype=torch.float64)
        for p in products:
            row = p.coefficient if p.is_constant else system.at_free(p.coefficient).unsqueeze(1)
            A += row * (system.reduced(0, p.orders[0]) if p.orders[0] else torch.eye(len(A), dtype=torch.float64))
        nearest = KroneckerSum([A])
    else:
        nearest = KroneckerSum(system.separable(products))

    def left(w: Tensor) -> Tensor:
        return system.apply_free(products, w).neg_().add_(rhs)

    w = nearest.solve(rhs)
    error = left(w)
    for _ in range(REFINEMENTS):
        trial = nearest.solve(error).add_(w)
        after = left(trial)
        if float(torch.linalg.norm(after)) > 0.3 * float(torch.linalg.norm(error)):
            break
        w, error = trial, after
    residual = float(torch.linalg.norm(error)) / size
    is_sum = all(p.is_constant and sum(o > 0 for o in p.orders) <= 1 for p in products)
    if residual <= 1e-2 * tol or (is_sum and residual <= tol) or len(system.shape) == 1:
        return w, residual
    n = rhs.numel()

    def multiply(v: np.ndarray) -> np.ndarray:
        inside = nearest.solve(torch.from_numpy(np.ascontiguousarray(v)).reshape(rhs.shape))
        return system.apply_free(products, inside).reshape(-1).numpy()

    found, _ = gmres(
        LinearOperator((n, n), matvec=multiply, dtype=np.float64),
        error.reshape(-1).numpy(),
        rtol=0.0,
        atol=1e-2 * tol * size,
        restart=RESTART,
        maxiter=20,
    )
    w = w + nearest.solve(torch.from_numpy(found).reshape(rhs.shape))
    return w, float(torch.linalg.norm(left(w))) / size


def _arguments(system: Collocation, U: Tensor) -> list[list[Tensor]]:
    return [[system.apply(products, U) for products in inner] for _, _, inner in system.equation.functions]


def _newton(system: Collocation, arguments: list[list[Tensor]]) -> tuple[list[Product], Tensor]:
    """Products and source of the linearised equation; coefficients of functions on the whole grid, 0 at its faces."""
    products, source = list(system.equation.products), system.at_free(system.equation.source)
    for (c, function, inner), a in zip(system.equation.functions, arguments, strict=True):
        value, slopes = function.values([t.numpy() for t in a])
        source = source - c * torch.as_tensor(value)
        for slope, own, at in zip(slopes, inner, a, strict=True):
            weight = c * torch.as_tensor(np.array(slope))
            source = source + weight * at
            on_grid = torch.zeros(system.equation.domain.shape, dtype=torch.float64)
            on_grid[torch.meshgrid(*(axis.free for axis in system.axes), indexing="ij")] = weight
            products += [Product(p.orders, on_grid * p.coefficient, p.unknowns) for p in own]
    return products, source


def _residual(system: Collocation, U: Tensor, arguments: list[list[Tensor]]) -> float:
    equation = system.equation
    value = system.apply(equation.products, U)
    for (c, function, _), a in zip(equation.functions, arguments, strict=True):
        value = value + c * torch.as_tensor(function.values([t.numpy() for t in a])[0])
    rhs = system.at_free(equation.source)
    zero = system.apply(equation.products, system.known)
    return float(torch.linalg.norm(value - rhs)) / (float(torch.linalg.norm(rhs) + torch.linalg.norm(zero)) or 1.0)
