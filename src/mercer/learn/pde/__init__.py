"""Differential equations solved by Gaussian processes whose kernels learn the frequencies of the solution."""

from mercer.learn.pde.boundary import Neumann
from mercer.learn.pde.nonlinear import Nonlinear, Power
from mercer.learn.pde.operators import D, DifferentialOperator, Identity, Laplacian
from mercer.learn.pde.solver import PDESolver
from mercer.learn.pde.symbols import Field, Unknown

__all__ = [
    "D",
    "DifferentialOperator",
    "Field",
    "Identity",
    "Laplacian",
    "Neumann",
    "Nonlinear",
    "PDESolver",
    "Power",
    "Unknown",
]
