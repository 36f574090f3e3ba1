"""The matrix that is never stored: lazy kernel matrices, plans, solvers and functions of matrices."""

from mercer.operators.base import Operator
from mercer.operators.composite import HadamardOperator, ScaledOperator, SumOperator
from mercer.operators.kernel_operator import KernelOperator
from mercer.operators.plan import Plan

__all__ = ["HadamardOperator", "KernelOperator", "Operator", "Plan", "ScaledOperator", "SumOperator"]
