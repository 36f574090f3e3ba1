"""The matrix that is never stored: lazy kernel matrices, plans, solvers and functions of matrices.

The rooms, each of which imports from those before it: ``machine`` (rates and workers), ``maps`` (the map of a kernel
as an expression), ``statistics`` (what it is applied to), ``gpu`` and ``tiles`` (passes over entries), ``solvers``
and ``functions`` (of any symmetric matrix), ``matrices`` (sums, blocks and other lazy matrices), ``structure`` (grids
and few features), ``fourier`` (series), ``plans``. Beside them stand a kernel bound to data (``spec``, ``operands``)
and :class:`KernelOperator`, which brings all together.
"""

from mercer.operators.convolution import KernelSpectrum, convolve
from mercer.operators.convolution_plan import ConvolutionPlan, convolution_plan
from mercer.operators.extremes import Extremes, topk
from mercer.operators.fourier import FourierLikelihood, FourierSolution
from mercer.operators.functions import (
    Draws,
    Eigen,
    GradientFlow,
    InvQuadLogdet,
    LogDeterminant,
    eigsh,
    inv_quad_logdet,
    logdet,
    logdet_tensor,
    sample,
    solve_tensor,
)
from mercer.operators.greedy import Selection, coding_rate, greedy_logdet
from mercer.operators.hadamard import hadamard_transform
from mercer.operators.kernel_operator import KernelOperator, plan
from mercer.operators.kronecker import KroneckerOperator, kronecker
from mercer.operators.logarithm import log_of
from mercer.operators.machine import calibrate
from mercer.operators.maps import OPERATIONS
from mercer.operators.matrices import (
    CenteredOperator,
    HadamardOperator,
    NormalizedAdjacency,
    Operator,
    ScaledOperator,
    SumOperator,
    ToeplitzOperator,
    toeplitz,
)
from mercer.operators.newton import NewtonInverse, newton_inverse
from mercer.operators.planning import Plan
from mercer.operators.reductions import logsumexp
from mercer.operators.solvers import (
    NotPositiveDefinite,
    Nystrom,
    PivotedCholesky,
    Solution,
    nystrom,
    pivoted_cholesky,
    solve,
)
from mercer.operators.sparse import to_sparse
from mercer.operators.tiles import point_gradients

__all__ = [
    "OPERATIONS",
    "CenteredOperator",
    "ConvolutionPlan",
    "Draws",
    "Eigen",
    "Extremes",
    "FourierLikelihood",
    "FourierSolution",
    "GradientFlow",
    "HadamardOperator",
    "InvQuadLogdet",
    "KernelOperator",
    "KernelSpectrum",
    "KroneckerOperator",
    "LogDeterminant",
    "NewtonInverse",
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
    "hadamard_transform",
    "inv_quad_logdet",
    "kronecker",
    "log_of",
    "logdet",
    "logdet_tensor",
    "logsumexp",
    "newton_inverse",
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
