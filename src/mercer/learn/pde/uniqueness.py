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
CLOSE = 10.0  # times its error is how far from zero a function is taken at least
EXACT = 1e-10  # of the terms: what round-off leaves
CANCELLED = 1e-3  # of the terms, which an operator has to leave of the solution not to be looked at
NOTHING = 1e-5  # the same of a function that is not in the solution, such as another mode of a high wave number


def require_unique(system: Collocation, between: Equation | None, values: Tensor) -> None:
    """Raise ValueError where a linear operator takes some function to less than the grid can tell from zero.

    Such a function v could be added to the solution. Inverse iteration finds v; it is taken to too little if the
    equation holds between the nodes less well than that. What the solution does not consist of does less harm.
    Equations with a first derivative as their highest along an axis begin somewhere and go on from there: of them
    nothing is looked at.
    """
    equation = system.equation
    if 1 in equation.highest_orders():
        return
    products = equation.products
    w = system.at_free(values - system.known)
    v = w if w.any() else torch.randn(w.shape, generator=generator(0), dtype=w.dtype)
    for _ in range(STEPS):
        v = solve_linear(system, products, v / v.norm(), 1e-6)[0]
    v = v / v.norm()
    image = system.apply_free(products, v)
    left, size = float(image.norm()), max(float(system.apply_free([p], v).norm()) for p in products)
    is_the_solution = abs(float((v * w).sum())) > 0.5 * float(w.norm())
    if left > (CANCELLED if is_the_solution else NOTHING) * size:
        return
    error, eigenvalue = EXACT * size, float((v * image).sum())
    if between is not None:
        function = GridFunction(system.bases, system.full(v.clone()) - system.known)
        points, shape = between.domain.all_points(), between.domain.shape
        found = sum(p.coefficient * function(points, p.orders).reshape(shape) for p in between.products)
        at = function(points, (0,) * between.domain.d).reshape(shape)
        # A residual that is zero at n nodes moves an eigenvalue by about a 1 / n of itself.
        error += float((found - eigenvalue * at).norm() / at.norm()) / max(equation.domain.shape)
        error += size * function.misfit()
    if CLOSE * error > left:
        raise ValueError(
            f"The solution is not unique as far as this grid can tell: the operator takes a function of size 1 to "
            f"{left:.1e} with an error of {error:.1e}, where its terms have {size:.1e} each. Change the "
            f"coefficients or the boundary data, if it has an eigenvalue 0; else take more nodes."
        )
