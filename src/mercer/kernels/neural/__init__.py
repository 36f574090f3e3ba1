"""Networks of infinite width: their layers, and their kernels."""

from mercer.kernels.neural import layers
from mercer.kernels.neural.dense import NNGP, NTK
from mercer.kernels.neural.kernel import NetworkKernel
from mercer.kernels.neural.network import InfiniteNetwork

__all__ = ["NNGP", "NTK", "InfiniteNetwork", "NetworkKernel", "layers"]
