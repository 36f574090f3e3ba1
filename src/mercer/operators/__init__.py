"""The matrix that is never stored: lazy kernel matrices, plans, solvers and functions of matrices."""

from mercer.operators.base import Operator
from mercer.operators.cholesky import NotPositiveDefinite
from mercer.operators.composite import HadamardOperator, ScaledOperator, SumOperator
from mercer.operators.differentiable import logdet_tensor, solve_tensor
from mercer.operators.eigen import Eigen, eigsh
from mercer.operators.extremes import Extremes, topk
from mercer.operators.greedy import Selection, coding_rate, greedy_logdet
from mercer.operators.inv_quad_logdet import InvQuadLogdet, inv_quad_logdet
from mercer.operators.kernel_operator import KernelOperator, plan
from mercer.operators.logarithm import log_of
from mercer.operators.logdet import LogDeterminant, logdet
from mercer.operators.nystrom import Nystrom, nystrom
from mercer.operators.operations import OPERATIONS
from mercer.operators.planning import Plan
from mercer.operators.precondition import PivotedCholesky, pivoted_cholesky
from mercer.operators.reductions import logsumexp
from mercer.operators.sample import Draws, sample
from mercer.operators.solve import Solution, solve

__all__ = [
    "OPERATIONS",
    "Draws",
    "Eigen",
    "Extremes",
    "HadamardOperator",
    "InvQuadLogdet",
    "KernelOperator",
    "LogDeterminant",
    "NotPositiveDefinite",
    "Nystrom",
    "Operator",
    "PivotedCholesky",
    "Plan",
    "ScaledOperator",
    "Selection",
    "Solution",
    "SumOperator",
    "coding_rate",
    "eigsh",
    "greedy_logdet",
    "inv_quad_logdet",
    "log_of",
    "logdet",
    "logdet_tensor",
    "logsumexp",
    "nystrom",
    "pivoted_cholesky",
    "plan",
    "sample",
    "solve",
    "solve_tensor",
    "topk",
]
