"""Differential equations solved by Gaussian processes whose kernels learn the frequencies of the solution."""

from mercer.learn.pde.boundary import Neumann
from mercer.learn.pde.operators import D, DifferentialOperator, Field, Identity, Laplacian, Nonlinear, Power, Unknown
from mercer.learn.pde.solver import PDESolver

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
