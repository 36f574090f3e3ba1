"""The matrix that is never stored: lazy kernel matrices, plans, solvers and functions of matrices."""

from mercer.operators.base import Operator
from mercer.operators.calibration import calibrate
from mercer.operators.cholesky import NotPositiveDefinite
from mercer.operators.composite import HadamardOperator, ScaledOperator, SumOperator
from mercer.operators.convolution import KernelSpectrum, convolve
from mercer.operators.convolution_plan import ConvolutionPlan, convolution_plan
from mercer.operators.differentiable import logdet_tensor, solve_tensor
from mercer.operators.eigen import Eigen, eigsh
from mercer.operators.inv_quad_logdet import InvQuadLogdet, inv_quad_logdet
from mercer.operators.kernel_operator import KernelOperator, plan
from mercer.operators.kronecker import KroneckerOperator, kronecker
from mercer.operators.logdet import LogDeterminant, logdet
from mercer.operators.operations import OPERATIONS
from mercer.operators.planning import Plan
from mercer.operators.point_gradients import point_gradients
from mercer.operators.precondition import PivotedCholesky, pivoted_cholesky
from mercer.operators.sample import Draws, sample
from mercer.operators.solve import Solution, solve
from mercer.operators.toeplitz import ToeplitzOperator, toeplitz

__all__ = [
    "OPERATIONS",
    "ConvolutionPlan",
    "Draws",
    "Eigen",
    "HadamardOperator",
    "InvQuadLogdet",
    "KernelOperator",
    "KernelSpectrum",
    "KroneckerOperator",
    "LogDeterminant",
    "NotPositiveDefinite",
    "Operator",
    "PivotedCholesky",
    "Plan",
    "ScaledOperator",
    "Solution",
    "SumOperator",
    "ToeplitzOperator",
    "calibrate",
    "convolution_plan",
    "convolve",
    "eigsh",
    "inv_quad_logdet",
    "kronecker",
    "logdet",
    "logdet_tensor",
    "pivoted_cholesky",
    "plan",
    "point_gradients",
    "sample",
    "solve",
    "solve_tensor",
    "toeplitz",
]
