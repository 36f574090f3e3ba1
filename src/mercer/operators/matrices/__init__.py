"""Lazy matrices beside the kernel matrix itself: sums, products, blocks, centred ones, Toeplitz ones."""

from mercer.operators.matrices.adjacency import NormalizedAdjacency
from mercer.operators.matrices.base import Operator, is_whole, require_dense_memory
from mercer.operators.matrices.blocks import BlockOperator
from mercer.operators.matrices.centered import CenteredOperator
from mercer.operators.matrices.composite import HadamardOperator, ScaledOperator, SumOperator
from mercer.operators.matrices.toeplitz import ToeplitzOperator, toeplitz

__all__ = [
    "BlockOperator",
    "CenteredOperator",
    "HadamardOperator",
    "NormalizedAdjacency",
    "Operator",
    "ScaledOperator",
    "SumOperator",
    "ToeplitzOperator",
    "is_whole",
    "require_dense_memory",
    "toeplitz",
]
