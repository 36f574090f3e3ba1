"""Gradients of a network's outputs in its parameters, and their inner products; what ``EmpiricalNTK`` stands on."""

from mercer.kernels.tangent.network import Network, read
from mercer.kernels.tangent.operator import TangentOperator
from mercer.kernels.tangent.sketch import sketched

__all__ = ["Network", "TangentOperator", "read", "sketched"]
