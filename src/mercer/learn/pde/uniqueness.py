"""Whether an equation has only the solution that was found."""

from __future__ import annotations

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.learn.pde.collocation import solve_linear
from mercer.learn.pde.equation import Equation
from mercer.learn.pde.grid_basis import GridFunction
from mercer.learn.pde.system import Collocation

__all__ = ["require_unique"]

STEPS = 2  # of inverse iteration, from the solution itself
CLOSE = 3.0  # times its error is how far an eigenvalue is from zero at least
CANCELLED = 1e-3  # of the terms, which an operator has to leave of a function to be looked at


def require_unique(system: Collocation, between: Equation | None, values: Tensor) -> None:
    """Raise ValueError where a linear operator takes some function to less than the grid can tell from zero.

    Such a function v could be added to the solution. Inverse iteration finds v and its eigenvalue; it is too small if
    the equation of v holds between the nodes less well than that. Equations with a first derivative as their highest
    along an axis begin somewhere and go on from there: of them nothing is looked at.
    """
    equation = system.equation
    if 1 in equation.highest_orders():
        return
    products = equation.products
    v = system.at_free(values - system.known)
    if not v.any():
        v = torch.randn(v.shape, generator=generator(0), dtype=v.dtype)
    for _ in range(STEPS):
        v = solve_linear(system, products, v / v.norm(), 1e-6)[0]
    v = v / v.norm()
    image = system.apply_free(products, v)
    eigenvalue, size = float((v * image).sum()), max(float(system.apply_free([p], v).norm()) for p in products)
    if abs(eigenvalue) > CANCELLED * size:
        return
    error = float((image - eigenvalue * v).norm())
    if between is not None:
        function = GridFunction(system.bases, system.full(v.clone()) - system.known)
        points, shape = between.domain.all_points(), between.domain.shape
        found = sum(p.coefficient * function(points, p.orders).reshape(shape) for p in between.products)
        at = function(points, (0,) * between.domain.d).reshape(shape)
        error = max(error, float((found - eigenvalue * at).norm() / at.norm())) + size * function.misfit()
    if CLOSE * error > abs(eigenvalue):
        raise ValueError(
            f"The solution is not unique as far as this grid can tell: the operator takes a function of size 1 to "
            f"{abs(eigenvalue):.1e} with an error of {error:.1e}, where its terms have {size:.1e} each. Change the "
            f"coefficients or the boundary data, if it has an eigenvalue 0; else take more nodes."
        )
