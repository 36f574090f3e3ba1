"""The matrix that is never stored: lazy kernel matrices, plans, solvers and functions of matrices."""

from mercer.operators.adjacency import NormalizedAdjacency
from mercer.operators.base import Operator
from mercer.operators.calibration import calibrate
from mercer.operators.centered import CenteredOperator
from mercer.operators.cholesky import NotPositiveDefinite
from mercer.operators.composite import HadamardOperator, ScaledOperator, SumOperator
from mercer.operators.convolution import KernelSpectrum, convolve
from mercer.operators.convolution_plan import ConvolutionPlan, convolution_plan
from mercer.operators.differentiable import logdet_tensor, solve_tensor
from mercer.operators.eigen import Eigen, eigsh
from mercer.operators.extremes import Extremes, topk
from mercer.operators.fourier_likelihood import FourierLikelihood
from mercer.operators.fourier_solution import FourierSolution
from mercer.operators.greedy import Selection, coding_rate, greedy_logdet
from mercer.operators.inv_quad_logdet import InvQuadLogdet, inv_quad_logdet
from mercer.operators.kernel_operator import KernelOperator, plan
from mercer.operators.kronecker import KroneckerOperator, kronecker
from mercer.operators.logarithm import log_of
from mercer.operators.logdet import LogDeterminant, logdet
from mercer.operators.nystrom import Nystrom, nystrom
from mercer.operators.operations import OPERATIONS
from mercer.operators.planning import Plan
from mercer.operators.point_gradients import point_gradients
from mercer.operators.precondition import PivotedCholesky, pivoted_cholesky
from mercer.operators.reductions import logsumexp
from mercer.operators.sample import Draws, sample
from mercer.operators.solve import Solution, solve
from mercer.operators.sparse import to_sparse
from mercer.operators.toeplitz import ToeplitzOperator, toeplitz

__all__ = [
    "OPERATIONS",
    "CenteredOperator",
    "ConvolutionPlan",
    "Draws",
    "Eigen",
    "Extremes",
    "FourierLikelihood",
    "FourierSolution",
    "HadamardOperator",
    "InvQuadLogdet",
    "KernelOperator",
    "KernelSpectrum",
    "KroneckerOperator",
    "LogDeterminant",
    "NormalizedAdjacency",
    "NotPositiveDefinite",
    "Nystrom",
    "Operator",
    "PivotedCholesky",
    "Plan",
    "ScaledOperator",
    "Selection",
    "Solution",
    "SumOperator",
    "ToeplitzOperator",
    "calibrate",
    "coding_rate",
    "convolution_plan",
    "convolve",
    "eigsh",
    "greedy_logdet",
    "inv_quad_logdet",
    "kronecker",
    "log_of",
    "logdet",
    "logdet_tensor",
    "logsumexp",
    "nystrom",
    "pivoted_cholesky",
    "plan",
    "point_gradients",
    "sample",
    "solve",
    "solve_tensor",
    "to_sparse",
    "toeplitz",
    "topk",
]
