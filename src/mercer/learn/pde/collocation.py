"""Collocation on a grid: the kernel is fixed, so the equation at the nodes is a system, solved axis by axis."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import lapack, schur
from scipy.sparse.linalg import LinearOperator, gmres
from torch import Tensor

from mercer.errors import NotConverged
from mercer.learn.pde.equation import Equation, Product
from mercer.learn.pde.grid_basis import AxisBasis
from mercer.operators.kronecker import multiply_modes

__all__ = ["Collocation", "solve_by_collocation"]

log = logging.getLogger(__name__)
WORST_EIGENVECTORS = 1e8  # condition beyond which eigenvectors are left for Schur vectors
SINGULAR = 1e-11  # smallest divisor as a share of the largest, below which there is no unique solution
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


class AxisReduction:
    """One axis with its boundary rows taken out: ``u = E w + G g`` for the values w at the other nodes.

    Attributes:
        rows: ``(b, n)``: what is known on the boundary is ``g = rows @ u``.
        free: the other nodes.
        E: ``(n, n - b)``.
        G: ``(n, b)``.
        data: g, ``(b, nodes of the other axes)``.
    """

    def __init__(self, basis: AxisBasis, equation: Equation, axis: int) -> None:
        n, domain = len(basis.nodes), equation.domain
        others = domain.shape[:axis] + domain.shape[axis + 1 :]
        rows, fixed, data = [], [], []
        if axis in equation.boundary.periodic:
            for order in range(max(1, equation.highest_orders()[axis])):
                D = basis.derivative(order)
                rows.append(D[0] - D[-1])
                fixed.append(0 if order else n - 1)
                data.append(torch.zeros(others, dtype=torch.float64))
        for face in equation.boundary.used:
            if face.axis == axis:
                place = n - 1 if face.side else 0
                rows.append(basis.derivative(face.order)[place])
                fixed.append(place)
                data.append(face.values)
        is_free = torch.ones(n, dtype=torch.bool)
        is_free[fixed] = False
        self.free = torch.nonzero(is_free).squeeze(1)
        self.E, self.G = (
            torch.zeros(n, len(self.free), dtype=torch.float64),
            torch.zeros(n, len(fixed), dtype=torch.float64),
        )
        self.E[self.free, torch.arange(len(self.free))] = 1.0
        self.rows = torch.stack(rows) if rows else torch.zeros(0, n, dtype=torch.float64)
        self.data = torch.stack([g.reshape(-1) for g in data]) if data else torch.zeros(0, math.prod(others))
        if fixed:
            inverse = torch.linalg.inv(self.rows[:, fixed])
            self.E[fixed] = -inverse @ self.rows[:, self.free]
            self.G[fixed] = inverse


class Collocation:
    """The equation at the free nodes of a grid, for the values there.

    Args:
        equation: with boundary data for a square system.
        bases: one an axis.
    """

    def __init__(self, equation: Equation, bases: Sequence[AxisBasis]) -> None:
        self.equation, self.bases = equation, list(bases)
        self.axes = [AxisReduction(basis, equation, i) for i, basis in enumerate(bases)]
        self.shape = tuple(len(a.free) for a in self.axes)
        self._reduced: dict[tuple[int, int], Tensor] = {}
        self.known = self._lift()

    def full(self, w: Tensor) -> Tensor:
        """Values on the whole grid from those at the free nodes."""
        return self.known + _modes([a.E for a in self.axes], w)

    def at_free(self, values: Tensor) -> Tensor:
        """Values at the free nodes."""
        for i, a in enumerate(self.axes):
            values = values.index_select(i, a.free)
        return values

    def apply(self, products: Sequence[Product], U: Tensor) -> Tensor:
        """A linear operator at the whole grid's values, at the free nodes."""
        total = torch.zeros(self.shape, dtype=torch.float64)
        for p in products:
            factors = [
                b.derivative(o)[a.free] if o else None for a, b, o in zip(self.axes, self.bases, p.orders, strict=True)
            ]
            value = U
            for i, (factor, a) in enumerate(zip(factors, self.axes, strict=True)):
                value = value.index_select(i, a.free) if factor is None else _along(factor, value, i)
            total += (p.coefficient if p.is_constant else self.at_free(p.coefficient)) * value
        return total

    def apply_free(self, products: Sequence[Product], w: Tensor) -> Tensor:
        """The same for values at the free nodes and zero data: the matrix of the system."""
        total = torch.zeros(self.shape, dtype=torch.float64)
        for p in products:
            value = w
            for i, order in enumerate(p.orders):
                if order:
                    value = _along(self.reduced(i, order), value, i)
            total += (p.coefficient if p.is_constant else self.at_free(p.coefficient)) * value
        return total

    def reduced(self, axis: int, order: int) -> Tensor:
        """The derivative between free nodes of an axis, ``(n - b, n - b)``."""
        if (axis, order) not in self._reduced:
            a = self.axes[axis]
            self._reduced[axis, order] = self.bases[axis].derivative(order)[a.free] @ a.E
        return self._reduced[axis, order]

    def separable(self, products: Sequence[Product]) -> list[Tensor]:
        """One matrix an axis whose Kronecker sum is the operator, or near to it: fields by their mean."""
        sums = [torch.zeros(n, n, dtype=torch.float64) for n in self.shape]
        for p in products:
            mean = p.coefficient if p.is_constant else self.at_free(p.coefficient).mean()
            moved = [i for i, order in enumerate(p.orders) if order]
            if not moved:
                sums[0].diagonal().add_(mean)
            elif len(moved) == 1:
                sums[moved[0]] += mean * self.reduced(moved[0], p.orders[moved[0]])
        return sums

    def _lift(self) -> Tensor:
        """What the boundary data give where all free nodes are 0.

        Where faces meet, values count before slopes, and the data of the first axis before others.
        """
        shape = self.equation.domain.shape
        known = torch.zeros(shape, dtype=torch.float64)
        slopes = {face.axis for face in self.equation.boundary.used if face.order}
        order = sorted(range(len(shape)), key=lambda i: i in slopes)
        for place, i in enumerate(order):
            a = self.axes[i]
            if not len(a.rows):
                continue
            g = a.data.reshape(len(a.rows), *shape[:i], *shape[i + 1 :]).movedim(0, i)
            for j in order[:place]:  # of the data, only what the axes before do not say
                g = _along(self.axes[j].E, g.index_select(j, self.axes[j].free), j)
            known += _along(a.G, g, i)
        return known


class KroneckerSum:
    """``(A_1 x I x ... + I x A_2 x ... + ...)^-1``, by eigenvectors, or for two axes by Schur vectors.

    Raises:
        ValueError: the sum is singular.
    """

    def __init__(self, matrices: Sequence[Tensor]) -> None:
        self._single = None
        self.matrices = [A.numpy() for A in matrices]
        if len(matrices) == 1:
            self._single = torch.linalg.lu_factor(matrices[0])
            pivots = self._single[0].diagonal().abs()
            _check_divisors(float(pivots.min()), float(pivots.max()))
            return
        found: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._eigen = []
        worst = 1.0
        for i, A in enumerate(self.matrices):
            same = next(
                (j for j in range(i) if A.shape == self.matrices[j].shape and np.array_equal(A, self.matrices[j])), i
            )
            if same not in found:
                values, V = np.linalg.eig(A)
                found[same] = values, V, np.linalg.inv(V)
                worst = max(worst, float(np.linalg.norm(V, 1) * np.linalg.norm(found[same][2], 1)))
            self._eigen.append(found[same])
        self._schur = None
        if worst > WORST_EIGENVECTORS * max(A.shape[0] for A in self.matrices) and len(matrices) == 2:
            left, right = self.matrices
            self._schur = schur(left, output="real"), schur(right, output="real")
        total = self._eigen[0][0]
        for values, _, _ in self._eigen[1:]:
            total = np.add.outer(total, values)
        self._divisor = total
        _check_divisors(float(np.abs(total).min()), float(np.abs(total).max()))

    def solve(self, R: Tensor) -> Tensor:
        """For R of the shape of the free nodes."""
        if self._single is not None:
            factors, pivots = self._single
            solved: Tensor = torch.linalg.lu_solve(factors, pivots, R.unsqueeze(1))
            return solved.squeeze(1)
        X = R.numpy()
        if self._schur is not None:
            (T, Q), (S, P) = self._schur
            Y, scale, _ = lapack.dtrsyl(T, S, Q.T @ X @ P, tranb="C")
            return torch.from_numpy(Q @ (Y / scale) @ P.T)
        for i, (_, _, inverse) in enumerate(self._eigen):
            X = np.moveaxis(np.tensordot(inverse, X, (1, i)), 0, i)
        X = X / self._divisor
        for i, (_, V, _) in enumerate(self._eigen):
            X = np.moveaxis(np.tensordot(V, X, (1, i)), 0, i)
        return torch.from_numpy(np.ascontiguousarray(X.real))


def solve_by_collocation(
    equation: Equation, bases: Sequence[AxisBasis], *, tol: float, max_iter: int
) -> tuple[Result, Collocation]:
    """The values on the grid at which the equation holds at every free node.

    Raises:
        NotConverged: the residual stays above ``tol``.
        ValueError: the boundary data leave the solution open.
    """
    system = Collocation(equation, bases)
    w = torch.zeros(system.shape, dtype=torch.float64)
    U = system.full(w)
    if equation.is_linear:
        rhs = system.at_free(equation.source) - system.apply(equation.products, U)
        w, residual = _solve_linear(system, equation.products, rhs, tol)
        return _checked(system, w, residual, 1, tol), system
    residual = math.inf
    for step in range(1, max_iter + 1):
        arguments = _arguments(system, U)
        products, source = _newton(system, arguments)
        before = _residual(system, U, arguments)
        rhs = source - system.apply(products, U)
        scale = float(rhs.abs().max())
        change, _ = _solve_linear(system, products, rhs, min(1e-2, max(tol, 1e-10)))
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


def _solve_linear(system: Collocation, products: Sequence[Product], rhs: Tensor, tol: float) -> tuple[Tensor, float]:
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
    w = nearest.solve(rhs)
    error = rhs - system.apply_free(products, w)
    for _ in range(REFINEMENTS):
        trial = w + nearest.solve(error)
        after = rhs - system.apply_free(products, trial)
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
    error = rhs - system.apply_free(products, w)
    return w, float(torch.linalg.norm(error)) / size


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


def _modes(factors: Sequence[Tensor], values: Tensor) -> Tensor:
    return multiply_modes(tuple(factors), values.reshape(-1, 1)).reshape([f.shape[0] for f in factors])


def _along(matrix: Tensor, values: Tensor, axis: int) -> Tensor:
    product: Tensor = torch.tensordot(matrix, values, ([1], [axis]))
    return product.movedim(0, axis)


def _check_divisors(smallest: float, largest: float) -> None:
    if not smallest > SINGULAR * largest * 1e-3:
        raise ValueError(
            f"The boundary data leave the solution open: the smallest divisor is {smallest:.1e}, the largest "
            f"{largest:.1e}. Give values on at least one face (slopes alone leave a constant open), or change the "
            f"coefficients: the operator may have an eigenvalue 0 on this domain."
        )
