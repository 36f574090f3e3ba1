"""How well a solution keeps its equation between the nodes, where nothing makes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.learn.pde.boundary import Boundary
from mercer.learn.pde.domain import Domain, evenly
from mercer.learn.pde.equation import Equation
from mercer.learn.pde.operators import DifferentialOperator
from mercer.learn.pde.symbols import Field

__all__ = ["Function", "equation_between", "relative_residual"]

PLACE = 0.382  # of the way between two nodes: half way, waves that a grid confuses may agree again
Function = Callable[[Tensor, Sequence[int]], Tensor]


def equation_between(operator: DifferentialOperator, domain: Domain, source: Any) -> Equation | None:
    """The equation between neighbouring nodes, at some thousand points in two axes or more.

    None where it is known at the nodes alone: at scattered points, or with an array for the source or a coefficient.
    """
    inner = [own for _, function in operator.nonlinear for own in function.of]
    symbols = [s for own in (operator, *inner) for term in own.terms for s in term.symbols]
    arrays = [source, *(s.values for s in symbols if isinstance(s, Field))]
    if domain.points is not None or not all(callable(a) or np.isscalar(a) for a in arrays):
        return None
    nodes = tuple((x[:-1] + PLACE * x.diff())[evenly(len(x) - 1, domain.d)] for x in domain.nodes)
    return Equation.at(operator, replace(domain, nodes=nodes), source, Boundary())


def relative_residual(equation: Equation, function: Function, coefficients: Mapping[str, float] | None = None) -> float:
    """Root mean square residual at the points of an equation, as a share of the size of its largest term.

    Args:
        equation: where.
        function: derivatives of given orders of the solution at points.
        coefficients: learnt ones.
    """
    points, shape = equation.domain.all_points(), equation.domain.shape
    learnt = {name: torch.tensor(value, dtype=torch.float64) for name, value in (coefficients or {}).items()}
    terms = [p.value(learnt) * function(points, p.orders).reshape(shape) for p in equation.products]
    for (c, nonlinear, _), a in zip(equation.functions, equation.arguments(function), strict=True):
        terms.append(c * torch.as_tensor(nonlinear.values([t.numpy() for t in a])[0]))
    sizes = [float(t.norm()) for t in (*terms, equation.source)]
    # What a solution without derivatives, such as a plane, would have if it varied once over the domain.
    size = float(function(points, (0,) * equation.domain.d).norm())
    extents = [high - low for low, high in equation.domain.bounds]
    sizes += [
        size * float(p.value(learnt).abs().max()) / math.prod(L**o for L, o in zip(extents, p.orders, strict=True))
        for p in equation.products
    ]
    largest = max(sizes)
    return float((sum(terms) - equation.source).norm()) / (largest or 1.0)
