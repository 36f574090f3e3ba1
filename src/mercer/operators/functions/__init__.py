"""Log-determinants, eigenvalues, draws, descent and differentiable solutions of a matrix that need not be stored."""

from mercer.operators.functions.differentiable import logdet_tensor, solve_tensor
from mercer.operators.functions.eigen import Eigen, eigsh
from mercer.operators.functions.gradient_flow import GradientFlow
from mercer.operators.functions.inv_quad_logdet import InvQuadLogdet, inv_quad_logdet
from mercer.operators.functions.logdet import LogDeterminant, logdet
from mercer.operators.functions.representation import take_apart, tracks_gradient
from mercer.operators.functions.sample import Draws, sample

__all__ = [
    "Draws",
    "Eigen",
    "GradientFlow",
    "InvQuadLogdet",
    "LogDeterminant",
    "eigsh",
    "inv_quad_logdet",
    "logdet",
    "logdet_tensor",
    "sample",
    "solve_tensor",
    "take_apart",
    "tracks_gradient",
]
