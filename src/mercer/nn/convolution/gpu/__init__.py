"""Long convolutions on CUDA: one fused Triton kernel forward, one backward."""

from mercer.nn.convolution.gpu.function import fused_long_conv
from mercer.nn.convolution.gpu.plans import TilePlan, tile_plan
from mercer.nn.convolution.gpu.support import why_not_fused

__all__ = ["TilePlan", "fused_long_conv", "tile_plan", "why_not_fused"]
