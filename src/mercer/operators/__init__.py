"""The matrix that is never stored: lazy kernel matrices, plans, solvers and functions of matrices."""

from mercer.operators.base import Operator
from mercer.operators.cholesky import NotPositiveDefinite
from mercer.operators.composite import HadamardOperator, ScaledOperator, SumOperator
from mercer.operators.differentiable import logdet_tensor, solve_tensor
from mercer.operators.kernel_operator import KernelOperator, plan
from mercer.operators.operations import OPERATIONS
from mercer.operators.planning import Plan
from mercer.operators.solve import Solution, solve

__all__ = [
    "OPERATIONS",
    "HadamardOperator",
    "KernelOperator",
    "NotPositiveDefinite",
    "Operator",
    "Plan",
    "ScaledOperator",
    "Solution",
    "SumOperator",
    "logdet_tensor",
    "plan",
    "solve",
    "solve_tensor",
]
